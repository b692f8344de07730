"""The one JSON-RPC endpoint: what it sends, and how it says why something failed."""

from __future__ import annotations

import socket

import pytest
from eth_account import Account
from eth_utils.crypto import keccak
from web3.types import TxReceipt

from market.chain import (
    TX_GAS_LIMIT,
    Chain,
    ChainError,
    ChainUnreachable,
    OutOfFunds,
    Reverted,
)
from market.clear_calls import clear_call
from market.contracts import decode_error
from market.devnet import Anvil, rpc
from tests.unit.contracts.support import trading
from tests.world import World


def unused_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_chain__nobody_there__names_the_endpoint_and_what_to_check() -> None:
    url = f"http://127.0.0.1:{unused_port()}"
    chain = Chain(url, timeout_s=2)
    for read in (chain.identity, chain.now, chain.block_number):
        with pytest.raises(ChainUnreachable, match="is the node running") as caught:
            read()
        assert url in str(caught.value)


def test_send__refused__names_call_error_and_values(world: World) -> None:
    call = world.market.registry.functions.suspend(7, "why")
    with pytest.raises(Reverted) as caught:
        world.chain.send(world.grid, call)
    assert (caught.value.error, caught.value.arguments) == ("UnknownNode", (7,))
    assert str(caught.value) == "suspend was refused: UnknownNode(7)"


def test_read__refused__names_call_error_and_values(world: World) -> None:
    with pytest.raises(Reverted, match=r"nodeOf was refused: UnknownNode\(7\)"):
        world.chain.read(world.market.registry.functions.nodeOf(7))


def test_send__failed_in_its_block__is_explained(world: World) -> None:
    call = world.market.registry.functions.suspend(7, "why")
    with pytest.raises(Reverted) as caught:
        world.chain.send(world.grid, call, gas=200_000)  # not estimated, so it is sent
    assert (caught.value.error, caught.value.arguments) == ("UnknownNode", (7,))


def test_send__out_of_gas_in_its_block__is_said_not_to_be_refused(world: World) -> None:
    period = trading(world)
    world.warp(world.market.schedule.gate(period))
    call = clear_call(world.market, world.history, period)
    with pytest.raises(Reverted) as caught:
        world.chain.send(world.stranger, call, gas=40_000)
    assert caught.value.error == "OutOfGasOrRaced"
    assert not world.history.state(period).cleared


def test_why_reverted__state_of_its_block_is_forgotten__says_so() -> None:
    """A node that was away for long asks for what most endpoints do not know any more."""
    with Anvil(options=("--prune-history", "1")) as anvil:
        chain, sender = Chain(anvil.url), rpc(anvil.url, "eth_accounts")[0]

        def send(**fields: str) -> TxReceipt:
            tx = {"from": sender, "gas": hex(100_000), **fields}
            return chain.wait(bytes.fromhex(rpc(anvil.url, "eth_sendTransaction", [tx])[2:]))

        # Its code is `revert(0, 0)`.
        refusing = send(data="0x6460006000fd6000526005601bf3")["contractAddress"]
        receipt = send(to=str(refusing))
        assert receipt["status"] == 0
        rpc(anvil.url, "anvil_mine", [hex(8)])

        reason = chain.why_reverted(bytes(receipt["transactionHash"]))

    assert reason.error == "ReasonUnknown"
    assert "OutOfRange" in str(reason)


def test_send__above_the_gas_limit_of_a_transaction__is_a_chain_error(world: World) -> None:
    call = world.market.registry.functions.pause()
    with pytest.raises(ChainError):
        world.chain.send(world.grid, call, gas=TX_GAS_LIMIT + 1)


def test_send__without_money__names_the_account(world: World) -> None:
    pauper = Account.from_key(keccak(text="pauper"))
    call = world.market.vault.functions.collect(1, 1)
    with pytest.raises(OutOfFunds, match=pauper.address):
        world.chain.send(pauper, call, gas=100_000)


def test_send__with_a_used_nonce__is_a_chain_error(world: World) -> None:
    call = world.market.vault.functions.deposit(0, 0)
    with pytest.raises(ChainError, match="nonce"):
        world.chain.send(world.deployer, call, nonce=0)


def test_send__native_money__arrives(world: World) -> None:
    # `query` takes money, but from contracts only: the value must reach the check.
    call = world.market.oracle.functions.query(bytes(32), 1, 2, 50_000)
    with pytest.raises(Reverted) as caught:
        world.chain.send(world.stranger, call, value_wei=1)
    assert caught.value.error == "NotAContract"


def test_submit__several_at_once__come_in_the_order_of_their_nonces(world: World) -> None:
    registry, first = world.market.registry.functions, world.chain.nonce(world.grid.address)
    calls = [registry.pause(), registry.unpause(), registry.pause()]
    hashes = [
        world.chain.submit(world.grid, call, gas=100_000, nonce=first + i)
        for i, call in enumerate(calls)
    ]
    assert [world.chain.wait(tx_hash)["status"] for tx_hash in hashes] == [1, 1, 1]
    assert world.chain.read(registry.paused())
    assert world.chain.nonce(world.grid.address) == first + 3


def test_wait__transaction_in_no_block__gives_up_with_advice(world: World) -> None:
    with pytest.raises(ChainError, match="is in no block"):
        world.chain.wait(b"\1" * 32, timeout_s=0.1)


def test_send__chain_without_base_fee_or_gas_price__works_with_empty_pockets() -> None:
    pauper = Account.from_key(keccak(text="pauper"))
    with Anvil(options=("--hardfork", "berlin", "--gas-price", "0")) as anvil:
        free = Chain(anvil.url)
        assert free.fees() == {"gasPrice": 0}
        # The contracts need a younger chain; what counts is that a transaction gets into a block.
        call = free.contract("Vault", pauper.address).functions.collect(1, 1)
        receipt = free.send(pauper, call)
        assert (receipt["status"], receipt["effectiveGasPrice"]) == (1, 0)


def test_events__filtered_by_indexed_argument__are_those_in_order(world: World) -> None:
    world.join(3)
    registry, chain = world.market.registry, world.chain
    for node in (2, 1, 2):
        chain.send(world.grid, registry.functions.suspend(node, f"case {node}"))
    start = world.market.deployment.deployment_block
    everything = chain.events(registry, "Suspended", from_block=start)
    assert [e["args"]["node"] for e in everything] == [2, 1, 2]
    found = chain.events(registry, "Suspended", from_block=start, node=2)
    assert [e["args"]["reason"] for e in found] == ["case 2", "case 2"]
    until = everything[0]["blockNumber"]
    assert len(chain.events(registry, "Suspended", from_block=start, to_block=until)) == 1


def test_identity__of_a_reset_chain__differs_in_its_genesis() -> None:
    with Anvil(genesis_timestamp=1_800_000_000) as one:
        before = Chain(one.url).identity()
    with Anvil(genesis_timestamp=1_800_000_001) as two:
        after = Chain(two.url).identity()
    assert before.chain_id == after.chain_id
    assert before.genesis_hash != after.genesis_hash


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", ("Refused", ("without a reason",))),
        (b"\x12\x34\x56\x78", ("UnknownError", ("0x12345678",))),
        (keccak(text="Panic(uint256)")[:4] + (17).to_bytes(32, "big"), ("Panic", (17,))),
        (keccak(text="UnknownNode(uint32)")[:4], ("UnknownNode", ("0x",))),
    ],
    ids=["nothing", "unknown", "panic", "cut off"],
)
def test_decode_error__whatever_comes__names_it(
    data: bytes, expected: tuple[str, tuple[object, ...]]
) -> None:
    name, values = decode_error(data)
    assert (name, tuple(values)) == expected


def test_now__after_a_warp__is_the_chains_time(world: World) -> None:
    instant = world.now() + 12_345
    world.warp(instant)
    assert world.chain.now() == instant
