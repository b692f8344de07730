"""Looks back: what a journal knows, and whether the chain's reports say the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from market.deployment import Market
from market.messages import Topic
from market.packing import root_of
from market.types import MeterReading, Quality
from oracle.ballot import Ballot
from oracle.journal import Journal
from oracle.meters.roster import Roster, meter_key
from oracle.readings import WEEK_S, Energies
from oracle.tolerance import Tolerance
from oracle.view import View


@dataclass(frozen=True, slots=True)
class Finding:
    """How an accepted report compares with this node's journal.

    Attributes:
        period: The period.
        version: The report's version.
        agreed: Nodes whose reported values are what this node read, or their profile is.
        unread: Nodes in it that this node has no such reading of.
        differing: What the report and the journal say where they differ, in words.
        intact: Whether the bytes in the journal match the root on chain.
    """

    period: int
    version: int
    agreed: int
    unread: int
    differing: tuple[str, ...]
    intact: bool

    @property
    def good(self) -> bool:
        """Whether nothing contradicts the report."""
        return self.intact and not self.differing


@dataclass(frozen=True, slots=True)
class PeriodLine:
    """One period as a journal knows it, for people.

    Attributes:
        period: The period.
        stage: Where it stands.
        version: Latest accepted report version, 0 for none.
        settled: Report version it was settled on, None if it was not.
        votes: This node's votes on its reports.
    """

    period: int
    stage: str
    version: int
    settled: int | None
    votes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a journal's readings lead to for one accepted report, and what was said of it.

    Attributes:
        period: The period.
        version: The report's version.
        agreed: Nodes whose reported values are what was read, or their profile is.
        differing: Nodes that were reported otherwise.
        unread: Nodes in it that there is no such reading of.
        support: This node's vote on it, None if it cast none.
    """

    period: int
    version: int
    agreed: int
    differing: int
    unread: int
    support: bool | None

    @property
    def wrong(self) -> bool:
        """Whether a first report was supported although the readings contradict it."""
        return self.version == 1 and self.support is True and self.differing > 0

    def __str__(self) -> str:
        """Return one line for people."""
        voted = {None: "no vote", True: "voted for", False: "voted against"}[self.support]
        return (
            f"period {self.period} v{self.version}: {self.agreed} as read, {self.differing} "
            f"otherwise, {self.unread} not read; {voted}"
            + (", which the readings contradict" if self.wrong else "")
        )


STAGES = ("open", "clearing", "cleared", "void", "settled", "final")


def _told_periods(journal: Journal, first: int) -> list[int]:
    """Return the periods from one on that were cleared or reported on, ascending."""
    rows = journal.db.execute(
        "SELECT DISTINCT period FROM events "
        "WHERE period >= ? AND name IN ('Cleared', 'ReportProposed') ORDER BY 1",
        (first,),
    )
    return [period for (period,) in rows]


def _last_cleared(journal: Journal) -> int:
    row = journal.db.execute(
        "SELECT period FROM events WHERE name = 'Cleared' ORDER BY period DESC LIMIT 1"
    ).fetchone()
    return 0 if row is None else int(row[0])


def periods_of(journal: Journal, first: int = 0) -> Iterator[tuple[int, View]]:
    """Yield the periods from one on with the market as a journal knows it, one period at a time."""
    view = View()
    view.apply(journal.lasting_events())
    for period in _told_periods(journal, first):
        view.apply(journal.events_of(period))
        yield period, view
        view.forget(period + 1)


def replay(
    journal: Journal,
    roster: Roster,
    tolerance: Tolerance,
    first: int = 0,
    last: int | None = None,
) -> Iterator[Replayed]:
    """Recompute every accepted report from a journal alone.

    Args:
        journal: The node's journal.
        roster: The meters the node reads.
        tolerance: How far a report may be from what was read.
        first: First period.
        last: Last period, None for all.
    """
    look = _Look(journal, roster, tolerance)
    for period, view in periods_of(journal, first):
        if last is not None and period > last:
            return
        for version, ballot in sorted(view.period(period).reports.items()):
            seen = look.at(ballot, view)
            vote = journal.vote(ballot.proposal)
            said = vote is not None and vote.digest == ballot.proposal.digest
            support = vote.support if vote is not None and said else None
            counts = (seen.agreed, len(seen.differing), seen.unread)
            yield Replayed(period, version, *counts, support)


def verify(
    journal: Journal, market: Market, roster: Roster, tolerance: Tolerance
) -> Iterator[Finding]:
    """Compare every accepted report with the journal's own readings and with the chain.

    Args:
        journal: The node's journal.
        market: The market.
        roster: The meters the node reads.
        tolerance: How far a report may be from what was read.
    """
    look = _Look(journal, roster, tolerance)
    for period, view in periods_of(journal):
        for version, ballot in sorted(view.period(period).reports.items()):
            call = market.oracle.functions.reportRoot(period, version)
            intact = root_of(ballot.buckets) == bytes(market.chain.read(call))
            seen = look.at(ballot, view)
            yield Finding(period, version, seen.agreed, seen.unread, seen.differing, intact)


@dataclass(frozen=True, slots=True)
class _Seen:
    agreed: int
    unread: int
    differing: tuple[str, ...]


class _Look:
    """Recomputes reports from a journal: measured entries, and substitutes by their profile."""

    def __init__(self, journal: Journal, roster: Roster, tolerance: Tolerance) -> None:
        self._journal, self._tolerance = journal, tolerance
        self._meter_of = {meter_key(meter): meter for meter in roster}
        self._periods_per_week = WEEK_S // roster.period_s

    def at(self, ballot: Ballot, view: View) -> _Seen:
        """Compare a report's entries with what the journal has of their meters."""
        period = ballot.proposal.period
        sources = {
            Quality.MEASURED: self._journal.readings(period),
            Quality.SUBSTITUTED: self._journal.readings(period - self._periods_per_week),
        }
        agreed = unread = 0
        differing = []
        for node, said in sorted(ballot.readings().items()):
            meter = self._meter_of.get(view.meters.get(node, b""), "")
            mine = sources[said.quality].get(meter)
            if mine is None:
                unread += 1
            elif self._tolerance.covers(said, MeterReading(node, said.quality, mine[1], mine[0])):
                agreed += 1
            else:
                differing.append(_difference(meter, said, mine))
        return _Seen(agreed, unread, tuple(differing))


def period_lines(journal: Journal, last: int) -> list[PeriodLine]:
    """Return the latest periods a journal knows something of, oldest first."""
    lines = []
    for period, view in periods_of(journal, _last_cleared(journal) - last + 1):
        known = view.period(period)
        votes = tuple(
            f"v{version} r{round_} {'for' if support else 'against: ' + reason}"
            for version, round_, support, reason in journal.votes_on(Topic.REPORT, period)
        )
        stage = STAGES[view.state(period).stage]
        lines.append(PeriodLine(period, stage, known.version, known.settled_version, votes))
    return lines[-last:]


def _difference(meter: str, said: MeterReading, mine: Energies) -> str:
    how = "reported" if said.quality is Quality.MEASURED else "substituted"
    what = "read" if said.quality is Quality.MEASURED else "read a week before"
    return (
        f"node {said.node} ({meter}): {how} import {said.import_wh} Wh export {said.export_wh} Wh, "
        f"{what} import {mine[0]} Wh export {mine[1]} Wh"
    )
