"""What tests of single rooms share: refusals by name and value, exact instants, traders, mocks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from eth_abi.abi import decode
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from eth_utils.abi import abi_to_signature, collapse_if_tuple
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from web3.contract import Contract
from web3.contract.contract import ContractConstructor, ContractFunction
from web3.exceptions import ContractCustomError, ContractLogicError, Web3RPCError
from web3.logs import DISCARD
from web3.types import TxParams, TxReceipt, Wei

from market.contracts import ARTIFACTS, artifact
from market.devnet import rpc
from market.messages import Agreement, Order, Step
from market.packing import encode_readings
from market.types import MeterReading, Quality
from tests.world import YUAN, World

MOCKS = Path(__file__).resolve().parents[2] / "artifacts"
FUNDS_UYUAN = 1_000 * YUAN
PLENTY_GAS = 12_000_000
SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


# -- refusals


def refused(
    error: str,
    call: ContractFunction | ContractConstructor,
    sender: LocalAccount | str,
    *values: object,
    value_wei: int = 0,
    gas: int | None = None,
) -> None:
    """Require that a call is refused, as of the latest block, by an error with these values.

    Args:
        error: `Contract.Error`, the contract being the one whose interface declares it.
        call: What is tried; a constructor tries to create its contract.
        sender: Who tries it.
        values: The error's values, in order.
        value_wei: Money sent along.
        gas: Gas to try it with; plenty if not given.
    """
    data = refusal(call, sender, value_wei=value_wei, gas=gas)
    assert data is not None, f"{error} was expected, but the call went through"
    assert named(error, data) == plain(values)


def refusal(
    call: ContractFunction | ContractConstructor,
    sender: LocalAccount | str,
    *,
    value_wei: int = 0,
    gas: int | None = None,
) -> bytes | None:
    """Return the data a call is refused with as of the latest block, None if it goes through."""
    tx: TxParams = {"from": address_of(sender), "value": Wei(value_wei)}
    if gas is not None:
        tx["gas"] = gas
    try:
        call.call(tx) if isinstance(call, ContractFunction) else call.estimate_gas(tx)
    except (ContractLogicError, ContractCustomError, Web3RPCError) as exc:
        data = getattr(exc, "data", None)
        return bytes.fromhex(data[2:]) if isinstance(data, str) else b""
    return None


def named(error: str, data: bytes) -> tuple[Any, ...]:
    """Return the values in revert data that must be of this `Contract.Error`."""
    contract, _, name = error.partition(".")
    found = errors_of(contract)
    assert name in found, f"{contract} declares no error {name}"
    item = found[name]
    assert data[:4] == selector(item), f"{error} was expected, not 0x{data.hex()}"
    return tuple(plain(v) for v in decode([collapse_if_tuple(i) for i in item["inputs"]], data[4:]))


def accepted(call: ContractFunction, sender: LocalAccount | str) -> Any:  # noqa: ANN401
    """Require that a call would go through as of the latest block; return what it returns."""
    return call.call({"from": address_of(sender)})


def address_of(sender: LocalAccount | str) -> ChecksumAddress:
    """Return an account's address."""
    return to_checksum_address(sender) if isinstance(sender, str) else sender.address


def plain(value: object) -> object:
    """Make values comparable: addresses in lower case, sequences as tuples."""
    if isinstance(value, str):
        return value.lower()
    if isinstance(value, bytes | int):
        return value
    if isinstance(value, Mapping):
        return tuple(plain(v) for v in value.values())
    assert isinstance(value, Sequence)
    return tuple(plain(v) for v in value)


@cache
def abi_of(contract: str) -> list[dict[str, Any]]:
    """Return the interface of a shipped contract or a mock."""
    if not (MOCKS / f"{contract}.json").exists():
        return artifact(contract).abi
    abi: list[dict[str, Any]] = _mock(contract)["abi"]
    return abi


@cache
def errors_of(contract: str) -> Mapping[str, dict[str, Any]]:
    """Return the errors of a contract's interface by name."""
    return {item["name"]: item for item in abi_of(contract) if item["type"] == "error"}


def selector(item: dict[str, Any]) -> bytes:
    """Return the four bytes that announce an error."""
    return keccak(text=abi_to_signature(item))[:4]  # type: ignore[arg-type]


def factory(world: World, contract: str) -> type[Contract]:
    """Return what creates further instances of a shipped contract or a mock."""
    w3 = world.chain.w3
    if contract in ARTIFACTS:
        code = artifact(contract)
        return w3.eth.contract(abi=code.abi, bytecode=code.bytecode)
    raw = _mock(contract)
    return w3.eth.contract(abi=raw["abi"], bytecode=raw["bytecode"])


def create(world: World, contract: str, *arguments: object) -> Contract:
    """Create a contract, paid by the stranger."""
    made = factory(world, contract)
    receipt = world.chain.send(world.stranger, made.constructor(*arguments))
    return made(address=receipt["contractAddress"])


@cache
def _mock(contract: str) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads((MOCKS / f"{contract}.json").read_text(encoding="utf-8"))
    return raw


def events(receipt: TxReceipt, contract: Contract, name: str) -> list[Any]:
    """Return the values of a transaction's events of one kind."""
    found = contract.events[name]().process_receipt(receipt, errors=DISCARD)
    return [event["args"] for event in found]


# -- time


def send_at(
    world: World, instant_s: int, sender: LocalAccount, call: ContractFunction
) -> TxReceipt:
    """Send a transaction into a block of exactly this time."""
    rpc(world.url, "evm_setNextBlockTimestamp", [instant_s])
    receipt = world.chain.send(sender, call, gas=PLENTY_GAS)
    assert world.chain.w3.eth.get_block(receipt["blockNumber"])["timestamp"] == instant_s
    return receipt


# -- people


def trading(world: World, nodes: int = 2, *, capacity_wh: int = 1_000_000) -> int:
    """Admit and fund nodes and the grid company; return a period whose prices are fixed."""
    for node in (0, *world.join(nodes, capacity_wh=capacity_wh)):
        world.fund(node, FUNDS_UYUAN)
    period = world.free_period()
    world.warp(world.market.schedule.price_deadline(period))
    return period


def crowd(world: World, count: int) -> None:
    """Admit many prosumers whose accounts hold no native money."""
    first = len(world.members)
    keys = [keccak(text=f"member {first + i}") for i in range(count)]
    world.members += [Account.from_key(key) for key in keys]
    for start in range(first, first + count, 128):
        batch = range(start, min(start + 128, first + count))
        admissions = [
            (world.members[i].address, (i + 1).to_bytes(32, "big"), 0, 3, 1_000_000, 1_000_000)
            for i in batch
        ]
        world.chain.send(world.grid, world.market.registry.functions.admit(admissions))


def offer(period: int, energy_wh: int = 10_000, nonce: int = 0, **changes: Any) -> Agreement:  # noqa: ANN401
    """Return an agreement of nodes 1 and 2 at the planned price."""
    return Agreement(**{**_OFFER, "period": period, "energy_wh": energy_wh,
                        "seller_nonce": nonce, "buyer_nonce": nonce, **changes})  # fmt: skip


_OFFER: dict[str, Any] = {"seller": 1, "buyer": 2, "price_uyuan_per_kwh": 437_900}


def agree_call(world: World, agreement: Agreement) -> ContractFunction:
    """Return the placing of an agreement that both sides have signed."""
    domain = world.market.domain
    return world.market.book.functions.agree(
        agreement.as_tuple(domain),
        agreement.sign(world.owner(agreement.seller), domain),
        agreement.sign(world.owner(agreement.buyer), domain),
    )


# -- orders


def bid(energy_wh: int = 10_000, limit_uyuan_per_kwh: int = 437_900) -> Step:
    """Return a buying step."""
    return Step(False, energy_wh, limit_uyuan_per_kwh)


def ask(energy_wh: int = 10_000, limit_uyuan_per_kwh: int = 437_900) -> Step:
    """Return a selling step."""
    return Step(True, energy_wh, limit_uyuan_per_kwh)


def order(period: int, node: int = 1, *steps: Step, **changes: Any) -> Order:  # noqa: ANN401
    """Return a node's order for one period, a bid unless steps are given."""
    return Order(**{"node": node, "first_period": period, "last_period": period,
                    "steps": steps or (bid(),), **changes})  # fmt: skip


def place_call(
    world: World, period: int, order: Order, signature: bytes | None = None
) -> ContractFunction:
    """Return the placing of an order, signed by its node unless a signature is given."""
    domain = world.market.domain
    if signature is None:
        signature = order.sign(world.owner(order.node), domain)
    return world.market.book.functions.place(period, order.as_tuple(domain), signature)


def batch_call(world: World, period: int, entries: bytes, bucket: int = 0) -> ContractFunction:
    """Return the placing of packed orders."""
    return world.market.book.functions.placeBatch(period, bucket, entries)


def live(world: World, period: int) -> list[int]:
    """Return the nodes with a live order, in the order of acceptance."""
    return list(world.history.book(period).by_node())


def ordering(world: World, nodes: int = 2, *, capacity_wh: int = 1_000_000) -> int:
    """Admit and fund nodes; return a period that takes orders, its prices still unknown."""
    for node in world.join(nodes, capacity_wh=capacity_wh):
        world.fund(node, FUNDS_UYUAN)
    return world.free_period()


# -- meters and settlements


def measured(node: int, export_wh: int = 0, import_wh: int = 0) -> MeterReading:
    """Return a meter's word."""
    return MeterReading(node, Quality.MEASURED, export_wh, import_wh)


def substituted(node: int, export_wh: int = 0, import_wh: int = 0) -> MeterReading:
    """Return a silent meter's profile."""
    return MeterReading(node, Quality.SUBSTITUTED, export_wh, import_wh)


def cleared(world: World, period: int) -> None:
    """Clear a period at its gate."""
    world.warp(world.market.schedule.gate(period))
    world.keeper.clear(period)


def settled(world: World, period: int, *readings: MeterReading) -> None:
    """Clear a period, fix its report and settle it."""
    cleared(world, period)
    world.warp(world.market.schedule.close(period))
    world.report(period, readings)
    assert world.keeper.settle(period)


def bucket(*readings: MeterReading) -> bytes:
    """Pack readings of one bucket."""
    return encode_readings(readings)


# -- signatures


def malleable(signature: bytes) -> bytes:
    """Return the other signature, with a high s, that recovers to the same signer."""
    s = SECP256K1_ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([27 + 28 - signature[64]])
