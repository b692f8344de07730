"""Deploying a market: once, after any interruption, and never on top of something else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak
from web3.types import TxReceipt

from market.chain import Chain, WrongChain
from market.contracts import NAMES, artifact
from market.deployment import (
    DEFAULT_ADMIN_ROLE,
    ROLES,
    Deployment,
    DeploymentError,
    Market,
    Terms,
    deploy,
)
from market.devnet import Anvil, rpc
from tests.world import EPOCH_S, LIMITS, PENG, YUAN, account, default_schedule

DEPLOYER, GRID = account(0), account(1)
TERMS = Terms(
    grid_company=GRID.address,
    seats=tuple(account(10 + seat).address for seat in range(4)),
    schedule=default_schedule(),
    limits=LIMITS,
    benchmark=PENG,
)


class Crash(BaseException):
    """Stands for a process that ends, as Ctrl-C does: nothing in between may catch it."""


class CrashingChain(Chain):
    """A connection whose process ends once a transaction is in a block, before anyone hears."""

    def __init__(self, url: str, after: int) -> None:
        """End after this many transactions."""
        super().__init__(url)
        self._left = after

    def send(self, *args: Any, **kwargs: Any) -> TxReceipt:  # noqa: ANN401
        receipt = super().send(*args, **kwargs)
        self._left -= 1
        if self._left == 0:
            raise Crash
        return receipt


@pytest.fixture(scope="module")
def anvil() -> Iterator[Anvil]:
    """One chain for all tests here."""
    with Anvil(genesis_timestamp=EPOCH_S) as anvil:
        yield anvil


@pytest.fixture
def chain(anvil: Anvil) -> Iterator[Chain]:
    """The chain as it was in the beginning."""
    snapshot = rpc(anvil.url, "evm_snapshot")
    yield Chain(anvil.url)
    rpc(anvil.url, "evm_revert", [snapshot])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the deployment file goes."""
    return tmp_path / "folder" / "deployment.json"


def crash_before(name: str) -> Callable[[str], None]:
    """Return a progress that ends the process before a contract is deployed."""

    def progress(line: str) -> None:
        if line == f"deploying {name}":
            raise Crash

    return progress


def rewrite(path: Path, **changes: object) -> None:
    """Change a deployment file."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**raw, **changes}), encoding="utf-8")


# -- once


def test_deploy__on_a_fresh_chain__stands_where_planned_and_works(chain: Chain, path: Path) -> None:
    lines: list[str] = []
    market = deploy(chain, DEPLOYER, TERMS, path, lines.append)
    assert lines[: len(NAMES)] == [f"deploying {name}" for name in NAMES]
    assert market.schedule == TERMS.schedule
    assert chain.read(market.oracle.functions.seatsOf(1)) == list(TERMS.seats)
    record = Deployment.load(path)
    assert (record.complete, record.start_nonce) == (True, 0)
    assert bytes.fromhex(record.market[2:]) == chain.read(market.registry.functions.market())
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # no draft left


def test_deploy__again__verifies_and_sends_nothing(chain: Chain, path: Path) -> None:
    first = deploy(chain, DEPLOYER, TERMS, path)
    block, text = chain.block_number(), path.read_text(encoding="utf-8")
    again = deploy(chain, DEPLOYER, TERMS, path)
    assert again.deployment == first.deployment
    assert (chain.block_number(), path.read_text(encoding="utf-8")) == (block, text)
    assert Market.open(chain.url, path).deployment == first.deployment


def test_deploy__second_market_on_one_chain__is_another(chain: Chain, tmp_path: Path) -> None:
    one = deploy(chain, DEPLOYER, TERMS, tmp_path / "one.json")
    two = deploy(chain, DEPLOYER, TERMS, tmp_path / "two.json")
    assert one.domain.market != two.domain.market
    assert not set(one.deployment.addresses.values()) & set(two.deployment.addresses.values())


def test_deployer__afterwards__holds_no_role(chain: Chain, path: Path) -> None:
    market = deploy(chain, DEPLOYER, TERMS, path)
    holds = market.registry.functions.hasRole
    for role in (DEFAULT_ADMIN_ROLE, *(keccak(text=name) for name in ROLES)):
        assert not chain.read(holds(role, DEPLOYER.address))
        assert chain.read(holds(role, GRID.address))
    assert chain.read(market.registry.functions.defaultAdmin()) == GRID.address
    assert chain.read(market.token.functions.totalSupply()) == 0


def test_deploy__by_the_grid_company__is_refused(chain: Chain, path: Path) -> None:
    with pytest.raises(DeploymentError, match="must not be the grid company"):
        deploy(chain, GRID, TERMS, path)
    assert not path.exists()
    assert chain.block_number() == 0


# -- interrupted


@pytest.mark.parametrize("name", NAMES)
def test_deploy__ended_before_a_contract__is_resumed(chain: Chain, path: Path, name: str) -> None:
    with pytest.raises(Crash):
        deploy(chain, DEPLOYER, TERMS, path, crash_before(name))
    planned = Deployment.load(path)
    assert not planned.complete
    with pytest.raises(DeploymentError, match="was interrupted"):
        Market.open(chain.url, path)
    market = deploy(chain, DEPLOYER, TERMS, path)
    assert market.deployment.addresses == planned.addresses
    assert chain.nonce(DEPLOYER.address) == len(NAMES)


@pytest.mark.parametrize("sent", range(1, len(NAMES) + 1))
def test_deploy__ended_after_a_transaction_nobody_noted__is_resumed(
    chain: Chain, path: Path, sent: int
) -> None:
    with pytest.raises(Crash):
        deploy(CrashingChain(chain.url, sent), DEPLOYER, TERMS, path)
    assert chain.nonce(DEPLOYER.address) == sent
    market = deploy(chain, DEPLOYER, TERMS, path)
    assert market.deployment.complete
    assert chain.nonce(DEPLOYER.address) == len(NAMES)


def test_deploy__deployers_nonce_moved__says_to_start_anew(chain: Chain, path: Path) -> None:
    with pytest.raises(Crash):
        deploy(chain, DEPLOYER, TERMS, path, crash_before("Book"))
    record = Deployment.load(path)
    registry = chain.contract("Registry", record.addresses["Registry"])
    role = keccak(text="PAUSER_ROLE")
    chain.send(DEPLOYER, registry.functions.renounceRole(role, DEPLOYER.address))
    with pytest.raises(DeploymentError, match="delete the deployment file"):
        deploy(chain, DEPLOYER, TERMS, path)
    path.unlink()
    assert deploy(chain, DEPLOYER, TERMS, path).deployment.complete


def test_deploy__resumed_by_another__is_refused(chain: Chain, path: Path) -> None:
    with pytest.raises(Crash):
        deploy(chain, DEPLOYER, TERMS, path, crash_before("Book"))
    with pytest.raises(DeploymentError, match=f"was begun by {DEPLOYER.address}"):
        deploy(chain, account(2), TERMS, path)


@pytest.mark.parametrize(
    "other",
    [
        replace(TERMS, schedule=replace(TERMS.schedule, length_s=1_800)),
        replace(TERMS, limits=replace(LIMITS, price_cap_uyuan_per_kwh=3 * YUAN)),
        replace(TERMS, seats=TERMS.seats[:3]),
        replace(TERMS, grid_company=account(3).address),
    ],
    ids=["schedule", "limits", "seats", "grid company"],
)
def test_deploy__resumed_with_other_terms__is_refused(
    chain: Chain, path: Path, other: Terms
) -> None:
    with pytest.raises(Crash):
        deploy(chain, DEPLOYER, TERMS, path, crash_before("Book"))
    with pytest.raises(DeploymentError, match="other terms"):
        deploy(chain, DEPLOYER, other, path)
    assert deploy(chain, DEPLOYER, TERMS, path).schedule == TERMS.schedule


# -- elsewhere


def test_open__on_another_chain__names_both(chain: Chain, path: Path) -> None:
    deploy(chain, DEPLOYER, TERMS, path)
    with Anvil(chain_id=4711, genesis_timestamp=EPOCH_S) as other:
        message = "serves chain 4711, the market is on chain 31337"
        with pytest.raises(WrongChain, match=message):
            Market.open(other.url, path)
        with pytest.raises(WrongChain, match=message):
            deploy(Chain(other.url), DEPLOYER, TERMS, path)


def test_open__after_a_reset__is_refused_even_at_the_same_addresses(
    chain: Chain, path: Path, tmp_path: Path
) -> None:
    before = deploy(chain, DEPLOYER, TERMS, path)
    with Anvil(genesis_timestamp=EPOCH_S + 1) as reset:
        after = deploy(Chain(reset.url), DEPLOYER, TERMS, tmp_path / "after.json")
        assert after.deployment.addresses == before.deployment.addresses
        assert after.deployment.chain_id == before.deployment.chain_id
        assert after.domain.market != before.domain.market  # so no old signature is good
        with pytest.raises(WrongChain, match="was reset"):
            Market.open(reset.url, path)
        with pytest.raises(WrongChain, match="was reset"):
            deploy(Chain(reset.url), DEPLOYER, TERMS, path)


def test_open__market_reverted_from_the_chain__is_refused(anvil: Anvil, path: Path) -> None:
    snapshot = rpc(anvil.url, "evm_snapshot")
    deploy(Chain(anvil.url), DEPLOYER, TERMS, path)
    rpc(anvil.url, "evm_revert", [snapshot])
    with pytest.raises(DeploymentError, match="is not this version's Registry"):
        Market.open(anvil.url, path)


# -- changed


def test_open__other_code_at_an_address__is_refused(chain: Chain, path: Path) -> None:
    market = deploy(chain, DEPLOYER, TERMS, path)
    code = chain.code(market.vault.address)
    changed = code[:-1] + bytes([code[-1] ^ 1])
    rpc(chain.url, "anvil_setCode", [market.vault.address, "0x" + changed.hex()])
    with pytest.raises(DeploymentError, match="is not this version's Vault"):
        Market.open(chain.url, path)


def test_open__same_code_with_other_immutables__is_refused(chain: Chain, path: Path) -> None:
    market = deploy(chain, DEPLOYER, TERMS, path)
    code = bytearray(chain.code(market.vault.address))
    start, length = artifact("Vault").immutables[0]
    code[start + length - 1] ^= 1  # the vault would obey another room
    rpc(chain.url, "anvil_setCode", [market.vault.address, "0x" + code.hex()])
    with pytest.raises(DeploymentError, match="has other code than when it was deployed"):
        Market.open(chain.url, path)


def test_open__stale_file__is_refused(chain: Chain, path: Path) -> None:
    record = deploy(chain, DEPLOYER, TERMS, path).deployment
    rewrite(path, code_hashes={**record.code_hashes, "Book": "0x" + "00" * 32})
    with pytest.raises(DeploymentError, match="the deployment file is stale"):
        Market.open(chain.url, path)


def test_deploy__something_else_at_a_planned_address__is_refused(chain: Chain, path: Path) -> None:
    with pytest.raises(Crash):
        deploy(chain, DEPLOYER, TERMS, path, crash_before("Vault"))
    planned = Deployment.load(path).addresses["Vault"]
    rpc(chain.url, "anvil_setCode", [planned, "0x6001"])
    with pytest.raises(DeploymentError, match="is not this version's Vault"):
        deploy(chain, DEPLOYER, TERMS, path)


def test_open__no_file__says_to_deploy_first(chain: Chain, path: Path) -> None:
    with pytest.raises(DeploymentError, match="deploy first"):
        Market.open(chain.url, path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"chain_id": 1}', '{"chain": 1}'])
def test_open__file_of_something_else__says_so(chain: Chain, path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DeploymentError, match="is not a deployment file"):
        Market.open(chain.url, path)
    with pytest.raises(DeploymentError, match="is not a deployment file"):
        deploy(chain, DEPLOYER, TERMS, path)
