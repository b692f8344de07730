"""What a seat has said of a clearing stands, whatever it would say now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes

from market.lines import Derate
from market.messages import Objection, Proposal, Topic
from oracle.actor import Actor
from oracle.duties.situation import Object, Vote
from oracle.follower import Follower
from oracle.journal import Journal
from oracle.sender import RETRY_S, Sender
from oracle.view import View
from tests.world import World

CLEARING = Proposal(Topic.CLEARING, 9, 1, 0, b"\7" * 32)
DERATE = Derate(2, up=False, limit_wh=5_000)
SEAT = 1
HEADROOM = b"\1" * 24


class Desk:
    """A seat that is restarted for every word, and what it sent."""

    def __init__(self, world: World, path: Path) -> None:
        self.world, self.path = world, path
        self.view = View()
        self.view.votes.headrooms[CLEARING.period] = HEADROOM

    def say(self, action: Vote | Object) -> tuple[str, dict[str, Any]]:
        """Have an action done by a new process; return the call it sent."""
        market, key = self.world.market, self.world.seats[SEAT]
        journal = Journal(self.path)
        known = {tx.hash for tx in journal.open_transactions()}
        head = Follower(market, journal, 0, 100).look()
        sender = Sender(self.world.chain, key, journal)
        sender.check(head, head.number)
        later = replace(head, at=head.at + 2 * RETRY_S)
        assert Actor(market, SEAT, key, journal, sender).do(action, self.view, later)
        (sent,) = [tx for tx in journal.open_transactions() if tx.hash not in known]
        journal.close()
        data = TypedTransaction.from_bytes(HexBytes(sent.raw)).as_dict()["data"]
        call, values = market.oracle.decode_function_input(HexBytes(data))
        return call.fn_name, values


def test_say__objection__is_said_again_as_it_was_even_if_support_is_due(
    world: World, tmp_path: Path
) -> None:
    desk = Desk(world, tmp_path / "journal.sqlite")
    signature = Objection(CLEARING, *DERATE).sign(world.seats[SEAT], world.market.domain)
    deeper = DERATE._replace(limit_wh=4_000)
    for action in (
        Object(CLEARING, DERATE, "a line"),
        Object(CLEARING, deeper, "more of it"),
        Vote(CLEARING, support=True, reason="within all limits"),
    ):
        name, values = desk.say(action)
        assert (name, values["headroom"]) == ("object", HEADROOM)
        (said,) = values["objections"]
        assert tuple(said.values()) == (SEAT, *DERATE, signature)


def test_say__support__is_said_again_even_if_an_objection_is_due(
    world: World, tmp_path: Path
) -> None:
    desk = Desk(world, tmp_path / "journal.sqlite")
    signature = CLEARING.sign(world.seats[SEAT], world.market.domain, support=True)
    for action in (Vote(CLEARING, support=True, reason=""), Object(CLEARING, DERATE, "a line")):
        name, values = desk.say(action)
        assert name == "vote"
        (said,) = values["votes"]
        assert tuple(said.values()) == (SEAT, True, signature)
