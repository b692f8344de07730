"""Follows the chain's logs: from a persisted cursor, behind confirmations, through reorgs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode
from eth_utils.abi import collapse_if_tuple, event_abi_to_log_topic

from market.chain import TX_GAS_LIMIT, ChainError, ChainUnreachable
from market.contracts import artifact
from market.deployment import Market, verify
from oracle import alarms, log
from oracle.journal import Event, Journal
from oracle.queries import QUERY_EVENTS, QueryBook
from oracle.view import FOLLOWED, MOST_PERIODS, MissingEvent, View

CONTRACTS = ("Registry", "Oracle", "Grid", "Master")
"""The contracts that tell what a node lives on."""

SHORTEST_REWIND = 64
"""Blocks that are read again when an event turns out to be missing; doubled until it is found."""


class EndpointLags(ChainError):
    """The endpoint has not got blocks, or events in them, that it told of before."""


@dataclass(frozen=True, slots=True)
class Head:
    """A block's header.

    Attributes:
        number: Its number.
        hash: Its hash.
        parent: Its parent's hash.
        at: Its time, Unix seconds; the latest block's is the only clock.
        base_fee_wei: Its base fee, None on a chain without EIP-1559.
        gas_limit: Most gas of all its transactions.
    """

    number: int
    hash: bytes
    parent: bytes
    at: int
    base_fee_wei: int | None
    gas_limit: int = TX_GAS_LIMIT


class Follower:
    """Keeps a journal and a view in step with one market's chain."""

    def __init__(
        self, market: Market, journal: Journal, confirmations: int, chunk_blocks: int
    ) -> None:
        """Take up from the journal's cursor.

        Args:
            market: The market.
            journal: Where events and cursor are kept.
            confirmations: Blocks that must stand on a block before it is followed.
            chunk_blocks: Most blocks asked for logs at once.
        """
        self._chain = market.chain
        self._journal = journal
        self._confirmations = confirmations
        self._chunk_blocks = chunk_blocks
        self._deployment = market.deployment
        self._birth = market.deployment.deployment_block
        self._addresses = [market.deployment.addresses[name] for name in CONTRACTS]
        self._kinds = _kinds()
        self._head: Head | None = None
        self._rewind_blocks = SHORTEST_REWIND
        self.view, self.queries = View(), QueryBook(journal)
        self._replay()

    @property
    def followed(self) -> int:
        """Number of the last followed block."""
        cursor = self._journal.cursor()
        return self._birth if cursor is None else cursor[0]

    def look(self) -> Head:
        """Return the latest block's header."""
        head = self._header("latest")
        assert head is not None
        return head

    def sync(self, head: Head) -> None:
        """Follow the chain up to a head, less the confirmations.

        Raises:
            ChainUnreachable: If the endpoint does not answer; what was followed stays followed.
            EndpointLags: If it keeps something back; try again.
            WrongChain: If the chain was reset.
            DeploymentError: If the market is gone from it.
        """
        target = head.number - self._confirmations
        self._rewind_if_reorganised(head)
        first = self.followed + 1
        while first <= target:
            last = min(first + self._chunk_blocks - 1, target)
            end = head if last == head.number else self._header(last)
            if end is None:
                return  # reorganised meanwhile; the next look tells
            try:
                events, blocks = self._events(first, end)
            except (ChainUnreachable, EndpointLags):
                raise
            except ChainError as exc:
                if first == last:
                    raise
                self._chunk_blocks = max(1, (last - first + 1) // 2)
                log.info("fewer blocks at once", blocks=self._chunk_blocks, problem=exc)
                continue
            blocks[last] = end.hash
            if not self._is_canonical(last, end.hash):
                raise EndpointLags(f"block {last} is gone again; is the endpoint in step?")
            told = [event for event in events if event.name not in QUERY_EVENTS]
            with self._journal.atomic():
                self._journal.extend(told, blocks)
                self.queries.take(event for event in events if event.name in QUERY_EVENTS)
            try:
                self.view.apply(told)
            except MissingEvent as exc:
                read_all_again = self._rewind_blocks // 2 >= max(SHORTEST_REWIND, exc.block)
                self._go_back(exc)
                self._replay()
                if read_all_again:
                    raise EndpointLags(f"{exc}; use an endpoint that has all events") from exc
                first = self.followed + 1
                continue
            for event in events:
                alarms.tell(event)
            first = last + 1
        self._rewind_blocks = SHORTEST_REWIND

    def _replay(self) -> None:
        """Make the view anew of what the journal has."""
        while True:
            floor = self._journal.floor()
            self.view = View(floor)
            try:
                self.view.apply(self._journal.events(max(0, floor - MOST_PERIODS)))
            except MissingEvent as exc:
                self._go_back(exc)
            else:
                self.view.forget(floor)
                self.queries = QueryBook(self._journal)
                return

    def _go_back(self, missing: MissingEvent) -> None:
        """Forget the latest blocks, for an endpoint that lagged has told of them incompletely."""
        target = missing.block - self._rewind_blocks
        self._rewind_blocks *= 2
        known = (number for number, _ in self._journal.known_blocks() if number <= target)
        back_to = next(known, self._birth)
        log.warning("events are missing", problem=missing, back_to=back_to)
        self._journal.rewind(back_to)

    def _rewind_if_reorganised(self, head: Head) -> None:
        cursor = self._journal.cursor()
        if cursor is None:
            return
        number, hash_ = cursor
        if (head.number, head.hash) == cursor or (head.number, head.parent) == (number + 1, hash_):
            return
        if self._is_canonical(number, hash_):
            return
        ancestor = self._common_ancestor()
        log.warning("reorganised", blocks=number - ancestor, back_to=ancestor)
        self._journal.rewind(ancestor)
        self._replay()

    def _common_ancestor(self) -> int:
        for known, known_hash in self._journal.known_blocks():
            if self._is_canonical(known, known_hash):
                return known
        # So much is gone that it may be another chain, or this one after a reset.
        verify(self._chain, self._deployment)
        return self._birth

    def _is_canonical(self, number: int, hash_: bytes) -> bool:
        header = self._header(number)
        return header is not None and header.hash == hash_

    def _header(self, number: int | str) -> Head | None:
        tag = hex(number) if isinstance(number, int) else number
        raw = self._chain.raw("eth_getBlockByNumber", tag, False)
        if raw is None:
            return None
        base_fee = raw.get("baseFeePerGas")
        return Head(
            number=int(raw["number"], 16),
            hash=_bytes(raw["hash"]),
            parent=_bytes(raw["parentHash"]),
            at=int(raw["timestamp"], 16),
            base_fee_wei=None if base_fee is None else int(base_fee, 16),
            gas_limit=int(raw["gasLimit"], 16),
        )

    def _events(self, first: int, last: Head) -> tuple[list[Event], dict[int, bytes]]:
        """Return the events of a range of blocks, and the hashes of the blocks they are in."""
        where = {"fromBlock": hex(first), "toBlock": hex(last.number)}
        if first == last.number:
            # Asked for a hash, an endpoint that has not got the block says so.
            where = {"blockHash": "0x" + last.hash.hex()}
        logs = self._chain.raw(
            "eth_getLogs",
            {
                **where,
                "address": self._addresses,
                "topics": [["0x" + topic.hex() for topic in self._kinds]],
            },
        )
        blocks: dict[int, bytes] = {}
        times: dict[int, int] = {}
        events = []
        for entry in logs:
            number = int(entry["blockNumber"], 16)
            blocks[number] = _bytes(entry["blockHash"])
            if number not in times:
                times[number] = self._time(entry, number)
            kind = self._kinds[_bytes(entry["topics"][0])]
            position = int(entry["logIndex"], 16)
            events.append(Event(number, position, kind.name, times[number], kind.decode(entry)))
        events.sort(key=lambda event: (event.block, event.position))
        return events, blocks

    def _time(self, entry: Mapping[str, Any], number: int) -> int:
        stated = entry.get("blockTimestamp")
        if stated is not None:
            return int(stated, 16)
        header = self._header(number)
        if header is None:
            raise EndpointLags(f"the endpoint has events of block {number}, but not the block")
        return header.at


@dataclass(frozen=True, slots=True)
class _Kind:
    """How to decode one kind of event."""

    name: str
    indexed: Sequence[tuple[str, str]]
    plain: Sequence[tuple[str, str]]

    def decode(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        args = {
            name: decode([type_], _bytes(topic))[0]
            for (name, type_), topic in zip(self.indexed, entry["topics"][1:], strict=True)
        }
        values = decode([type_ for _, type_ in self.plain], _bytes(entry["data"]))
        return args | {name: value for (name, _), value in zip(self.plain, values, strict=True)}


def _kinds() -> dict[bytes, _Kind]:
    kinds = {}
    for contract in CONTRACTS:
        for item in artifact(contract).abi:
            if item["type"] == "event" and item["name"] in (*FOLLOWED, *QUERY_EVENTS):
                inputs = [(i["name"], collapse_if_tuple(i), i["indexed"]) for i in item["inputs"]]
                kinds[bytes(event_abi_to_log_topic(item))] = _Kind(  # type: ignore[arg-type]
                    item["name"],
                    [(name, type_) for name, type_, indexed in inputs if indexed],
                    [(name, type_) for name, type_, indexed in inputs if not indexed],
                )
    return kinds


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
