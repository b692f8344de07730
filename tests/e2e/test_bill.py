"""`python -m market bill`: a member recomputes its bill from the chain alone."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner, Result

from market.cli import app
from tests.story import (
    PERIOD,
    A,
    B,
    C,
    agree_story,
    clear_story,
    play_story,
    report_story,
)
from tests.world import YUAN, World


def bill(world: World, node: int, period: int = PERIOD) -> Result:
    chosen = ["--node", str(node), "--period", str(period)]
    where = ["--rpc", world.url, "--deployment", str(world.path)]
    return CliRunner().invoke(app, ["bill", *chosen, *where])


def rows(result: Result) -> dict[str, list[str]]:
    """Return the numbers of each line by its name."""
    names = ("plan", "compensation", "selling", "local balance", "grid", "fee", "net")
    lines = (line.strip() for line in result.output.splitlines())
    return {n: line.removeprefix(n).split() for line in lines for n in names if line.startswith(n)}


def test_bill__settled_period__shows_every_line_of_the_paper_and_what_moved(world: World) -> None:
    play_story(world)

    seller, reserve = bill(world, A), bill(world, C)

    assert seller.exit_code == reserve.exit_code == 0, seller.output
    line = rows(seller)
    assert set(line) == {
        "plan",
        "compensation",
        "selling",
        "local balance",
        "grid",
        "fee",
        "net",
    }
    assert line["plan"][-3:] == ["4.379000", "0.000000", "4.379000"]
    assert line["compensation"] == [
        "0",
        "2000",
        "0.535900",
        "0.535900",
        "0.000000",
        "1.071800",
        "-1.071800",
    ]
    assert line["net"] == ["3.307200"]
    assert "short 2000 Wh" in seller.output
    assert "moved on chain 3.307200 yuan, as billed" in seller.output
    assert "all 3 bills of the period recomputed, all as moved" in seller.output
    assert rows(reserve)["net"] == ["1.071800"]
    assert world.worth(A) - 1_000 * YUAN == 3_307_200


def test_bill__corrected_report__adds_up_both_settlements(world: World) -> None:
    play_story(world)
    report_story(world, reserve_wh=1_000, version=2)

    result = bill(world, A)

    assert result.exit_code == 0, result.output
    assert "settled on report 2" in result.output
    assert rows(result)["grid"][1] == "1000"
    moved = world.worth(A) - 1_000 * YUAN
    assert f"moved on chain {moved / YUAN:.6f} yuan, as billed" in result.output


def test_bill__no_report_ever__shows_money_held_and_then_the_end(world: World) -> None:
    agree_story(world)
    clear_story(world)
    schedule = world.market.schedule
    world.warp(schedule.settle_deadline(PERIOD))
    assert world.keeper.settle(PERIOD)
    held = bill(world, A)
    world.warp(schedule.window_end(PERIOD))
    assert world.keeper.settle(PERIOD)
    ended = bill(world, A)

    assert held.exit_code == ended.exit_code == 0, held.output + ended.output
    assert "settled without a report; meter unread, money held" in held.output
    assert "fed in 10000 Wh" in held.output
    assert "money held" not in ended.output
    assert "fed in 0 Wh" in ended.output
    assert "moved on chain" in ended.output


def test_bill__void_period__counts_no_plan(world: World) -> None:
    agree_story(world)
    world.warp(world.market.schedule.close(PERIOD))
    world.keeper.clear(PERIOD)
    report_story(world)

    result = bill(world, B)

    assert result.exit_code == 0, result.output
    assert "plans do not count" in result.output
    assert rows(result)["plan"][:2] == ["0", "0"]


def test_bill__nothing_to_show__says_what_to_wait_for(world: World, tmp_path: Path) -> None:
    play_story(world)
    nowhere = tmp_path / "none.json"

    unsettled, stranger = bill(world, A, PERIOD + 1), bill(world, 99)
    chosen = ["bill", "--node", "1", "--period", "1", "--deployment", str(nowhere)]
    undeployed = CliRunner().invoke(app, chosen)

    for result, told in (
        (unsettled, f"period {PERIOD + 1} is not settled; wait"),
        (stranger, "node 99 has neither a position nor a reading"),
        (undeployed, f"no deployment file at {nowhere}"),
    ):
        assert result.exit_code == 1
        assert told in result.output
        assert "Traceback" not in result.output
