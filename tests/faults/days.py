"""Lives through periods of the village's day, and says what they must have come to."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from eth_utils.crypto import keccak
from typer.testing import CliRunner

from market.devnet import rpc
from market.settlement import Mode, Settlement
from oracle.cli import app
from oracle.journal import Journal
from tests.brokers import WAIT_S
from tests.committee import Clock, Committee
from tests.village import Village
from tests.world import World

AHEAD = 3
"""Trades are made so many periods ahead: prices stand, the gate is open."""

VOTE = keccak(text="vote((uint8,uint32,uint16,uint32,bytes32),(uint8,bool,bytes)[])")[:4].hex()
"""Selector of a seat's word on one round's proposal; clearing and settling anybody may try."""


def live(
    village: Village,
    clock: Clock,
    periods: Sequence[int],
    trade_every: int = 3,
    at_edge: Callable[[int], None] = lambda _period: None,
) -> Iterator[int]:
    """Live through consecutive periods, some of them traded, yielding each as it begins.

    Live meters are heard `at_edge`, where a period starts and the one before it ends.
    """
    schedule = village.world.market.schedule
    at_edge(periods[0])
    for period in periods:
        yield period
        clock.await_cleared(period)
        clock.warp(schedule.start(period))
        if period % trade_every == 0:
            village.trade(period + AHEAD)
        # Time is not to leap over the next period's last call.
        clock.await_cleared(period + 1)
        at_edge(period + 1)
        clock.await_settled(period)


def worths_after(before: Mapping[int, int], models: Iterable[Settlement]) -> dict[int, int]:
    """Return what everybody has after settlements, the grid company as node 0, micro-yuan."""
    worths: Counter[int] = Counter(before)
    for model in models:
        worths.update(model.nets_uyuan)
        worths[0] += model.grid_company.net_uyuan
    return dict(worths)


def assert_as_undisturbed(
    village: Village, before: Mapping[int, int], periods: Sequence[int]
) -> None:
    """Every period was cleared in time and settled once, on the truth, and nothing else was."""
    world = village.world
    assert settlements(world) == {(period, 1): 1 for period in periods}
    cleared = world.chain.events(world.market.master, "Cleared", from_block=0)
    assert [event["args"]["period"] for event in cleared if event["args"]["void"]] == []
    truth = {period: village.true_readings(period) for period in periods}
    for period in periods:
        assert world.history.readings(period, 1) == list(truth[period].values())
    models = [village.expected(period, truth[period]) for period in periods]
    assert village.worths() == worths_after(before, models)
    traded = [period for period in periods if world.history.positions(period)]
    assert not periods[AHEAD:] or traded


def settlements(world: World) -> Counter[tuple[int, int]]:
    """Count the settlements by period and report version."""
    events = world.chain.events(world.market.master, "PeriodSettled", from_block=0)
    return Counter((event["args"]["period"], event["args"]["version"]) for event in events)


def named(world: World, event: str, *, key: str = "seat") -> Counter[int]:
    """Count events by the seat they name."""
    events = world.chain.events(world.market.oracle, event, from_block=0)
    return Counter(entry["args"][key] for entry in events)


def await_calm(
    village: Village, committee: Committee, clock: Clock, seats: Iterable[int] | None = None
) -> None:
    """Wait until nodes have followed the chain to here and nothing they sent is under way.

    As in the assertions below, `seats` are those of honest nodes that run; all if not given.
    """
    here = village.world.chain.block_number()
    for seat in seats or committee.seats:

        def calm(seat: int = seat) -> bool:
            journal = Journal(committee.journal(seat), read_only=True)
            try:
                followed, _ = journal.cursor() or (0, b"")
                return followed >= here and not journal.open_transactions()
            finally:
                journal.close()

        clock.until(calm, f"calm of seat {seat}", step_s=1)


def assert_said_once(
    village: Village, committee: Committee, seats: Collection[int] | None = None
) -> None:
    """No seat has voted or proposed twice in a round, and the journals know all that was sent.

    The nodes must have come to rest, see `await_calm`.
    """
    world = village.world
    votes: dict[tuple[str, str], list[str]] = {}
    seats = seats or committee.seats
    sent: dict[str, list[int]] = {world.seats[seat].address.lower(): [] for seat in seats}
    for number in range(world.chain.block_number() + 1):
        block = rpc(world.url, "eth_getBlockByNumber", [hex(number), True])
        for tx in block["transactions"]:
            if tx["from"] in sent:
                sent[tx["from"]].append(int(tx["nonce"], 16))
                if tx["input"][2:10] == VOTE:
                    votes.setdefault((tx["from"], tx["input"]), []).append(tx["hash"])
    assert votes
    for hashes in votes.values():
        # One that was refused, for its proposal was not there, may be tried again.
        receipts = [rpc(world.url, "eth_getTransactionReceipt", [tx]) for tx in hashes[:-1]]
        assert [receipt["status"] for receipt in receipts if receipt["status"] == "0x1"] == []
    for seat in seats:
        nonces = sorted(sent[world.seats[seat].address.lower()])
        assert nonces == list(range(len(nonces)))
        known = "SELECT nonce FROM transactions WHERE state IN ('mined', 'reverted') ORDER BY 1"
        assert [nonce for (nonce,) in _rows(committee, seat, known)] == nonces
        repeated = (
            "SELECT purpose FROM transactions WHERE state = 'mined' "
            "AND (purpose LIKE 'vote %' OR purpose LIKE 'propose %') "
            "GROUP BY purpose HAVING count(*) > 1"
        )
        assert _rows(committee, seat, repeated) == []
    assert not set(named(world, "Equivocated")) & set(seats)


def assert_read_once(
    village: Village,
    committee: Committee,
    periods: Collection[int],
    seats: Iterable[int] | None = None,
) -> None:
    """Every journal holds every true reading exactly once, and `oracle verify` finds no fault."""
    names = list(village.roster)
    for seat in seats or committee.seats:
        for period in periods:
            rows = _rows(
                committee,
                seat,
                "SELECT meter, import_wh, export_wh FROM readings WHERE period = ?",
                period,
            )
            truth = village.true_readings(period)
            assert sorted(rows) == sorted(
                (names[node - 1], r.import_wh, r.export_wh) for node, r in truth.items()
            )
        command = ["verify", "--config", str(committee.configuration(seat))]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
        assert "unread" not in result.output
        assert "no reading of" not in result.output


def assert_sampled_once(committee: Committee, told: Iterable[tuple[str, int, int, int]]) -> None:
    """Every store has every sample that meters told exactly once, and nothing else.

    Args:
        committee: Nodes with live meters.
        told: Meter, register, instant in ms and state in Wh of each sample.
    """
    wanted = sorted(told)
    assert wanted
    for seat in committee.seats:
        assert sorted(sampled(committee, seat)) == wanted


def await_heard(committee: Committee, count: int) -> None:
    """Wait until a quorum of the stores has so many samples, while the chain's time stands still.

    In a quarter hour a message arrives; here one passes in a blink.
    """
    quorum = 2 * len(committee.seats) // 3 + 1
    give_up = time.monotonic() + WAIT_S
    while sum(heard(committee, seat) >= count for seat in committee.seats) < quorum:
        assert time.monotonic() < give_up, [heard(committee, seat) for seat in committee.seats]
        time.sleep(0.02)


def await_samples(clock: Clock, committee: Committee, count: int) -> None:
    """Wait until every store has so many samples."""
    for seat in committee.seats:

        def all_heard(seat: int = seat) -> bool:
            return heard(committee, seat) >= count

        clock.until(all_heard, f"all samples of seat {seat}", step_s=1)


def sampled(committee: Committee, seat: int) -> list[tuple[object, ...]]:
    """Return what a node's store has: meter, register, instant in ms and state in Wh."""
    query = (
        "SELECT name, register, at_ms, value_wh FROM samples JOIN names ON names.id = samples.meter"
    )
    return _select(committee.samples(seat), query)


def heard(committee: Committee, seat: int) -> int:
    """Count what a node's store has."""
    ((count,),) = _select(committee.samples(seat), "SELECT count(*) FROM samples")
    assert isinstance(count, int)
    return count


def logged(committee: Committee, seat: int, words: str) -> int:
    """Count what a node has said in its log."""
    return committee.log(seat).read_text(encoding="utf-8").count(words)


def await_logged(
    clock: Clock, committee: Committee, seats: Iterable[int], words: str, times: int = 1
) -> None:
    """Wait until nodes have said something in their logs."""
    for seat in seats:

        def told(seat: int = seat) -> bool:
            return logged(committee, seat, words) >= times

        clock.until(told, f"{words!r} in {committee.log(seat)}", step_s=1)


def unlocked(village: Village) -> bool:
    """Return whether nobody has money locked."""
    return all(village.world.balance(node)[1] == 0 for node in (0, *village.nodes))


def final_model(village: Village, period: int, *, void: bool) -> Settlement:
    """Return what a period comes to in the end, on whatever report it has."""
    history = village.world.history
    state = history.state(period)
    readings = history.readings(period, state.version) if state.version else []
    mode = Mode.FINAL if state.final else Mode.PROVISIONAL
    return village.expected(period, {r.node: r for r in readings}, mode, void=void)


def _rows(committee: Committee, seat: int, query: str, *values: object) -> list[tuple[object, ...]]:
    return _select(committee.journal(seat), query, *values)


def _select(path: Path, query: str, *values: object) -> list[tuple[object, ...]]:
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return db.execute(query, values).fetchall()
    finally:
        db.close()
