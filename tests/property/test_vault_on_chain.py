"""The vault alone: whatever the book and the master ask of it, it moves what the ledger moves.

The real registry, token and vault, and one account that is grid company, book, master and every
member at once. So settlements may follow each other in ways that no market lets through: periods
interleaved and cut anywhere, debts older than locks, claims older than deposits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from eth_abi.abi import decode, encode
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from market.contracts import decode_error
from market.devnet import Anvil
from market.ledger import (
    WINDOW_PERIODS,
    InDebtError,
    InsufficientFundsError,
    Ledger,
    Outcome,
)
from market.settlement import Transfer
from market.types import GRID_COMPANY, MAX_SUPPLY_UYUAN
from tests.bare_chain import CallRefused, Chain, method_of, with_arguments
from tests.rooms import Moved, pack_transfers

EXAMPLES = max(1, int(os.environ.get("SUBGRID_EXAMPLES", "1500")) // 5)
"""Vaults that are tried; a nightly run asks for more."""
STEPS = 25

MEMBERS = (1, 2, 3)
ACCOUNTS = (GRID_COMPANY, *MEMBERS)
PERIODS = (7, 8, 9)
NOBODY = -1

Move = tuple[int, int, bool, bool]
"""Node, net in micro-yuan, whether its meter is unread, and whether it was before."""

members = st.sampled_from(MEMBERS)
periods = st.sampled_from(PERIODS)
# The window reaches the last of these from the start, and only after a while the one behind it.
order_periods = st.sampled_from((*PERIODS, 95, 96))
# Small amounts meet each other exactly. Large ones, within the supply, end such meetings.
small = st.integers(1, 12)
amounts_uyuan = st.one_of(*[small] * 15, st.integers(1, MAX_SUPPLY_UYUAN >> 6))
credits_uyuan = st.integers(0, 12)
nets_uyuan = st.one_of(*[st.integers(-20, 20)] * 30, st.integers(-(2**67) + 1, 2**67 - 1))


def _moves(nets_uyuan: st.SearchStrategy[int], fewest: int) -> st.SearchStrategy[list[Move]]:
    move = st.tuples(members, nets_uyuan, st.booleans(), st.booleans())
    count = len(MEMBERS)
    return st.lists(move, min_size=fewest, max_size=count, unique_by=lambda move: move[0])


some_moves = _moves(nets_uyuan, 0)
# Many credits at once, while the grid company is dry, let claims queue up.
many_moves = _moves(nets_uyuan, len(MEMBERS)) | _moves(credits_uyuan, 2)
per_account = st.fixed_dictionaries(
    {GRID_COMPANY: st.sampled_from((0, 9, 999)), **{node: st.integers(0, 12) for node in MEMBERS}}
)
per_lock = st.fixed_dictionaries(
    {(period, node): st.integers(0, 5) for period in PERIODS for node in MEMBERS}
)

Words = dict[str, int]
"""What a vault, or the ledger, says: amounts in micro-yuan by their names."""

Refusal = tuple[str, Sequence[object]]
"""An error's name and its values."""


class Room(Chain):
    """A vault between a real registry and token; everybody it listens to is one account."""

    def __init__(self, url: str) -> None:
        """Deploy on a fresh chain, and hand out all tokens there can be."""
        super().__init__(url)
        me = self.sender
        registry = self.deploy(with_arguments("Registry", [me]))
        token = self.deploy(with_arguments("SettlementToken", [registry]))
        self.vault = self.deploy(with_arguments("Vault", [token, registry, me, me]))
        admissions = [(me, node.to_bytes(32, "big"), 0, 1, 0, 0) for node in MEMBERS]
        self.send(registry, _calldata("Registry", "admit", admissions))
        self.send(token, _calldata("SettlementToken", "recharge", me, MAX_SUPPLY_UYUAN, ""))
        self.send(token, _calldata("SettlementToken", "approve", self.vault, MAX_SUPPLY_UYUAN))
        self._asked = {
            "tokens": (token, _calldata("SettlementToken", "balanceOf", self.vault)),
            "arose, funded, collected": self._about("claimTotals"),
            **{f"{period} transit": self._about("transitOf", period) for period in PERIODS},
        }
        for node in ACCOUNTS:
            self._asked[f"{node} free, {node} locked, {node} debt"] = self._about("accountOf", node)
            self._asked[f"{node} owes"] = self._about("debtOf", node)
            self._asked[f"{node} claims"] = self._about("claimsOf", node)
            for period in PERIODS:
                self._asked[f"{period} {node} held"] = self._about("heldOf", period, node)
                self._asked[f"{period} {node} live"] = self._about("isLive", period, node)
        self.keep()

    def ask(self, method: str, *arguments: object) -> None:
        """Have the vault do something that it must not refuse."""
        self.send(self.vault, _calldata("Vault", method, *arguments))

    def answer(self, method: str, *arguments: object) -> bytes:
        """Return what the vault would answer to something, in bytes."""
        raw = self.call(self.vault, _calldata("Vault", method, *arguments))
        answer: bytes = decode(["bytes"], raw)[0]
        return answer

    def refusal(self, method: str, *arguments: object) -> Refusal:
        """Return why the vault refuses something that it must refuse."""
        with pytest.raises(CallRefused) as refused:
            self.call(self.vault, _calldata("Vault", method, *arguments))
        return decode_error(refused.value.data)

    def require_margin(self, margin_uyuan: int) -> None:
        """Let the master answer every question with a margin."""
        push, give_back = "7f", "5f5260205ff3"  # PUSH32; MSTORE at 0 and RETURN 32 bytes
        code = f"0x{push}{margin_uyuan:064x}{give_back}"
        self.rpc("anvil_setCode", self.sender, code)

    def words(self) -> Words:
        """Return everything the vault says, and the tokens it has."""
        words = {}
        answers = self.calls(list(self._asked.values()))
        for names, answer in zip(self._asked, answers, strict=True):
            for i, name in enumerate(names.split(", ")):
                words[name] = int.from_bytes(answer[32 * i : 32 * i + 32], "big")
        return words

    def _about(self, method: str, *arguments: object) -> tuple[str, bytes]:
        return self.vault, _calldata("Vault", method, *arguments)


class Till(RuleBasedStateMachine):
    """A vault and the ledger, asked for the same."""

    room: Room

    def __init__(self) -> None:
        """Open both empty."""
        super().__init__()
        self.room.reset()
        self.ledger = Ledger()
        self.open_period = 0

    @initialize(funds_uyuan=per_account, locks_uyuan=per_lock)
    def open(
        self, funds_uyuan: Mapping[int, int], locks_uyuan: Mapping[tuple[int, int], int]
    ) -> None:
        """Give the accounts a little, and let locks of several periods take from it."""
        for node, amount_uyuan in funds_uyuan.items():
            if amount_uyuan:
                self.deposit(node, amount_uyuan)
        for (period, node), amount_uyuan in locks_uyuan.items():
            if 0 < amount_uyuan <= self.ledger.account(node).free_uyuan:
                self.lock(period, node, amount_uyuan)

    @rule(node=st.just(GRID_COMPANY) | members, amount_uyuan=amounts_uyuan)
    def deposit(self, node: int, amount_uyuan: int) -> None:
        """Bring tokens in."""
        self.ledger.deposit(node, amount_uyuan)
        self.room.ask("deposit", node, amount_uyuan)

    @rule(
        node=st.sampled_from(ACCOUNTS),
        amount_uyuan=amounts_uyuan,
        margin_uyuan=st.sampled_from((0, 1, 3, 999)),
    )
    def withdraw(self, node: int, amount_uyuan: int, margin_uyuan: int) -> None:
        """Take tokens out, all but a margin; the grid company needs none."""
        self.room.require_margin(margin_uyuan)
        margin_uyuan = 0 if node == GRID_COMPANY else margin_uyuan
        free_uyuan = self.ledger.account(node).free_uyuan
        try:
            self.ledger.withdraw(node, amount_uyuan, margin_uyuan)
        except InsufficientFundsError:
            why: Refusal = ("InsufficientFree", (node, amount_uyuan, free_uyuan))
            if amount_uyuan <= free_uyuan:
                why = ("MarginRequired", (node, amount_uyuan, free_uyuan, margin_uyuan))
            assert self.room.refusal("withdraw", node, amount_uyuan) == why
        else:
            self.room.ask("withdraw", node, amount_uyuan)

    @rule(period=periods, node=members, amount_uyuan=amounts_uyuan)
    def lock(self, period: int, node: int, amount_uyuan: int) -> None:
        """Lock more behind a position."""
        account = self.ledger.account(node)
        lock_uyuan = self.ledger.locks.get((period, node), 0) + amount_uyuan
        try:
            self.ledger.lock(period, node, lock_uyuan)
        except InDebtError:
            why: Refusal = ("InDebt", (node, account.debt_uyuan))
            assert self.room.refusal("lock", node, amount_uyuan) == why
        except InsufficientFundsError:
            why = ("InsufficientFree", (node, amount_uyuan, account.free_uyuan))
            assert self.room.refusal("lock", node, amount_uyuan) == why
        else:
            self.room.ask("lock", node, amount_uyuan)

    @rule(
        period=order_periods,
        later=st.sampled_from((0, 0, 0, 1, 2)),
        entries=st.lists(st.tuples(members, amounts_uyuan), max_size=4),
    )
    def enter(self, period: int, later: int, entries: Sequence[tuple[int, int]]) -> None:
        """Let a batch of orders in, gates having closed meanwhile or not."""
        self.open_period += later
        packed = b"".join(n.to_bytes(4, "big") + uyuan.to_bytes(8, "big") for n, uyuan in entries)
        if not 0 <= period - self.open_period < WINDOW_PERIODS:
            why: Refusal = ("OutsideWindow", (period, self.open_period))
            assert self.room.refusal("enter", period, self.open_period, packed) == why
            return
        asked = period, self.open_period, packed
        told = self.room.answer("enter", *asked)
        outcomes = [self.ledger.enter(period, self.open_period, *entry) for entry in entries]
        assert [Outcome(byte) for byte in told] == outcomes
        self.room.ask("enter", *asked)

    @precondition(lambda self: self.ledger.orders)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """Cancel an order whose gate is open; what has left cannot leave again."""
        period, node = data.draw(st.sampled_from(sorted(self.ledger.orders)))
        asked = period, self.open_period, node
        amount_uyuan = self.ledger.orders[period, node]
        if period < self.open_period:
            why: Refusal = ("OutsideWindow", (period, self.open_period))
            assert self.room.refusal("leave", *asked, amount_uyuan) == why
            return
        self.ledger.leave(*asked)
        self.room.ask("leave", *asked, amount_uyuan)
        assert self.room.refusal("leave", *asked, amount_uyuan) == ("NotLive", (node, period))

    @rule(period=periods, moves=some_moves, last=st.booleans())
    def settle(self, period: int, moves: Sequence[Move], last: bool) -> None:
        """Settle a part of a period, or what is left of it."""
        moved = []
        for node, net_uyuan, flagged, was_flagged in moves:
            key = period, node
            release_uyuan = self.ledger.period_lock_uyuan(period, node)
            transfer = Transfer(node, net_uyuan, release_uyuan, flagged)
            # A flagged node may have had nothing to hold.
            moved.append(Moved(transfer, was_flagged or key in self.ledger.holds))
        self.ledger.apply(period, [move.transfer for move in moved], last=last)
        self.room.ask("settle", period, pack_transfers(moved), last)

    @rule(period=periods, moves=many_moves, last=st.booleans())
    def settle_many(self, period: int, moves: Sequence[Move], last: bool) -> None:
        """Settle a part in which debits and credits meet."""
        self.settle(period, moves, last)

    @precondition(lambda self: any(map(self.ledger.claims_uyuan, MEMBERS)))
    @rule(node=members, most=st.sampled_from((1, 1, 2, 3, 0)))
    def collect(self, node: int, most: int) -> None:
        """Turn some funded claims into free balance; the grid company has none."""
        claims = self.ledger.claims
        uncollected = [c for c in claims if c.node == node and c.collected_uyuan < c.amount_uyuan]
        # The ledger collects all it sees, so it must not see those beyond `most`.
        for claim in uncollected[most:]:
            claim.node = NOBODY
        self.ledger.collect(node)
        for claim in uncollected[most:]:
            claim.node = node
        self.room.ask("collect", node, most)

    @invariant()
    def vault_says_what_the_ledger_says(self) -> None:
        """Compare the two account by account, and the books with the tokens."""
        said = self.room.words()
        assert said == _said_by(self.ledger)
        own = sum(said[f"{node} free"] + said[f"{node} locked"] for node in ACCOUNTS)
        transit = sum(said[f"{period} transit"] for period in PERIODS)
        assert said["tokens"] == own + transit + said["funded"] - said["collected"]
        assert said["tokens"] == self.ledger.backing_uyuan()


def _said_by(ledger: Ledger) -> Words:
    claims = ledger.claims
    words = {
        "tokens": ledger.token_balance_uyuan,
        "arose": sum(claim.amount_uyuan for claim in claims),
        "funded": sum(claim.funded_uyuan for claim in claims),
        "collected": sum(claim.collected_uyuan for claim in claims),
    }
    for period in PERIODS:
        words[f"{period} transit"] = ledger.transits.get(period, 0)
    for node in ACCOUNTS:
        account = ledger.account(node)
        words[f"{node} free"] = account.free_uyuan
        words[f"{node} locked"] = account.locked_uyuan
        words[f"{node} debt"] = words[f"{node} owes"] = account.debt_uyuan
        words[f"{node} claims"] = ledger.claims_uyuan(node)
        for period in PERIODS:
            words[f"{period} {node} held"] = ledger.holds.get((period, node), 0)
            words[f"{period} {node} live"] = period in ledger.live.get(node, ())
    return words


def _calldata(contract: str, method: str, *arguments: Any) -> bytes:  # noqa: ANN401
    selector, inputs, _ = method_of(contract, method)
    return selector + encode(inputs, arguments)


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    with Anvil() as anvil:
        yield Room(anvil.url)


@pytest.mark.timeout(300 + EXAMPLES)
def test_any_sequence__on_chain__moves_what_the_ledger_moves(room: Room) -> None:
    machine = type("Till", (Till,), {"room": room})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=EXAMPLES, stateful_step_count=STEPS)
    )
