"""What a seat decides, given what it knows: pure decisions over a view made of events."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from market.packing import pack_readings
from market.prices import TradingPrices, clamp
from oracle.duties import keep, prices, report
from oracle.duties.situation import Clear, Settle, Situation
from oracle.prices.source import PriceSource
from oracle.pricing import price_digest, price_tuple
from tests.desk import BENCHMARK, CLOCK, CLOSE, PERIOD, WEEK, Desk, measured, substituted
from tests.world import PENG


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


# -- turns


def test_clear__due__primary_first_others_later_and_by_block_in_the_end(desk: Desk) -> None:
    gate, round_s = CLOCK.gate(PERIOD), CLOCK.round_length_s

    def who(now: int, block: int = 0) -> set[int]:
        return {s for s in range(4) if list(keep.clear(desk.at(now, s, block)))}

    assert who(gate - 1) == set()
    assert who(gate) == {PERIOD % 4}
    assert who(gate + round_s // 4) == {PERIOD % 4, (PERIOD + 1) % 4}
    assert who(gate + round_s - 1) == {0, 1, 2, 3}
    for block in range(4):
        assert who(gate + 10 * round_s, block) == {block}
    desk.clear()
    assert who(gate) == set()


def test_settle__report_accepted__its_proposer_settles_first(desk: Desk) -> None:
    desk.read(PERIOD, m1=5, m2=6)
    desk.clear()
    desk.propose(measured(1, 5), measured(2, 6), round_=2)
    assert list(keep.settle(desk.at(CLOSE + 130, (PERIOD + 2) % 4))) == []
    desk.accept(round_=2)
    proposer = (PERIOD + 2) % 4
    assert list(keep.settle(desk.at(CLOSE + 5, proposer))) == [Settle(PERIOD)]
    assert list(keep.settle(desk.at(CLOSE + 5, (proposer + 1) % 4))) == []
    desk.tell("PeriodSettled", CLOSE + 6, period=PERIOD, version=1, finalMode=False, lines=())
    assert list(keep.settle(desk.at(CLOCK.window_end(PERIOD), PERIOD % 4))) == []


def test_settle__no_report__only_after_the_deadline(desk: Desk) -> None:
    desk.clear()
    deadline = CLOCK.settle_deadline(PERIOD)
    assert list(keep.settle(desk.at(deadline - 1, PERIOD % 4))) == []
    assert list(keep.settle(desk.at(deadline, PERIOD % 4))) == [Settle(PERIOD)]


def test_settle__flagged__again_after_the_window(desk: Desk) -> None:
    desk.clear()
    desk.propose(measured(1, 5), substituted(2, 6))
    desk.accept()
    desk.tell("PeriodSettled", CLOSE + 6, period=PERIOD, version=1, finalMode=False, lines=())
    end = CLOCK.window_end(PERIOD)
    assert list(keep.settle(desk.at(end - 1, PERIOD % 4))) == []
    assert list(keep.settle(desk.at(end, PERIOD % 4))) == [Settle(PERIOD)]


def test_clear__names_a_purpose_for_each_period() -> None:
    assert Clear(3).purpose != Clear(4).purpose != Settle(4).purpose


# -- reports


def test_propose__all_read__primary_only_and_at_once(desk: Desk) -> None:
    desk.read(PERIOD, m1=5, m2=6)
    (proposed,) = report.propose(desk.at(CLOSE, PERIOD % 4))
    assert proposed.buckets == tuple(pack_readings([measured(1, 5), measured(2, 6)]))
    assert list(report.propose(desk.at(CLOSE, (PERIOD + 1) % 4))) == []
    assert list(report.propose(desk.at(CLOSE - 1, PERIOD % 4))) == []


def test_propose__silent_meter__waits_and_then_gives_the_week_before(desk: Desk) -> None:
    desk.read(PERIOD - WEEK, m1=1, m2=4)
    desk.read(PERIOD, m1=5)
    assert list(report.propose(desk.at(CLOSE + 29, PERIOD % 4))) == []
    (proposed,) = report.propose(desk.at(CLOSE + 30, PERIOD % 4))
    assert proposed.buckets == tuple(pack_readings([measured(1, 5), substituted(2, 4)]))


def test_propose__silent_meter_without_a_past__is_left_out(desk: Desk) -> None:
    desk.read(PERIOD, m1=5)
    (proposed,) = report.propose(desk.at(CLOSE + 30, PERIOD % 4))
    assert proposed.buckets == tuple(pack_readings([measured(1, 5)]))


def test_vote__equal__for_and_different__against_with_node_and_values(desk: Desk) -> None:
    desk.read(PERIOD, m1=5, m2=6)
    desk.propose(measured(1, 5), measured(2, 6))
    assert [(v.support, v.reason) for v in desk.votes(CLOSE)] == [(True, "as read")]
    desk.propose(measured(1, 5), measured(2, 7), round_=1)
    against = desk.votes(CLOSE)[1]
    assert not against.support
    assert "node 2" in against.reason
    assert "export 7 Wh" in against.reason
    assert "export 6 Wh" in against.reason


def test_vote__own_meter_silent__waits_for_it_and_then_opposes(desk: Desk) -> None:
    desk.read(PERIOD, m1=5)
    desk.propose(measured(1, 5), measured(2, 6))
    assert desk.votes(CLOSE + 29) == []
    assert [v.support for v in desk.votes(CLOSE + 30)] == [False]
    desk.read(PERIOD, m1=5, m2=6)
    assert [v.support for v in desk.votes(CLOSE + 29)] == [True]


def test_vote__less_than_known__only_after_every_seat_had_its_turn(desk: Desk) -> None:
    desk.read(PERIOD, m1=5, m2=6)
    for round_, supported in ((0, False), (3, False), (4, True)):
        desk.propose(measured(1, 5), round_=round_)
        assert desk.votes(CLOSE)[-1].support is supported
    desk.propose(measured(1, 5), measured(2, 7), round_=5)
    assert not desk.votes(CLOSE)[-1].support


def test_correction__late_reading__primary_proposes_the_next_version(desk: Desk) -> None:
    desk.read(PERIOD, m1=5)
    desk.propose(measured(1, 5))
    desk.accept()
    assert list(report.propose(desk.at(CLOSE + 60, (PERIOD + 1) % 4))) == []
    desk.read(PERIOD, m1=5, m2=6)
    (proposed,) = report.propose(desk.at(CLOSE + 60, (PERIOD + 1) % 4))
    assert proposed.version == 2
    assert proposed.buckets == tuple(pack_readings([measured(1, 5), measured(2, 6)]))


def test_corrections__worse_than_accepted_or_idle__opposed() -> None:
    accepted = {1: measured(1, 5), 2: substituted(2, 6)}
    own = {1: measured(1, 5), 2: measured(2, 8)}
    better = {1: measured(1, 5), 2: measured(2, 8)}
    assert not report.corrections(better, own, accepted)
    assert report.corrections(accepted, own, accepted)
    assert report.corrections({1: substituted(1, 5), 2: measured(2, 8)}, own, accepted)
    assert report.corrections({2: measured(2, 8)}, own, accepted)


# -- prices


def proposed_prices(desk: Desk, raw: tuple[int, ...], digest: bytes | None = None) -> Situation:
    first = PERIOD
    at = CLOCK.price_opens(first)
    desk.tell(
        "PricesProposed",
        at,
        fromPeriod=first,
        round=0,
        proposer=first % 4,
        digest=digest or price_digest([BENCHMARK]),
        prices=(raw,),
    )
    return desk.at(at + 1)


@pytest.mark.parametrize(
    ("clamp_flags", "source"), [(200, 0), (0, 1)], ids=["unknown flags", "own source"]
)
def test_prices__that_no_node_can_fix__are_opposed_not_fatal(
    desk: Desk, clamp_flags: int, source: int
) -> None:
    raw = (*price_tuple(BENCHMARK)[:6], clamp_flags, source)
    situation = proposed_prices(desk, raw, digest=b"\x01" * 32)
    assert [vote.support for vote in prices.vote(situation)] == [False]


def test_prices__as_computed__supported_and_others_opposed(desk: Desk) -> None:
    situation = proposed_prices(desk, price_tuple(BENCHMARK))
    assert [vote.support for vote in prices.vote(situation)] == [True]

    class Dearer(PriceSource):
        def trading(self, _period: int, /) -> TradingPrices:
            return ASKED

    situation = replace(situation, prices=Dearer())
    (vote,) = prices.vote(situation)
    assert not vote.support
    assert f"period {PERIOD}" in vote.reason


def test_prices__decided_in_another_round__are_not_voted_on_any_more(desk: Desk) -> None:
    asked = clamp(ASKED, PENG)[0]
    desk.tell(
        "PricesProposed",
        CLOCK.price_opens(PERIOD),
        fromPeriod=PERIOD,
        round=1,
        proposer=(PERIOD + 1) % 4,
        digest=price_digest([asked]),
        prices=(price_tuple(asked),),
    )
    situation = proposed_prices(desk, price_tuple(BENCHMARK))
    assert {vote.proposal.round for vote in prices.vote(situation)} == {0, 1}
    desk.tell("Accepted", situation.now, topic=0, period=PERIOD, version=0, round=1, digest=b"")
    # The contract would take the vote and count nothing, block after block.
    assert list(prices.vote(situation)) == []


ASKED = TradingPrices(300_000, 500_000, 700_000)


def test_prices__half_of_the_first_ones_time_over__primary_proposes_all_open(desk: Desk) -> None:
    class Dearer(PriceSource):
        def trading(self, _period: int, /) -> TradingPrices:
            return ASKED

    now = CLOCK.start(PERIOD)
    found = [
        proposal
        for seat in range(4)
        for proposal in prices.propose(replace(desk.at(now, seat), prices=Dearer()))
    ]
    (proposal,) = found
    assert CLOCK.price_deadline(proposal.first) > now + CLOCK.round_length_s
    assert CLOCK.price_opens(proposal.first + len(proposal.prices) - 1) <= now
    assert set(proposal.prices) == {clamp(ASKED, PENG)[0]}
    assert [list(prices.propose(desk.at(now, seat))) for seat in range(4)] == [[]] * 4
