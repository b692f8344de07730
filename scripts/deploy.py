"""Deploys a market with ape: `ape run deploy --network ethereum:local:foundry`, or any other chain.

ape finds the chain and signs; what is deployed, and how, is `market.deployment`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, cast

import click
from ape import accounts
from ape.cli import ConnectedProviderCommand
from ape.exceptions import ApeException
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from eth_utils.address import is_address, to_checksum_address
from eth_utils.crypto import keccak
from rich.console import Console
from rich.table import Table

from market.chain import Chain, ChainError
from market.clearing import Rule
from market.contracts import NAMES, RULES, ArtifactError
from market.deployment import DEFAULT_ADMIN_ROLE, ROLES, DeploymentError, Market, Terms, deploy
from market.grid import Grid, GridError
from market.lines import SINGLE_BUS, table_of
from market.prices import Benchmark, Limits
from market.schedule import Schedule

EXAMPLE = Path(__file__).resolve().parents[1] / "data" / "terms.example.toml"
FOLDER = Path("out/deployments")

CLICK_VERBATIM = "\b"
"""Keeps click from wrapping the paragraph that follows."""


class TermsError(Exception):
    """The terms cannot be used; the message names file, key and what is expected."""


class Signer:
    """One of ape's accounts, as far as a deployment needs an eth-account one.

    Whatever ape can sign with works: a key file that asks for its passphrase, or a test account.

    Attributes:
        address: The account.
    """

    def __init__(self, account: Any, ecosystem: Any) -> None:  # noqa: ANN401
        """Sign with one of ape's accounts."""
        self.address: ChecksumAddress = to_checksum_address(account.address)
        self._account = account
        self._ecosystem = ecosystem

    def sign_transaction(self, transaction: Mapping[str, Any]) -> Signed:
        """Sign a transaction given as web3 has it.

        Raises:
            DeploymentError: If the signer declines.
        """
        # web3 writes an empty receiver where a contract is created, ape none at all.
        fields = {key: value for key, value in transaction.items() if key != "to" or value}
        signed = self._account.sign_transaction(self._ecosystem.create_transaction(**fields))
        if signed is None:
            raise DeploymentError(
                f"account {self.address} did not sign; the deployment can be resumed by the same "
                "command"
            )
        return Signed(bytes(signed.serialize_transaction()))


class Signed(NamedTuple):
    """A signed transaction; no dataclass, for ape runs this file outside of `sys.modules`.

    Attributes:
        raw_transaction: What goes to the chain.
    """

    raw_transaction: bytes


def read_terms(path: Path, grid: Path | None = None) -> Terms:
    """Read a terms file, see `data/terms.example.toml`.

    Args:
        path: The file.
        grid: The feeder's grid file, in place of the one the terms name.

    Raises:
        TermsError: If it cannot be read, or a key is missing, unknown or has a bad value.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise TermsError(
            f"{path} cannot be read ({exc.strerror}); give --terms a file, {EXAMPLE} is an example"
        ) from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise TermsError(f"{path} is not TOML: {exc}") from exc
    for key in ("grid_company", "seats", "schedule", "limits", "benchmark"):
        if key not in raw:
            raise TermsError(f"{path}: {key} is missing; {EXAMPLE} has every key")
    grid = grid or (path.parent / str(raw["grid"]) if "grid" in raw else None)
    try:
        schedule = _schedule(dict(raw["schedule"]))
        return Terms(
            grid_company=_address(raw["grid_company"]),
            seats=tuple(_address(seat) for seat in raw["seats"]),
            schedule=schedule,
            limits=Limits(**raw["limits"]),
            benchmark=Benchmark(**raw["benchmark"]),
            grid=(_table(grid, schedule) if grid else SINGLE_BUS).hex(),
            rule=_rule(raw.get("rule", Rule.UNIFORM.value)),
        )
    except GridError as exc:
        raise TermsError(str(exc)) from exc
    except (TypeError, ValueError) as exc:
        raise TermsError(f"{path}: {exc}; compare it with {EXAMPLE}") from exc


def _address(text: object) -> str:
    if not isinstance(text, str) or not is_address(text):
        raise ValueError(f"{text!r} is not an address of 40 hex digits after 0x")
    return to_checksum_address(text)


def _rule(text: object) -> Rule:
    known = {rule.value: rule for rule in RULES}
    if text not in known:
        raise ValueError(f"rule is {text!r}, give one of {', '.join(known)}")
    return known[str(text)]


def _table(grid: Path, schedule: Schedule) -> bytes:
    return table_of(Grid.load(grid).tree, schedule.length_s)


def _schedule(raw: dict[str, Any]) -> Schedule:
    epoch = raw.pop("epoch", None)
    if not isinstance(epoch, datetime) or epoch.tzinfo is None:
        raise ValueError(f"schedule.epoch is {epoch!r}, give a time with its zone, ending in Z")
    return Schedule(epoch_s=int(epoch.timestamp()), **raw)


def check_terms(market: Market, terms: Terms) -> None:
    """Check that a market stands on given terms, as far as they are fixed for ever.

    Raises:
        DeploymentError: If it was deployed with others.
    """
    read = market.chain.read
    if market.schedule != terms.schedule:
        raise DeploymentError(
            f"the market's schedule is {market.schedule}, not that of the terms; give the terms it "
            "was deployed with, or another --file for a new market"
        )
    limits = Limits(*read(market.oracle.functions.limits()))
    if limits != terms.limits:
        raise DeploymentError(
            f"the market's limits are {limits}, not those of the terms; give the terms it was "
            "deployed with, or another --file for a new market"
        )
    if market.rule is not terms.rule:
        raise DeploymentError(
            f"the market matches by the rule {market.rule.value}, not {terms.rule.value}; give the "
            "terms it was deployed with, or another --file for a new market"
        )
    if read(market.grid.functions.table()) != bytes.fromhex(terms.grid):
        raise DeploymentError(
            "the market's feeder is not that of the terms; give the grid it was deployed with, or "
            "another --file for a new market"
        )


def check_roles(market: Market, deployer: str, grid_company: str) -> None:
    """Check that the grid company holds every role and the deployer none.

    Raises:
        DeploymentError: If a role is elsewhere.
    """
    has_role = market.registry.functions.hasRole
    for name in ("DEFAULT_ADMIN_ROLE", *ROLES):
        role = DEFAULT_ADMIN_ROLE if name == "DEFAULT_ADMIN_ROLE" else keccak(text=name)
        if market.chain.read(has_role(role, to_checksum_address(deployer))):
            raise DeploymentError(f"the deployer {deployer} holds {name}; do not use this market")
        if not market.chain.read(has_role(role, to_checksum_address(grid_company))):
            raise DeploymentError(
                f"the grid company {grid_company} lacks {name}; if it handed its roles over, name "
                "the present one in the terms"
            )


def report(market: Market, path: Path, console: Console) -> None:
    """Print what stands where, and what was checked."""
    record = market.deployment
    table = Table(title=f"Market on chain {record.chain_id}", title_justify="left", box=None)
    for column in ("contract", "address", "code hash"):
        table.add_column(column, header_style="dim", no_wrap=True)
    for name in NAMES:
        table.add_row(name, record.addresses[name], record.code_hashes[name][:10])
    console.print(table)
    console.print(f"market id   {record.market}")
    console.print(
        f"genesis     {record.genesis_hash}, deployed after block {record.deployment_block}"
    )
    console.print(f"file        {path}")
    console.print(
        "\u2713 code, schedule and limits are those of this version and these terms\n"
        f"\u2713 the grid company holds all {len(ROLES) + 1} roles, the deployer holds none"
    )


def _deployer(alias: str | None, provider: Any) -> Signer:  # noqa: ANN401
    """Return the account that pays."""
    ecosystem = provider.network.ecosystem
    if alias is not None:
        if alias not in accounts.aliases:
            known = ", ".join(sorted(accounts.aliases)) or "none"
            raise DeploymentError(
                f"ape knows no account {alias!r}, it has: {known}; "
                f"`ape accounts import {alias}` adds one"
            )
        return Signer(accounts.load(alias), ecosystem)
    if not provider.network.is_dev:
        raise DeploymentError("this is no devnet: name the account that pays with --account")
    return Signer(accounts.test_accounts[0], ecosystem)


def _terms(path: Path | None, grid: Path | None, provider: Any) -> Terms:  # noqa: ANN401
    """Return the terms given, or the example's on a devnet."""
    if path is None and not provider.network.is_dev:
        raise TermsError(
            f"this is no devnet: give your terms with --terms. {EXAMPLE} is an example; the keys "
            "of its addresses are public"
        )
    return read_terms(path or EXAMPLE, grid)


def _default_file(chain: Chain) -> Path:
    """Return a file of this chain only; after a reset it has its id but another genesis."""
    identity = chain.identity()
    return FOLDER / f"{identity.chain_id}-{identity.genesis_hash[2:10]}.json"


class _Command(ConnectedProviderCommand):
    """A command whose chain may be missing: ape connects before the command's own code runs."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401
        """Say in one line that there is no chain, or which one ape does not know."""
        try:
            return super().invoke(ctx)
        # The word of ape-node for "nobody there" is an error of requests.
        except (ApeException, OSError) as exc:
            raise click.ClickException(f"{exc}\nIs the node running, is --network right?") from exc


HELP = f"""Deploy a market, resume an interrupted deployment, or verify a finished one.

Give the same command again after any interruption: nothing is deployed twice. The deployer pays
and holds no role afterwards, the grid company of the terms holds all of them. No compiler is
needed: the contracts ship with the package.

{CLICK_VERBATIM}
On a chain of its own, to see it work:
    ape run deploy --network ethereum:local:foundry
On a devnet that runs already:
    ape run deploy --network ethereum:local:http://127.0.0.1:8545
On any other chain, with an account of `ape accounts list`:
    ape run deploy --network https://... --account ALIAS --terms terms.toml

data/terms.example.toml explains every term; on a devnet it is the default.
"""


@click.command(cls=_Command, help=HELP)
@click.option("--terms", type=click.Path(path_type=Path), help="TOML file of the market's terms.")
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path),
    help=f"Deployment file to write, resume or verify. [default: {FOLDER}/CHAIN-GENESIS.json]",
)
@click.option(
    "--grid",
    type=click.Path(path_type=Path),
    help="Grid file of the feeder, such as data/simbench-rural1/grid.json. [default: as the terms "
    "say, or no wires]",
)
@click.option(
    "--account", "alias", help="Alias of the ape account that pays; test account 0 on a devnet."
)
def cli(
    provider: Any,  # noqa: ANN401
    terms: Path | None,
    path: Path | None,
    grid: Path | None,
    alias: str | None,
) -> None:
    """Deploy, resume or verify a market; `HELP` tells the user."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        chain = Chain(provider.http_uri)
        agreed = _terms(terms, grid, provider)
        signer = _deployer(alias, provider)
        target = path or _default_file(chain)
        # A deployment only ever asks its deployer for an address and for signatures.
        deployer = cast(LocalAccount, signer)
        market = deploy(chain, deployer, agreed, target, console.print)
        check_terms(market, agreed)
        check_roles(market, market.deployment.deployer, agreed.grid_company)
    except (ChainError, TermsError, ArtifactError, ApeException) as exc:
        raise click.ClickException(str(exc)) from exc
    report(market, target, console)
