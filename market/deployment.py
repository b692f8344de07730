"""Deploys a market, or resumes an interrupted deployment, and verifies what it finds.

The contracts know each other by constructor, from the addresses their deployer's next nonces will
give, so nothing has to be wired or handed over afterwards and the deployer never holds a role.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from web3.contract import Contract
from web3.types import Nonce
from web3.utils import get_create_address

from market.chain import POLL_S, Chain, ChainError, WrongChain
from market.clearing import Rule
from market.contracts import NAMES, RULES, artifact
from market.lines import SINGLE_BUS
from market.messages import Domain
from market.prices import Benchmark, Limits
from market.schedule import Schedule

ROLES = ("ADMISSION_ROLE", "TREASURY_ROLE", "TARIFF_ROLE", "COMMITTEE_ROLE", "PAUSER_ROLE")
"""The grid company's named roles in the registry."""

DEFAULT_ADMIN_ROLE = bytes(32)

CREATION_TIMEOUT_S = 60.0
"""How long to wait for a contract creation that was sent before an interruption."""


class DeploymentError(ChainError):
    """A deployment cannot be made, resumed or trusted; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a market is deployed with.

    Attributes:
        grid_company: Address that holds every role.
        seats: Addresses of the oracle's seats, in order.
        schedule: The instants of a period's life.
        limits: The bounds of every price.
        benchmark: The grid company's prices from the first period on.
        grid: The feeder's table in hexadecimal, see `market.lines`; without wires if not given.
        rule: How the market matches.
    """

    grid_company: str
    seats: tuple[str, ...]
    schedule: Schedule
    limits: Limits
    benchmark: Benchmark
    grid: str = SINGLE_BUS.hex()
    rule: Rule = Rule.UNIFORM

    def digest(self) -> str:
        """Return a hash of the terms, equal only for equal terms."""
        terms = {**asdict(self), "rule": self.rule.value}
        return "0x" + keccak(text=json.dumps(terms, sort_keys=True)).hex()


@dataclass(slots=True)
class Deployment:
    """A market on a chain, as the deployment file keeps it.

    Attributes:
        chain_id: The chain.
        genesis_hash: Hash of its block 0, which tells a reset chain.
        deployer: Who deployed.
        start_nonce: The deployer's nonce at the first contract; all addresses follow from it.
        deployment_block: Block before the first contract: logs start after it.
        terms: Digest of the terms it was begun with.
        rule: How the market matches, a value of `Rule`.
        addresses: Contract name to address.
        code_hashes: Contract name to keccak256 of its code on chain, filled during deployment.
        market: The market's id, once deployed.
        complete: Whether everything is deployed and verified.
    """

    chain_id: int
    genesis_hash: str
    deployer: str
    start_nonce: int
    deployment_block: int
    terms: str
    rule: str
    addresses: dict[str, str]
    code_hashes: dict[str, str] = field(default_factory=dict)
    market: str = ""
    complete: bool = False

    def save(self, path: Path) -> None:
        """Write the file in one step, so that an interruption never leaves half of it.

        Raises:
            DeploymentError: If it cannot be written.
        """
        draft = path.with_suffix(".tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
            os.replace(draft, path)
        except OSError as exc:
            raise DeploymentError(
                f"the deployment file {path} cannot be written ({exc.strerror}); check path and "
                "free space, the same command then goes on"
            ) from exc

    @classmethod
    def load(cls, path: Path) -> Deployment:
        """Read a deployment file.

        Raises:
            DeploymentError: If it is missing or not a deployment file.
        """
        try:
            record = cls(**json.loads(path.read_text(encoding="utf-8")))
            Rule(record.rule)
            for name in NAMES:
                to_checksum_address(record.addresses[name])
        except FileNotFoundError as exc:
            raise DeploymentError(
                f"no deployment file at {path}; deploy first, or give the path of the file"
            ) from exc
        except OSError as exc:
            raise DeploymentError(
                f"{path} cannot be read ({exc.strerror}); give the path of the deployment file"
            ) from exc
        except KeyError as exc:
            raise DeploymentError(
                f"{path} is not a deployment file (no address of {exc}); restore it or deploy again"
            ) from exc
        except (ValueError, TypeError, AttributeError) as exc:
            raise DeploymentError(
                f"{path} is not a deployment file ({exc}); restore it or deploy again"
            ) from exc
        return record

    def artifact(self, name: str) -> str:
        """Return the artifact of one of the market's contracts."""
        return RULES[Rule(self.rule)] if name == "Rule" else name

    @property
    def domain(self) -> Domain:
        """Where signatures for this market are good."""
        return Domain(
            chain_id=self.chain_id,
            book=self.addresses["Book"],
            oracle=self.addresses["Oracle"],
            market=bytes.fromhex(self.market.removeprefix("0x")),
        )


class Market:
    """Handles to the contracts of a verified deployment.

    Attributes:
        chain: The connection.
        deployment: What is deployed where.
        rule: How the market matches.
    """

    def __init__(self, chain: Chain, deployment: Deployment) -> None:
        """Verify the deployment and bind its contracts.

        Raises:
            WrongChain: If the chain is another one, or was reset since.
            DeploymentError: If the deployment is incomplete or its code is not ours.
        """
        verify(chain, deployment)
        self.chain = chain
        self.deployment = deployment
        self.registry = self._bind("Registry")
        self.token = self._bind("SettlementToken")
        self.oracle = self._bind("Oracle")
        self.grid = self._bind("Grid")
        self.one = self._bind("Subordinate_one")
        self.two = self._bind("Subordinate_two")
        self.book = self._bind("Book")
        self.vault = self._bind("Vault")
        self.rule = Rule(deployment.rule)
        self.rule_contract = self._bind("Rule")
        self.master = self._bind("Master")
        self.proofs = self._bind("MeterProofs")
        self.domain = deployment.domain
        raw = chain.read(self.master.functions.schedule())
        self.schedule = Schedule(*(int(value) for value in raw))

    @classmethod
    def open(cls, url: str, path: Path) -> Market:
        """Connect to a market by its deployment file."""
        return cls(Chain(url), Deployment.load(path))

    def _bind(self, name: str) -> Contract:
        return self.chain.contract(self.deployment.artifact(name), self.deployment.addresses[name])


def deploy(
    chain: Chain,
    deployer: LocalAccount,
    terms: Terms,
    path: Path,
    progress: Callable[[str], None] = lambda _: None,
) -> Market:
    """Deploy a market, resume an interrupted deployment, or verify a finished one.

    Args:
        chain: Where to.
        deployer: Who pays; holds no role afterwards.
        terms: What the market is deployed with.
        path: The deployment file; written before the first transaction and after each.
        progress: Told what happens, a line each.

    Raises:
        DeploymentError: If the file belongs elsewhere, or the deployer's nonces moved meanwhile.
        ChainError: If the chain fails or refuses.
    """
    if to_checksum_address(terms.grid_company) == deployer.address:
        raise DeploymentError(
            "the deployer must not be the grid company, or it would keep every role; "
            "give another grid company address"
        )
    record = Deployment.load(path) if path.exists() else _plan(chain, deployer, terms)
    _check_identity(chain, record)
    if record.complete:
        progress(f"found a finished deployment in {path}, verifying it")
        return Market(chain, record)
    if record.deployer != deployer.address:
        raise DeploymentError(
            f"{path} was begun by {record.deployer}; resume with that account or delete the file"
        )
    if record.terms != terms.digest():
        raise DeploymentError(
            f"{path} was begun with other terms, and half a market stands on them; "
            "resume with the same terms or delete the file"
        )
    record.save(path)
    for offset, name in enumerate(NAMES):
        address = record.addresses[name]
        if not chain.has_code(address):
            progress(f"deploying {name}")
            _create(
                chain, deployer, name, _constructor(name, record.addresses, terms), record, offset
            )
        record.code_hashes[name] = _code_hash(chain, record.artifact(name), address)
        record.save(path)
    registry = chain.contract("Registry", record.addresses["Registry"])
    record.market = "0x" + bytes(chain.read(registry.functions.market())).hex()
    _check_roles(chain, registry, deployer.address, terms.grid_company)
    record.complete = True
    record.save(path)
    progress(f"deployed and verified; the deployer holds no role; see {path}")
    return Market(chain, record)


def verify(chain: Chain, record: Deployment) -> None:
    """Check that a deployment file tells the truth about a chain.

    Raises:
        WrongChain: If the chain is another one, or was reset since.
        DeploymentError: If the deployment is incomplete or code differs.
    """
    _check_identity(chain, record)
    if not record.complete:
        raise DeploymentError(
            "the deployment was interrupted; run the deployment again to resume it"
        )
    for name in NAMES:
        found = _code_hash(chain, record.artifact(name), record.addresses[name])
        if found != record.code_hashes[name]:
            raise DeploymentError(
                f"{name} at {record.addresses[name]} has other code than when it was deployed; "
                "the deployment file is stale, get the present one from the operator"
            )


def _check_identity(chain: Chain, record: Deployment) -> None:
    found = chain.identity()
    if found.chain_id != record.chain_id:
        raise WrongChain(
            f"{chain.url} serves chain {found.chain_id}, the market is on chain {record.chain_id}; "
            "check the RPC URL"
        )
    if found.genesis_hash != record.genesis_hash:
        raise WrongChain(
            f"the chain at {chain.url} was reset: its genesis is {found.genesis_hash}, the market "
            f"stands on {record.genesis_hash}; deploy anew with another deployment file"
        )


def _plan(chain: Chain, deployer: LocalAccount, terms: Terms) -> Deployment:
    identity = chain.identity()
    nonce = chain.nonce(deployer.address)
    return Deployment(
        chain_id=identity.chain_id,
        genesis_hash=identity.genesis_hash,
        deployer=deployer.address,
        start_nonce=nonce,
        deployment_block=chain.block_number(),
        terms=terms.digest(),
        rule=terms.rule.value,
        addresses={
            name: get_create_address(deployer.address, Nonce(nonce + offset))
            for offset, name in enumerate(NAMES)
        },
    )


def _create(
    chain: Chain,
    deployer: LocalAccount,
    name: str,
    arguments: tuple[Any, ...],
    record: Deployment,
    offset: int,
) -> None:
    expected = record.start_nonce + offset
    nonce = chain.nonce(deployer.address)
    if nonce == expected + 1 and _comes_to_stand(chain, record.addresses[name]):
        return
    if nonce != expected:
        raise DeploymentError(
            f"the deployer's next nonce is {nonce}, but {name} needs {expected}: the account sent "
            "other transactions meanwhile; delete the deployment file and deploy anew"
        )
    code = artifact(record.artifact(name))
    factory = chain.w3.eth.contract(abi=code.abi, bytecode=code.bytecode)
    receipt = chain.send(deployer, factory.constructor(*arguments), nonce=nonce)
    if receipt["contractAddress"] != record.addresses[name]:
        raise DeploymentError(
            f"{name} came to stand at {receipt['contractAddress']} instead of "
            f"{record.addresses[name]}; delete the deployment file and deploy anew"
        )


def _comes_to_stand(chain: Chain, address: str) -> bool:
    """Wait for a contract whose creation an interrupted deployment has sent already."""
    give_up = time.monotonic() + CREATION_TIMEOUT_S
    while not chain.has_code(address):
        if time.monotonic() > give_up:
            return False
        time.sleep(POLL_S)
    return True


def _constructor(name: str, at: dict[str, str], terms: Terms) -> tuple[Any, ...]:
    """Return the constructor arguments of a contract."""
    s = terms.schedule
    schedule = (
        s.epoch_s,
        s.length_s,
        s.price_horizon_s,
        s.price_lead_s,
        s.gate_lead_s,
        s.round_length_s,
        s.settle_deadline_s,
        s.window_s,
    )
    limits = (
        terms.limits.price_cap_uyuan_per_kwh,
        terms.limits.fee_cap_uyuan_per_kwh,
        terms.limits.trade_floor_uyuan_per_kwh,
        min(terms.limits.trade_ceiling_uyuan_per_kwh, terms.limits.price_cap_uyuan_per_kwh),
    )
    b = terms.benchmark
    benchmark = (
        b.feed_in_uyuan_per_kwh,
        b.selling_uyuan_per_kwh,
        b.planned_uyuan_per_kwh,
        b.compensation_uyuan_per_kwh,
        b.retail_uyuan_per_kwh,
        b.fee_uyuan_per_kwh,
        0,
        0,
    )
    rooms = (
        *("Registry", "Book", "Oracle", "Vault", "Subordinate_one", "Subordinate_two"),
        *("Grid", "Rule"),
    )
    arguments: dict[str, tuple[Any, ...]] = {
        "Registry": (terms.grid_company,),
        "SettlementToken": (at["Registry"],),
        "Oracle": (
            *(schedule, at["Registry"], at["Grid"], at["Master"]),
            *(list(terms.seats), limits, benchmark),
        ),
        "Grid": (at["Oracle"], bytes.fromhex(terms.grid)),
        "Rule": (),
        "Subordinate_one": (at["Master"],),
        "Subordinate_two": (at["Master"],),
        "Book": (schedule, at["Registry"], at["Vault"], at["Oracle"], at["Master"]),
        "Vault": (at["SettlementToken"], at["Registry"], at["Book"], at["Master"]),
        "Master": (schedule, tuple(at[room] for room in rooms)),
        "MeterProofs": (at["Registry"],),
    }
    return arguments[name]


def _code_hash(chain: Chain, name: str, address: str) -> str:
    code = chain.code(address)
    if not artifact(name).is_code_of(code):
        raise DeploymentError(
            f"what stands at {address} is not this version's {name}; "
            "use the subgrid version it was deployed with, or deploy anew"
        )
    return "0x" + keccak(code).hex()


def _check_roles(chain: Chain, registry: Contract, deployer: str, grid_company: str) -> None:
    """Prove that the deployer holds nothing and the grid company everything."""
    for role in (DEFAULT_ADMIN_ROLE, *(keccak(text=role) for role in ROLES)):
        if chain.read(registry.functions.hasRole(role, deployer)):
            raise DeploymentError(f"the deployer {deployer} still holds role 0x{role.hex()}")
        if not chain.read(registry.functions.hasRole(role, to_checksum_address(grid_company))):
            raise DeploymentError(f"the grid company {grid_company} lacks role 0x{role.hex()}")
