"""Takes to the chain what convicts a seat: two different signed votes in one round."""

from __future__ import annotations

from collections.abc import Iterator

from oracle.duties.situation import FileEvidence, Situation


def file(s: Situation) -> Iterator[FileEvidence]:
    """Name the contradictions the chain does not know of; the seat behind the liar files first."""
    for found in s.contradictions:
        period, seat = found.first.proposal.period, found.first.seat
        if found.first.round in s.view.equivocated or period < s.view.floor:
            continue
        if s.is_my_turn(period, seat + 1, found.at):
            yield FileEvidence(found)
