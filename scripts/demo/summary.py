"""What the day came to, as tables for the terminal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from rich import box
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from scripts.demo.figures import Figures, NodeFigures
from scripts.demo.gas import Cost
from scripts.demo.story import NAMES, Outcome
from scripts.demo.terms import YUAN
from scripts.simulate.play import Outcome as Rehearsed

WIDTH = 104
"""Columns of the summary, wherever it is shown."""


def yuan(amount_uyuan: int, digits: int = 2) -> str:
    """Write money in yuan with its sign."""
    return f"{amount_uyuan / YUAN:+,.{digits}f}"


def kwh(energy_wh: int) -> str:
    """Write energy in kWh; nothing for none."""
    return f"{energy_wh / 1000:,.1f}" if energy_wh else "\u00b7"


def story_table(outcomes: Iterable[Outcome]) -> Table:
    """Show what A, B and C got beside what the paper says, to the micro-yuan."""
    table = _table("The paper's story: A sells B 10 kWh at 0.4379, C is a reserve node")
    table.add_column("a quarter hour each")
    table.add_column("node")
    table.add_column("expected, yuan", justify="right")
    table.add_column("settled on chain", justify="right")
    table.add_column("")
    for outcome in outcomes:
        rows = zip(NAMES, outcome.case.expected_uyuan, outcome.paid_uyuan, strict=True)
        for i, (name, expected, paid) in enumerate(rows):
            mark = Text("\u2713", "bold green") if paid == expected else Text("\u2717", "bold red")
            table.add_row(
                outcome.case.title if i == 0 else "",
                name,
                yuan(expected, 6),
                yuan(paid, 6),
                mark,
                end_section=i == len(NAMES) - 1,
            )
    return table


def energy_table(day: Figures) -> Table:
    """Show where the day's energy went."""
    t = day.total
    table = _table("Energy of the village, kWh")
    for column in ("", "fed in", "drawn"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("expected", kwh(t.forecast_export_wh), kwh(t.forecast_import_wh))
    table.add_row("metered", kwh(t.export_wh), kwh(t.import_wh), end_section=True)
    table.add_row(
        f"traded on {day.orders:,} orders", kwh(t.traded_sold_wh), kwh(t.traded_bought_wh)
    )
    for label, energy_wh in (
        ("compensated by reserves", t.compensated_wh),
        ("surplus sold", t.surplus_sold_wh),
        ("balanced locally", t.balanced_wh),
    ):
        table.add_row(label, kwh(energy_wh), kwh(energy_wh))
    table.add_row("exchanged with the grid", kwh(t.grid_sold_wh), kwh(t.grid_bought_wh))
    return table


def gas_table(costs: Sequence[Cost], pairs: int) -> Table:
    """Show what a pair of orders costs, by step: a bid and an ask make a trade."""
    table = _table("Gas, everything included")
    for column in ("step", "tx", "Mgas", "per order pair"):
        table.add_column(column, justify="left" if column == "step" else "right")
    for cost in costs:
        per_pair = f"{cost.gas // pairs:,}" if pairs else "\u00b7"
        table.add_row(cost.step, f"{cost.transactions:,}", f"{cost.gas / 1e6:,.1f}", per_pair)
    whole = sum(cost.gas for cost in costs)
    table.add_section()
    table.add_row(
        "together",
        f"{sum(cost.transactions for cost in costs):,}",
        f"{whole / 1e6:,.1f}",
        f"{whole // pairs:,}" if pairs else "\u00b7",
        style="bold",
    )
    return table


def node_table(day: Figures) -> Table:
    """Show every node's day: energy, money, and what the market was worth to it."""
    table = _table("Money, yuan: with the market, alone with the grid company, saving")
    for column in ("node", "drawn", "fed in", "traded", "inside", "grid", "net", "alone", "saving"):
        table.add_column(column, justify="left" if column == "node" else "right", no_wrap=True)
    table.caption = (
        "Energy in kWh. traded: sold or bought ahead; inside: compensated, sold or balanced among "
        "neighbours; a node counts both directions, the sum each kWh once.\n"
    )
    table.caption_justify = "left"
    for node in day.nodes:
        table.add_row(*_node_row(node))
    members = sum(n.net_uyuan for n in day.nodes)
    alone = sum(n.alone_uyuan for n in day.nodes)
    t = day.total
    table.add_section()
    table.add_row(
        "all members",
        kwh(t.import_wh),
        kwh(t.export_wh),
        kwh(t.traded_sold_wh),
        kwh(t.compensated_wh + t.surplus_sold_wh + t.balanced_wh),
        kwh(t.grid_bought_wh + t.grid_sold_wh),
        yuan(members),
        yuan(alone),
        Text(yuan(members - alone), "bold green"),
        style="bold",
    )
    table.add_row(
        *("grid company", "", "", "", "", ""),
        yuan(day.grid_uyuan),
        yuan(day.grid_alone_uyuan),
        yuan(day.grid_uyuan - day.grid_alone_uyuan),
    )
    return table


def in_words(
    day: Figures, rehearsed: Sequence[Rehearsed], line_name: Callable[[int], str]
) -> RenderableType:
    """Say in plain words what the day came to."""
    sentences = [
        f"The members traded {day.volume_wh / 1000:,.0f} kWh ahead"
        + (
            f", at {day.paid_nyuan / day.volume_wh / YUAN:.4f} yuan/kWh on average."
            if day.volume_wh
            else "."
        )
    ]
    full = sum(bool(t.binding) for t in day.tradings)
    if full:
        lines = " and ".join(f"{line_name(line)} in {n}" for line, n in day.binding.most_common())
        sentences.append(f"In {full} of {len(day.periods)} quarter hours a line was full: {lines}.")
        sentences.append(
            "Where prices differ on its two sides, the difference is the rent of the line, "
            f"{day.rent_nyuan / 1000 / YUAN:,.2f} yuan over the day; the grid company gets it."
            if day.rent_nyuan
            else "Under this rule a line has no price, so there is no rent."
        )
    else:
        sentences.append("No line was full, so there is no rent.")
    if day.opposed:
        times = "once" if day.opposed == 1 else f"{day.opposed} times"
        sentences.append(
            f"The oracle processes opposed a clearing {times}: by their AC power flow a line "
            "would have carried too much, so its limit fell and the book was cleared again."
        )
    wires_nyuan = sum(o.best.cost_nyuan - o.unwired.cost_nyuan for o in rehearsed)
    sentences.append(
        f"What the wires cost: with limits, serving everybody costs {wires_nyuan / 1000 / YUAN:.2f}"
        " yuan more than without any, both dispatched as cheaply as can be (Peng Eq. 8)."
    )
    gain = sum(n.saving_uyuan for n in day.nodes)
    better = "better" if gain >= 0 else "worse"
    sentences.append(
        f"Together the members are {abs(gain) / YUAN:,.2f} yuan {better} off than with the grid "
        "company alone."
    )
    return Padding(Text(" ".join(sentences)), (0, 0, 1, 0))


def closing(
    recomputed: int,
    periods: int,
    accounts: int,
    metered: str,
    times: Mapping[str, float],
    elapsed_s: float,
) -> RenderableType:
    """Say what was checked and how long everything took."""
    equal = recomputed == periods
    first = Text.assemble(
        ("\u2713 ", "bold green") if equal else ("\u2717 ", "bold red"),
        (f"{recomputed} of {periods} periods recomputed, bit for bit", "bold"),
    )
    how = Text(
        "Books, prices, lines and readings were read back from the chain, cleared again by the "
        "engine and settled again by the reference model; "
    )
    if equal:
        how.append(
            "every position, transfer and named line is the same, and so are all "
            f"{accounts} balances in the vault."
        )
    else:
        how.append("the differences are listed below.")
    longest = sorted(times.items(), key=lambda item: -item[1])[:3]
    spent = "; ".join(f"{title} {seconds:.0f} s" for title, seconds in longest)
    time = Text(f"Wall time {elapsed_s:.0f} s ({spent}).", "dim")
    return Group(first, Padding(Group(how, metered, time), (0, 0, 1, 2)))


def side_by_side(*tables: Table) -> Columns:
    """Show tables beside each other where there is room, else below each other."""
    return Columns(tables, padding=(0, 4))


def paths(files: Mapping[str, Path]) -> Table:
    """List what was written and where."""
    table = Table.grid(padding=(0, 2))
    for what, path in files.items():
        table.add_row(Text(f"  {what}", "dim"), str(path))
    return table


def save_svg(parts: Sequence[RenderableType], path: Path) -> None:
    """Save the summary as it looks in a terminal."""
    with path.with_suffix(".tmp").open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True)
        console.print(Group(*parts))
    path.with_suffix(".tmp").unlink()
    svg = console.export_svg(title="make demo")
    # The picture must not fetch anything when it is looked at: any fixed-width font will do.
    path.write_text(re.sub(r"@font-face\s*{[^}]*}", "", svg), encoding="utf-8")


def _node_row(node: NodeFigures) -> list[RenderableType]:
    e = node.energy
    saving = node.saving_uyuan
    return [
        node.node.name,
        kwh(e.import_wh),
        kwh(e.export_wh),
        kwh(e.traded_sold_wh + e.traded_bought_wh),
        kwh(e.compensated_wh + e.surplus_sold_wh + e.balanced_wh),
        kwh(e.grid_bought_wh + e.grid_sold_wh),
        yuan(node.net_uyuan),
        yuan(node.alone_uyuan),
        Text(yuan(saving), "green" if saving >= 0 else "red"),
    ]


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        header_style="dim",
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
