"""A seat's desk without a chain: it is told events and readings, and asked what is due."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from market.packing import pack_readings, root_of
from market.prices import PeriodPrices
from market.types import MeterReading, Quality
from oracle.duties import report
from oracle.duties.situation import Situation, Terms, Vote
from oracle.journal import Event, Journal
from oracle.meters.roster import Meter, Role, Roster, meter_key
from oracle.meters.source import Quality as MeterQuality
from oracle.meters.source import Reading
from oracle.prices.source import PriceSource
from oracle.pricing import price_tuple
from oracle.queries import QueryBook
from oracle.readings import OwnReadings
from oracle.view import View
from oracle.wires import Wires
from tests.world import EPOCH_S, PENG, default_schedule

CLOCK = default_schedule()
SIGNERS = [f"0x{seat:040x}" for seat in range(1, 5)]
WEEK = 7 * 96
PERIOD = WEEK + 8
BENCHMARK = PeriodPrices.from_benchmark(PENG)
CLOSE = CLOCK.close(PERIOD)
ROSTER = Roster(Meter(f"m{node}", "", 0, Role.PROSUMER, 100_000, 100_000) for node in (1, 2))


def measured(node: int, export_wh: int, import_wh: int = 0) -> MeterReading:
    return MeterReading(node, Quality.MEASURED, export_wh, import_wh)


def substituted(node: int, export_wh: int, import_wh: int = 0) -> MeterReading:
    return MeterReading(node, Quality.SUBSTITUTED, export_wh, import_wh)


class Known:
    """A source with given readings."""

    def __init__(self) -> None:
        self.values: dict[int, dict[str, int]] = {}

    def read(self, period: int) -> Iterator[Reading]:
        for meter, export_wh in self.values.get(period, {}).items():
            yield Reading(meter, period, 0, export_wh, MeterQuality.MEASURED, "test")


class Desk:
    """One seat's desk: what the chain and the meters told, and what is due."""

    def __init__(
        self, folder: Path, roster: Roster = ROSTER, members: Sequence[str] = tuple(ROSTER)
    ) -> None:
        self.source = Known()
        self.journal = Journal(folder / "journal.sqlite")
        self.readings = OwnReadings(self.journal, self.source, roster, lambda: CLOSE)
        self.queries = QueryBook(self.journal)
        self.terms = Terms(True, 100, gas_price_wei=0, gas_limit=2**24, earned_wei=0)
        self.view = View()
        self.wires: Wires | None = None
        self.prices = PriceSource()
        self._number = 0
        for seat, signer in enumerate(SIGNERS):
            self.tell("SeatRotated", EPOCH_S, seat=seat, signer=signer, fromPeriod=0)
        self.tell("BenchmarkSet", EPOCH_S, fromPeriod=0, prices=price_tuple(BENCHMARK))
        for node, meter in enumerate(members, 1):
            self.tell("Admitted", EPOCH_S, node=node, meter=meter_key(meter), bus=node)

    def tell(self, name: str, at: int, **args: Any) -> None:  # noqa: ANN401
        self._number += 1
        self.view.apply([Event(self._number, 0, name, at, args)])

    def read(self, period: int, **values: int) -> None:
        self.source.values[period] = values
        self.readings.collect(period)

    def propose(self, *entries: MeterReading, version: int = 1, round_: int = 0) -> None:
        buckets = tuple(pack_readings(entries))
        self.tell(
            "ReportProposed",
            CLOCK.close(PERIOD),
            period=PERIOD,
            version=version,
            round=round_,
            proposer=(PERIOD + round_) % 4,
            root=root_of(buckets),
            buckets=buckets,
        )

    def accept(self, version: int = 1, round_: int = 0) -> None:
        ballot = self.view.period(PERIOD).ballots[version, round_]
        self.tell(
            "Accepted",
            CLOCK.close(PERIOD) + 5,
            topic=1,
            period=PERIOD,
            version=version,
            round=round_,
            digest=ballot.proposal.digest,
        )

    def clear(self) -> None:
        root = root_of([b""])
        at = CLOCK.gate(PERIOD)
        self.tell("PositionsFixed", at, period=PERIOD, bucket=0, root=root, positions=b"")
        self.tell("Cleared", at, period=PERIOD, buckets=1, root=root, void=False)

    def at(self, now: int, seat: int = 0, block: int = 0) -> Situation:
        return Situation(
            now=now,
            block=block,
            seat=seat,
            signer=SIGNERS[seat],
            schedule=CLOCK,
            view=self.view,
            readings=self.readings,
            prices=self.prices,
            wires=self.wires,
            first_period=1,
            patience_s=30,
            periods=range(PERIOD, PERIOD + 1),
            queries=self.queries,
            terms=self.terms,
        )

    def votes(self, now: int) -> list[Vote]:
        return list(report.vote(self.at(now)))
