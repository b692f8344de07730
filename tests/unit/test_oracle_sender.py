"""The sender against a real chain: every nonce ends in a block, whatever is lost or too cheap."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from web3.types import TxParams

from market.chain import ChainUnreachable
from market.devnet import rpc
from oracle import fees
from oracle.follower import Head
from oracle.journal import Journal, Transaction
from oracle.sender import RESEND_BLOCKS, Sender
from tests.world import World

GWEI = 10**9
GAS = 100_000


class Desk:
    """One seat that sends."""

    def __init__(self, world: World, path: Path) -> None:
        self.world, self.account = world, world.seats[0]
        self.journal = Journal(path)
        self.sender = Sender(world.chain, self.account, self.journal)

    @property
    def head(self) -> Head:
        block = self.world.chain.w3.eth.get_block("latest")
        hash_, parent = bytes(block["hash"]), bytes(block["parentHash"])
        return Head(block["number"], hash_, parent, block["timestamp"], block.get("baseFeePerGas"))

    @property
    def mined(self) -> int:
        return self.world.chain.w3.eth.get_transaction_count(self.account.address)

    def sign(self, purpose: str) -> Transaction:
        call = self.world.market.token.functions.approve(self.account.address, len(purpose))
        return self.sender.sign(purpose, call, GAS, self.head)

    def send(self, purpose: str) -> Transaction:
        tx = self.sign(purpose)
        self.sender.send(tx, self.head)
        return tx

    def lose(self, monkeypatch: pytest.MonkeyPatch, purpose: str) -> Transaction:
        """Sign something and lose the endpoint just then."""
        tx = self.sign(purpose)
        head = self.head
        monkeypatch.setattr(self.world.chain, "send_raw", self._down)
        with pytest.raises(ChainUnreachable):
            self.sender.send(tx, head)
        monkeypatch.undo()
        return tx

    def _down(self, *_args: object) -> bytes:
        raise ChainUnreachable(self.world.url, "down")

    def mine(self, base_fee_wei: int | None = None) -> None:
        if base_fee_wei is not None:
            rpc(self.world.url, "anvil_setNextBlockBaseFeePerGas", [hex(base_fee_wei)])
        rpc(self.world.url, "evm_mine")

    def check(self) -> None:
        head = self.head
        self.sender.check(head, head.number)

    def terms(self, tx: Transaction) -> TxParams:
        return fees.terms_of(tx.raw, self.world.chain.chain_id)


@pytest.fixture
def desk(world: World, tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(world, tmp_path / "journal.sqlite")
    desk.mine(GWEI)
    yield desk
    rpc(world.url, "evm_setAutomine", [True])
    desk.journal.close()


def test_check__lost_and_too_cheap_by_now__offers_more_and_frees_those_above(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = desk.mined
    lost = desk.lose(monkeypatch, "a")
    desk.mine(30 * GWEI)
    above = desk.send("bb")
    assert (lost.nonce, above.nonce) == (before, before + 1)

    for _ in range(3):
        desk.check()
        desk.mine()

    assert desk.mined == before + 2
    assert desk.journal.open_transactions() == []
    assert desk.journal.transaction_counts() == {"mined": 2, "replaced": 1}


def test_sign__a_nonce_below_was_refused__fills_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = desk.lose(monkeypatch, "a")
    desk.send("bb")
    balance = rpc(desk.world.url, "eth_getBalance", [desk.account.address, "latest"])
    rpc(desk.world.url, "anvil_setBalance", [desk.account.address, "0x0"])
    desk.check()
    assert desk.sender.paused
    rpc(desk.world.url, "anvil_setBalance", [desk.account.address, balance])

    assert desk.send("ccc").nonce == lost.nonce

    desk.mine()
    desk.check()
    assert desk.mined == lost.nonce + 2
    assert desk.journal.open_transactions() == []


def test_check__in_no_block__is_replaced_for_a_higher_fee(desk: Desk) -> None:
    rpc(desk.world.url, "evm_setAutomine", [False])
    cheap = desk.send("a")
    for _ in range(RESEND_BLOCKS):
        assert desk.journal.open_transactions() == [cheap]
        desk.mine(50 * GWEI)
        desk.check()

    both = desk.journal.open_transactions()
    (dear,) = [tx for tx in both if tx != cheap]
    assert (len(both), dear.nonce, dear.purpose) == (2, cheap.nonce, "a")
    old, new = desk.terms(cheap), desk.terms(dear)
    assert fees.offer(new) >= fees.offer(desk.world.chain.fees())
    for key in ("maxFeePerGas", "maxPriorityFeePerGas"):
        assert 8 * int(new[key]) >= 9 * int(old[key])
    assert new["data"] == old["data"]

    desk.mine(50 * GWEI)
    desk.check()
    assert desk.journal.transaction_counts() == {"mined": 1, "replaced": 1}


def test_check__replacement_lost_and_original_mined__resolves_the_nonce_after_a_restart(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    rpc(desk.world.url, "evm_setAutomine", [False])
    cheap = desk.send("a")
    for _ in range(RESEND_BLOCKS):
        desk.mine(50 * GWEI)
    monkeypatch.setattr(desk.world.chain, "send_raw", desk._down)
    with pytest.raises(ChainUnreachable):
        desk.check()
    monkeypatch.undo()
    desk.mine(GWEI)
    desk.world.chain.send_raw(desk.account.address, cheap.raw)
    desk.mine(GWEI)

    desk.sender = Sender(desk.world.chain, desk.account, desk.journal)
    assert desk.sender.holds("a", desk.head.at)
    desk.check()

    assert desk.journal.transaction_counts() == {"mined": 1, "replaced": 1}
    assert desk.sign("bb").nonce == cheap.nonce + 1

    desk.journal.rewind(desk.head.number - 1)
    assert len([tx for tx in desk.journal.open_transactions() if tx.nonce == cheap.nonce]) == 2


def test_check__legacy_gas_price__is_replaced_too(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    price = {"gasPrice": 2 * GWEI}
    monkeypatch.setattr(desk.world.chain, "fees", lambda: price)
    rpc(desk.world.url, "evm_setAutomine", [False])
    desk.send("a")
    price["gasPrice"] = 60 * GWEI
    for _ in range(RESEND_BLOCKS + 1):
        desk.mine(50 * GWEI)
        desk.check()
    assert desk.journal.transaction_counts() == {"mined": 1, "replaced": 1}


def test_check__gas_is_free__the_same_is_sent_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk.world.chain, "fees", lambda: {"gasPrice": 0})
    rpc(desk.world.url, "evm_setAutomine", [False])
    desk.mine(0)
    tx = desk.send("a")
    rpc(desk.world.url, "anvil_dropTransaction", ["0x" + tx.hash.hex()])
    for _ in range(RESEND_BLOCKS + 1):
        desk.mine(0)
        desk.check()
    assert desk.journal.transaction_counts() == {"mined": 1}


def test_check__receipt_comes_after_the_nonce_is_used__is_mined(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to the first sending was lost, and the endpoint is about to store the block."""
    lost, chain = desk.lose(monkeypatch, "a"), desk.world.chain
    chain.wait(chain.send_raw(desk.account.address, lost.raw))
    ask = chain.raw

    def raw(method: str, *params: object) -> object:
        return None if method == "eth_getTransactionReceipt" else ask(method, *params)

    monkeypatch.setattr(chain, "raw", raw)
    desk.check()
    monkeypatch.undo()
    desk.check()
    assert desk.journal.transaction_counts() == {"mined": 1}


def test_check__nonce_used_by_somebody_else__is_given_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = desk.lose(monkeypatch, "a")
    call = desk.world.market.token.functions.approve(desk.account.address, 9)
    desk.world.chain.send(desk.account, call, nonce=lost.nonce)
    desk.check()
    assert desk.journal.transaction_counts() == {"signed": 1}
    for _ in range(RESEND_BLOCKS):
        desk.mine()
    desk.check()
    assert desk.sender.restless
    assert set(desk.journal.transaction_counts()) == {"dropped"}
    assert desk.send("a").nonce == lost.nonce + 1


@pytest.mark.parametrize(
    ("old", "suggested", "new"),
    [
        ({"gasPrice": 80}, {"gasPrice": 80}, {"gasPrice": 90}),
        ({"gasPrice": 80}, {"gasPrice": 95}, {"gasPrice": 95}),
        ({"gasPrice": 1}, {"gasPrice": 1}, {"gasPrice": 2}),
        ({"gasPrice": 0}, {"gasPrice": 0}, None),
        ({"gasPrice": 0}, {"gasPrice": 7}, {"gasPrice": 7}),
        ({"gasPrice": 100}, {"gasPrice": 11}, None),
        (
            {"maxFeePerGas": 81, "maxPriorityFeePerGas": 0},
            {"maxFeePerGas": 60, "maxPriorityFeePerGas": 0},
            {"maxFeePerGas": 92, "maxPriorityFeePerGas": 1},
        ),
    ],
)
def test_replacement__offers_an_eighth_more_and_what_is_suggested(
    old: TxParams, suggested: TxParams, new: TxParams | None
) -> None:
    assert fees.replacement(old, suggested) == new
