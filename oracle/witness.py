"""Reads what others sent to the contracts: votes that contradict each other, and one's own key.

Two different signed votes of one seat in one round are evidence, wherever they were said: in a
call that counted, in one that was refused, or in one that was relayed for somebody else. And what
this node's key says without this node's journal knowing of it, somebody else says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak

from market.deployment import Market
from market.messages import Proposal, Topic
from oracle import log
from oracle.journal import KEPT_BLOCKS, Journal
from oracle.view import View

BLOCKS_AT_ONCE = 8
"""Blocks read for each new one, to catch up after a rest."""

MOST_SIGNATURES = 128
"""Signatures checked of one block; who floods it hides nobody's words but those in the flood."""

_VOTE_TYPES = ("(uint8,uint32,uint16,uint32,bytes32)", "(uint8,bool,bytes)[]")
_VOTE_SELECTOR = keccak(text=f"vote({','.join(_VOTE_TYPES)})")[:4]

Round = tuple[int, int, int, int, int]
"""Topic, period, version, round and seat: where a seat has one word."""


@dataclass(frozen=True, slots=True)
class Word:
    """What a seat has signed.

    Attributes:
        proposal: On what.
        seat: Which seat.
        support: For or against.
        signature: 65 bytes.
    """

    proposal: Proposal
    seat: int
    support: bool
    signature: bytes

    @property
    def round(self) -> Round:
        """Where it is the seat's one word."""
        p = self.proposal
        return int(p.topic), p.period, p.version, p.round, self.seat

    def as_tuple(self) -> tuple[Any, ...]:
        """Return the contract's `SeatVote`."""
        return self.seat, self.support, self.signature


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two words of one seat in one round.

    Attributes:
        first: One of them.
        second: The other one.
        at: Chain time at which the later one was heard.
    """

    first: Word
    second: Word
    at: int


class Witness:
    """Listens to the transactions of followed blocks, a bounded number of them at a time."""

    def __init__(self, market: Market, journal: Journal, seat: int, signer: str) -> None:
        """Go on where the journal has got to.

        Args:
            market: The market.
            journal: The node's journal.
            seat: The node's seat.
            signer: The node's address, lower case.
        """
        self._market, self._journal, self._seat, self._signer = market, journal, seat, signer
        at = market.deployment.addresses
        self._oracle = at["Oracle"].lower()
        self._rooms = {self._oracle, at["Master"].lower()}
        self._found: list[Contradiction] | None = None

    @property
    def listened(self) -> int:
        """Number of the last block that was read, 0 for none."""
        return int(self._journal.about("listened") or 0)

    def listen(self, followed: int, view: View) -> None:
        """Read further blocks.

        Args:
            followed: Last followed block.
            view: What they told.

        Raises:
            ChainUnreachable: If the endpoint does not answer; what was read stays read.
        """
        began = int(self._journal.about("since_block") or 0)
        listened = min(self.listened, followed)
        first = max(listened + 1, began + 1, followed - KEPT_BLOCKS)
        for number in range(first, min(first + BLOCKS_AT_ONCE, followed + 1)):
            block = self._market.chain.raw("eth_getBlockByNumber", hex(number), True)
            if block is None:
                return
            with self._journal.atomic():
                self._read(block, view)
                self._journal.note(listened=number)

    def contradictions(self, since: int) -> list[Contradiction]:
        """Return what can be filed, one for each seat and round.

        Args:
            since: Leave out earlier periods.
        """
        if self._found is None:
            self._found = list(self._contradictions(since))
        return self._found

    def _contradictions(self, since: int) -> Iterator[Contradiction]:
        rows = self._journal.db.execute(
            "SELECT a.topic, a.period, a.version, a.round, a.seat, a.digest, a.support,"
            " a.signature, b.digest, b.support, b.signature, max(a.at, b.at) "
            "FROM heard a JOIN heard b USING (topic, period, version, round, seat) "
            "WHERE (a.digest, a.support) < (b.digest, b.support) AND a.period >= ? "
            "GROUP BY 1, 2, 3, 4, 5",
            (since,),
        )
        for topic, period, version, round_, seat, *words, at in rows:
            first, second = (
                Word(
                    Proposal(Topic(topic), period, version, round_, digest),
                    seat,
                    bool(support),
                    signature,
                )
                for digest, support, signature in (words[:3], words[3:])
            )
            yield Contradiction(first, second, at)

    def _read(self, block: Mapping[str, Any], view: View) -> None:
        left, at = MOST_SIGNATURES, int(block["timestamp"], 16)
        for tx in block["transactions"]:
            to = (tx["to"] or "").lower()
            if to not in self._rooms:
                continue
            if tx["from"].lower() == self._signer:
                hash_ = bytes.fromhex(tx["hash"].removeprefix("0x"))
                if not self._journal.knows_transaction(hash_):
                    self._halt(f"transaction {tx['hash']} in block {int(block['number'], 16)}")
            if to == self._oracle:
                for word in words_in(bytes.fromhex(tx["input"].removeprefix("0x")))[:left]:
                    left -= 1
                    self._hear(word, at, view)

    def _hear(self, word: Word, at: int, view: View) -> None:
        p = word.proposal
        seats = view.seats(p.period) if view.committee_size else []
        if word.seat >= len(seats) or self._is_old_news(word):
            return
        signer = p.voter(word.signature, self._market.domain, support=word.support)
        if signer is None or signer.lower() != seats[word.seat]:
            return
        self._journal.db.execute(
            "INSERT OR IGNORE INTO heard VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*word.round, p.digest, word.support, word.signature, at),
        )
        self._found = None
        if word.seat == self._seat and signer.lower() == self._signer:
            own = self._journal.vote(p)
            if own is None or (own.digest, own.support) != (p.digest, word.support):
                self._halt(f"a vote on {p.topic.name.lower()} {p.period} r{p.round}")

    def _is_old_news(self, word: Word) -> bool:
        """Return whether a word, or enough to convict its seat, has been heard before."""
        known = self._journal.db.execute(
            "SELECT digest, support FROM heard "
            "WHERE (topic, period, version, round, seat) = (?, ?, ?, ?, ?)",
            word.round,
        ).fetchall()
        return len(known) > 1 or (word.proposal.digest, int(word.support)) in known

    def _halt(self, what: str) -> None:
        log.error("key used elsewhere", what=what)
        self._journal.note(halted=what)


def words_in(data: bytes) -> list[Word]:
    """Return the votes in a call's data, none if it is no vote or nonsense."""
    if data[:4] != _VOTE_SELECTOR:
        return []
    try:
        (topic, *rest), votes = decode(_VOTE_TYPES, data[4:])
        proposal = Proposal(Topic(topic), *rest)
    except (DecodingError, ValueError, OverflowError):
        return []
    return [Word(proposal, seat, support, signature) for seat, support, signature in votes]
