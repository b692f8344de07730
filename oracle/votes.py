"""What the chain told of headrooms, of clearings under vote, and of the limits they lowered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from eth_utils.crypto import keccak

from market.lines import Derate
from market.messages import Proposal, Topic
from market.packing import EMPTY_ROOT, fold_root
from oracle.ballot import Ballot

Args = Mapping[str, Any]

_HASH_BYTES = 28
"""What the contract keeps of a headroom's hash."""


class Votes:
    """Headrooms and clearings.

    Attributes:
        headroom_ballots: Proposals by first period and round.
        headrooms: The packed headroom of each period that has one.
        clearings: By period, the checked clearing of the present attempt.
        derates: By period, the limits that votes lowered.
    """

    def __init__(self) -> None:
        """Know nothing."""
        self.headroom_ballots: dict[tuple[int, int], Ballot] = {}
        self.headrooms: dict[int, bytes] = {}
        self.clearings: dict[int, Ballot] = {}
        self.derates: dict[int, list[Derate]] = defaultdict(list)
        self._parts: dict[int, dict[bytes, bytes]] = defaultdict(dict)

    def ballot_of(self, topic: int, period: int, version: int, round_: int) -> Ballot | None:
        """Return a ballot on headroom or a clearing; None for attempts that are over.

        Raises:
            KeyError: If a headroom was never proposed.
        """
        if topic == Topic.HEADROOM:
            return self.headroom_ballots[period, round_]
        found = self.clearings.get(period)
        return found if found and found.proposal.version == version else None

    def forget(self, before: int) -> None:
        """Drop the periods before one."""
        for by_period in (self.headrooms, self.clearings, self.derates, self._parts):
            for period in [p for p in by_period if p < before]:
                del by_period[period]
        for first, round_ in list(self.headroom_ballots):
            if first + len(self.headroom_ballots[first, round_].headrooms) <= before:
                del self.headroom_ballots[first, round_]

    # -- events, with the values the contracts name

    def headroom_proposed(self, at: int, args: Args) -> None:
        """Take in `HeadroomProposed`."""
        first, round_ = args["fromPeriod"], args["round"]
        proposal = Proposal(Topic.HEADROOM, first, 0, round_, args["digest"])
        ballot = Ballot(proposal, args["proposer"], at, headrooms=tuple(args["headrooms"]))
        self.headroom_ballots[first, round_] = ballot

    def headroom_fixed(self, _at: int, args: Args) -> None:
        """Take in `HeadroomFixed`."""
        known = {
            keccak(headroom)[:_HASH_BYTES]: headroom
            for (first, _), ballot in self.headroom_ballots.items()
            if first <= args["period"] < first + len(ballot.headrooms)
            for headroom in [ballot.headrooms[args["period"] - first]]
        }
        self.headrooms[args["period"]] = known[args["hash"]]

    def positions_fixed(self, _at: int, args: Args) -> None:
        """Take in a bucket that some claim comes to; it counts if its root leads to the checked."""
        self._parts[args["period"]][args["root"]] = args["positions"]

    def checked(self, at: int, args: Args) -> None:
        """Take in `Checked`."""
        period = args["period"]
        proposal = Proposal(Topic.CLEARING, period, args["attempt"], 0, args["root"])
        buckets = self.buckets(period, args["root"], args["buckets"])
        self.clearings[period] = Ballot(proposal, -1, at, buckets=buckets)

    def reopened(self, _at: int, args: Args) -> None:
        """Take in `Reopened`."""
        self.clearings.pop(args["period"], None)

    def objected(self, _at: int, args: Args) -> None:
        """Take in `Objected`."""
        found = self.clearings.get(args["period"])
        if found and found.proposal.version == args["attempt"]:
            found.votes[args["seat"]] = False

    def derated(self, _at: int, args: Args) -> None:
        """Take in `Derated`."""
        derate = Derate(args["line"], args["up"], args["limitWh"])
        self.derates[args["period"]].append(derate)

    def buckets(self, period: int, root: bytes, count: int) -> tuple[bytes, ...]:
        """Return the positions of all buckets, those of all told whose hashes lead to a root.

        Raises:
            KeyError: If a part was never told.
        """
        parts = self._parts[period]
        buckets: list[bytes] = []
        while len(buckets) < count:
            data = parts[root]
            before = (EMPTY_ROOT, *parts)
            root = next((r for r in before if fold_root(r, data) == root), b"")
            buckets.insert(0, data)
        return tuple(buckets)
