"""What anybody may ask a market's chain: `python -m market`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from market.audit import Audit, AuditError, audit
from market.bill import Bill, Line, Mode
from market.chain import ChainError
from market.contracts import ArtifactError
from market.deployment import Market
from market.history import HistoryError

UYUAN_PER_YUAN = 1_000_000

WIDTH = 100
"""Columns of a bill, so that it looks the same in a terminal and in a file."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="""Asks a market's chain, and nobody else: no key, no account, no operator is needed.""",
)


@app.callback()
def market() -> None:
    """Keep `bill` a command of its own name."""


@app.command()
def bill(
    node: Annotated[int, typer.Option(min=1, help="Whose bill.")],
    period: Annotated[int, typer.Option(min=0, help="Of which period.")],
    rpc: Annotated[
        str, typer.Option(help="The chain's JSON-RPC endpoint.")
    ] = "http://127.0.0.1:8545",
    deployment: Annotated[Path, typer.Option(help="The market's deployment file.")] = Path(
        "deployment.json"
    ),
) -> None:
    """Recompute a member's bill of a settled period, line by line, and compare what was moved.

    Positions, readings and prices come from the chain's events and are checked against the roots
    the contracts keep; the reference model makes the bill of them.

    Exit status 1 if the vault moved another amount than the bill says, for this node or any other.
    """
    with _told():
        found = audit(Market.open(rpc, deployment), period)
        own = found.bill(node)
    console = Console(width=WIDTH, highlight=False)
    console.print(_heading(found, own))
    console.print(_table(found, own))
    moved = found.moved_uyuan.get(node, 0)
    word = "as billed" if moved == own.net_uyuan else f"not the {_yuan(own.net_uyuan)} billed"
    console.print(f"moved on chain {_yuan(moved)} yuan, {word}")
    others = len(found.settlement.bills)
    if found.differing:
        nodes = ", ".join(map(str, found.differing))
        console.print(f"the chain moved other amounts than billed for the nodes {nodes}")
        raise typer.Exit(1)
    console.print(f"all {others} bills of the period recomputed, all as moved")


def _heading(found: Audit, own: Bill) -> str:
    deviation = own.deviation
    notes = [
        f"settled on report {found.version}" if found.version else "settled without a report",
        *(["clearing came too late, plans do not count"] if found.void else []),
        *(["meter unread, money held" if _held(found, own) else "meter unread"] * own.flagged),
    ]
    return (
        f"node {own.node}, period {found.period}: {'; '.join(notes)}\n"
        f"planned: sold {own.plan.sold_wh} Wh, bought {own.plan.bought_wh} Wh. "
        f"metered: fed in {deviation.export_wh} Wh, drew {deviation.import_wh} Wh\n"
        f"deviation: short {deviation.short_wh} Wh, extra {deviation.extra_wh} Wh, "
        f"over {deviation.over_wh} Wh, unused {deviation.unused_wh} Wh"
    )


def _held(found: Audit, own: Bill) -> bool:
    return own.flagged and found.settlement.mode is Mode.PROVISIONAL


def _table(found: Audit, own: Bill) -> Table:
    prices = found.prices
    table = Table(box=None, show_footer=True)
    table.add_column("", "net")
    for head in (
        "sold Wh",
        "bought Wh",
        "sold at",
        "bought at",
        "received",
        "paid",
    ):
        table.add_column(head, justify="right")
    table.add_column("net, yuan", _yuan(own.net_uyuan), justify="right")
    p_s, p_c = prices.selling_uyuan_per_kwh, prices.compensation_uyuan_per_kwh
    rows: list[tuple[str, Line, int | None, int | None]] = [
        ("plan", own.plan, None, None),
        ("compensation", own.compensation, p_c, p_c),
        ("selling", own.selling, p_s, p_s),
        ("local balance", own.balance, p_s, p_c),
        ("grid", own.grid, prices.feed_in_uyuan_per_kwh, prices.retail_uyuan_per_kwh),
        ("fee", own.fee, None, prices.fee_uyuan_per_kwh),
    ]
    for name, line, sold_at, bought_at in rows:
        table.add_row(
            name,
            str(line.sold_wh),
            str(line.bought_wh),
            "as agreed" if name == "plan" else _yuan(sold_at),
            "as agreed" if name == "plan" else _yuan(bought_at),
            _yuan(line.credit_uyuan),
            _yuan(line.debit_uyuan),
            _yuan(line.net_uyuan),
        )
    return table


def _yuan(amount_uyuan: int | None) -> str:
    """Write micro-yuan as yuan, exactly."""
    if amount_uyuan is None:
        return ""
    whole, rest = divmod(abs(amount_uyuan), UYUAN_PER_YUAN)
    return f"{'-' if amount_uyuan < 0 else ''}{whole}.{rest:06d}"


@contextmanager
def _told() -> Iterator[None]:
    """Turn what a user can mend into one line and exit status 1."""
    try:
        yield
    except (AuditError, ChainError, HistoryError, ArtifactError) as exc:
        typer.echo(f"error: {exc}", err=True)
        raise typer.Exit(1) from exc
