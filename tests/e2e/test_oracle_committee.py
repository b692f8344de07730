"""A committee of four processes when something is wrong: liars, silent meters, no money."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from market.devnet import rpc
from market.settlement import Mode
from market.types import Quality
from oracle.cli import app
from tests.committee import Clock, Committee, Settings
from tests.village import MORNING_ROW, Village
from tests.world import EPOCH_S, World, new_world

METER = "load-1"
WEEK = 7 * 96
WEEK_S = 7 * 86_400


@pytest.fixture
def village() -> Iterator[Village]:
    """A village on a chain of its own: processes outlive what a snapshot would undo."""
    with new_world(accounts=80) as world:
        yield Village(world)


def node_of(village: Village, meter: str) -> int:
    return list(village.roster).index(meter) + 1


def named(world: World, event: str, period: int) -> set[int]:
    events = world.chain.events(world.market.oracle, event, from_block=0, period=period)
    key = "proposer" if event == "ProposalRejected" else "seat"
    return {entry["args"][key] for entry in events}


@pytest.mark.parametrize("turn", [0, 1])
def test_committee__one_seat_lies__truth_wins_and_the_liar_is_named(
    village: Village, tmp_path: Path, turn: int
) -> None:
    """The liar proposes in its own periods, and opposes in those of others."""
    world, period = village.world, village.first
    liar = (period + turn) % 4
    lie = {"kind": "lie", "meter": METER, "import_wh": 1, "export_wh": 0}
    lying = replace(Settings(village.meters), faults=[lie])
    others = [seat for seat in range(4) if seat != liar]
    clock = Clock(world.market)
    with village.committee(tmp_path, own={liar: lying}) as committee:
        clock.await_cleared(period)
        # The liar is to be heard before the others have decided.
        committee.stop(*others[1:])
        clock.warp(world.market.schedule.close(period))
        said = "ReportProposed" if turn == 0 else "Voted"
        clock.until(
            lambda: (
                bool(world.chain.events(world.market.oracle, said, from_block=0, period=period))
                and (turn == 0 or liar in named(world, "Voted", period))
            ),
            "the lie",
        )
        committee.start(*others[1:])
        clock.await_settled(period)

    assert world.history.readings(period, 1) == list(village.true_readings(period).values())
    assert named(world, "ProposalRejected" if turn == 0 else "Dissented", period) == {liar}


def test_committee__late_reading__corrects_the_report_and_resettles(
    village: Village, tmp_path: Path
) -> None:
    world, period = village.world, village.first
    clock, close = Clock(world.market), world.market.schedule.close(village.first)
    late = {"kind": "late", "meter": METER, "available_at_s": close + 300, "last": period}
    before = village.worths()
    settings = Settings(village.meters, faults=[late])
    with village.committee(tmp_path, settings):
        clock.await_cleared(period)
        clock.await_settled(period, version=1)
        assert node_of(village, METER) not in {r.node for r in world.history.readings(period, 1)}
        clock.warp(close + 300)
        clock.await_settled(period, version=2)

    truth = village.true_readings(period)
    assert world.history.readings(period, 2) == list(truth.values())
    model = village.expected(period, truth)
    nets = model.nets_uyuan | {0: model.grid_company.net_uyuan}
    assert village.worths() == {node: before[node] + nets[node] for node in before}


def test_committee__silent_meter__is_substituted_and_has_delivered_nothing_in_the_end(
    tmp_path: Path,
) -> None:
    # The market is a week old, so that there is a value of a week before.
    with new_world(accounts=80, genesis_s=EPOCH_S + WEEK_S) as world:
        village = Village(world)
        period, silent = village.first, node_of(village, METER)
        meters = replace(village.meters, first_period=period - WEEK, first_row=MORNING_ROW - WEEK)
        quiet = {"kind": "silent", "meter": METER, "first": period}
        earlier = village.readings(meters, period - WEEK)[silent]
        substitute = replace(earlier, quality=Quality.SUBSTITUTED)
        reported = village.true_readings(period) | {silent: substitute}
        before, clock = village.worths(), Clock(world.market)
        with village.committee(tmp_path, Settings(meters, faults=[quiet])) as committee:
            clock.await_cleared(period)
            clock.await_settled(period)
            assert {r.node: r for r in world.history.readings(period, 1)} == reported
            assert world.history.state(period).flagged
            model = village.expected(period, reported)
            nets = model.nets_uyuan | {0: model.grid_company.net_uyuan}
            assert village.worths() == {node: before[node] + nets[node] for node in before}
            clock.await_final(period)
        assert village.expected(period, reported, Mode.FINAL).nets_uyuan == model.nets_uyuan
        assert world.balance(silent)[1] == 0
        # The journals have the week before, too, so the substitute can be recomputed from them.
        for command in ("verify", "replay"):
            said = asked(committee, 0, command)
            assert said.exit_code == 0, said.output
            assert "no reading of" not in said.output
            assert ", 0 not read" in said.output or "1 reports, 1 as read" in said.output
        journal = sqlite3.connect(committee.journal(0))
        with journal:
            journal.execute(
                "UPDATE readings SET import_wh = import_wh + 1 WHERE (period, meter) = (?, ?)",
                (period - WEEK, METER),
            )
        journal.close()
        said = asked(committee, 0, "verify")
        assert said.exit_code == 1
        assert f"node {silent} ({METER}): substituted import {substitute.import_wh} Wh" in (
            said.output
        )


def test_committee__seat_out_of_funds__others_go_on_and_it_returns(
    village: Village, tmp_path: Path
) -> None:
    world, first = village.world, village.first
    poor, clock = first % 4, Clock(world.market)
    address = world.seats[poor].address
    with village.committee(tmp_path) as committee:
        balance = world.chain.w3.eth.get_balance(address)
        rpc(world.url, "anvil_setBalance", [address, "0x0"])
        clock.await_cleared(first)
        clock.await_settled(first)
        assert "out of funds" in committee.log(poor).read_text()
        assert committee.is_alive(poor)

        rpc(world.url, "anvil_setBalance", [address, hex(balance)])
        sent = world.chain.nonce(address)
        for _ in clock.live(range(first + 1, first + 5)):
            pass
        clock.until(lambda: world.chain.nonce(address) > sent, "a transaction of the poor seat")


def test_committee__killed_and_restarted__resumes_with_one_word_a_round(
    village: Village, tmp_path: Path
) -> None:
    world, periods = village.world, range(village.first, village.first + 6)
    before, clock = village.worths(), Clock(world.market)
    nets: Counter[int] = Counter(before)
    with village.committee(tmp_path) as committee:
        for period in periods:
            clock.await_cleared(period)
            committee.kill(period % 4)
            clock.await_settled(period)
            committee.start(period % 4)
            model = village.expected(period, village.true_readings(period))
            nets.update(model.nets_uyuan)
            nets[0] += model.grid_company.net_uyuan
        for seat in committee.seats:
            assert verified(committee, seat) == 0
    assert village.worths() == nets
    assert not world.chain.events(world.market.oracle, "Equivocated", from_block=0)


def verified(committee: Committee, seat: int) -> int:
    return asked(committee, seat, "verify").exit_code


def asked(committee: Committee, seat: int, command: str) -> Result:
    """Return what a node's command line says of its journal."""
    return CliRunner().invoke(app, [command, "--config", str(committee.configuration(seat))])
