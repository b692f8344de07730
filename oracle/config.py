"""What a committee node is told: one TOML file and the environment, every key checked first."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from eth_account import Account
from eth_account.signers.local import LocalAccount
from pydantic import (
    BeforeValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from oracle.given import BETWEEN, NO_KEY, PREFIX, Environment, explain, rooted, variables
from oracle.meters.settings import LiveConfig, SunspecConfig
from oracle.meters.settings import Table as _Table
from oracle.prices.settings import BenchmarkPrices, PricesConfig, Url
from oracle.tolerance import Tolerance

ASKED_TOLERANCE_WH = 20
"""What 10 kW of change between two polls of a few seconds may come to at the edges of a period."""


class ConfigError(Exception):
    """A configuration cannot be used; the message names file, key, value and what is expected."""


class KeyConfig(_Table):
    """Where the seat's private key is; the key itself never stands in the configuration.

    Attributes:
        env: Name of the environment variable that holds it, as 64 hex digits.
        file: File that holds it, likewise.
        keystore: Encrypted key file, as Ethereum clients and `eth-account` write them.
        password_env: Name of the environment variable that holds the keystore's password.
        password_file: File that holds it.
    """

    env: str | None = None
    file: Path | None = None
    keystore: Path | None = None
    password_env: str | None = None
    password_file: Path | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> KeyConfig:
        if sum(way is not None for way in (self.env, self.file, self.keystore)) != 1:
            raise ValueError("give one of env, file and keystore")
        ways = (self.password_env, self.password_file)
        if sum(way is not None for way in ways) != (self.keystore is not None):
            raise ValueError("give one of password_env and password_file with keystore alone")
        return self

    def load(self) -> LocalAccount:
        """Return the seat's account.

        Raises:
            ConfigError: If there is no key, or it is not one. The message never shows it.
        """
        if self.keystore is not None:
            return self._unlocked(_read("key.keystore", self.keystore))
        where = f"environment variable {self.env}" if self.env else f"file {self.file}"
        text = _secret("key", self.env, self.file)
        try:
            account: LocalAccount = Account.from_key(text.strip())
        except (ValueError, TypeError):
            problem = f"key: {where} holds no private key; put 64 hex digits in it"
            raise ConfigError(problem) from None
        return account

    def _unlocked(self, keystore: str) -> LocalAccount:
        password = _secret("key.password", self.password_env, self.password_file)
        try:
            key = Account.decrypt(keystore, password.strip())
        except (ValueError, TypeError, KeyError) as exc:
            # What is wrong with the file can be told, what is in it cannot.
            why = "wrong password" if "MAC" in str(exc) else "no key file of an Ethereum client"
            raise ConfigError(f"key.keystore: {self.keystore} cannot be opened: {why}") from None
        account: LocalAccount = Account.from_key(key)
        return account


def _secret(key: str, env: str | None, file: Path | None) -> str:
    """Return what stands in an environment variable or a file."""
    if file is not None:
        return _read(f"{key}_file" if "." in key else f"{key}.file", file)
    name = f"{key}_env" if "." in key else f"{key}.env"
    try:
        return os.environ[env or ""]
    except KeyError:
        raise ConfigError(
            f"{name}: environment variable {env} is not set; export the seat's {key} in it"
        ) from None


def _read(key: str, file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError(
            f"{key}: file {file} cannot be read ({exc.strerror}); give a file that holds it"
        ) from exc
    except UnicodeDecodeError:
        return ""


class MonitorConfig(_Table):
    """Where machines may ask how the node is.

    Attributes:
        listen: Host and port of `/metrics`, `/health` and `/ready`; nothing is served without.
    """

    listen: Annotated[str, Field(pattern=r"^[^:]*:\d{1,5}$")] | None = None


class MetersConfig(_Table):
    """Which meters the node reads and from where.

    Attributes:
        roster: CSV of the meters, see `oracle.meters.roster`.
        profile: CSV, gzipped CSV or Parquet of their energies, see `oracle.meters.profile`.
        first_period: Period whose energies are those of `first_row`.
        first_row: Row to start at.
        live: Instead of a profile: live meters, see `oracle.meters.settings`.
    """

    roster: Path
    profile: Path | None = None
    first_period: Annotated[int, Field(ge=0)] = 0
    first_row: Annotated[int, Field(ge=0)] = 0
    live: LiveConfig | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> MetersConfig:
        if (self.profile is None) == (self.live is None):
            raise ValueError("give either profile or live")
        return self


class GridConfig(_Table):
    """The feeder, in a market that was deployed with one.

    Attributes:
        file: Its grid file, the one the market was deployed with.
        max_loading_percent: What no line and no transformer may exceed in the AC check.
        tolerance_percent: How far a proposed headroom may be from this node's, in percent of the
            static limit.
    """

    file: Path
    max_loading_percent: PositiveFloat = 100.0
    tolerance_percent: Annotated[float, Field(ge=0, le=100)] = 5.0


class ReportConfig(_Table):
    """How reports are made.

    Attributes:
        patience_s: How long after a period's close to wait for silent meters before their values
            are substituted; by default half a round.
        tolerance_wh: How far a reported energy may be from this node's; by default 20 if a source
            is asked, as SunSpec devices are, for every seat asks at its own instants, otherwise 0.
        tolerance_percent: The same in percent of the energy; the larger of the two counts.
    """

    patience_s: Annotated[int, Field(ge=0)] | None = None
    tolerance_wh: Annotated[int, Field(ge=0)] | None = None
    tolerance_percent: Annotated[float, Field(ge=0, le=10)] = 0.0


class QueriesConfig(_Table):
    """Which queries of contracts the node answers.

    Attributes:
        deliver: Whether it answers any.
        least_fee_percent: Least fee, in percent of what the delivery costs at most at the chain's
            present fees.
    """

    deliver: bool = True
    least_fee_percent: Annotated[int, Field(ge=0)] = 100


class FaultConfig(_Table):
    """One fault of the simulated meters, see `oracle.meters.simulator`.

    Attributes:
        kind: `scale`, `scatter`, `silent`, `late` or `lie`.
        meter: The meter; all if not given.
        first: First period; open if not given.
        last: Last period; open if not given.
        percent: For `scale`: energy in percent of the true one.
        seed: For `scatter`.
        spread_percent: For `scatter`.
        available_at_s: For `late`: chain time from which the reading is there.
        import_wh: For `lie`.
        export_wh: For `lie`.
    """

    kind: Literal["scale", "scatter", "silent", "late", "lie"]
    meter: str | None = None
    first: int | None = None
    last: int | None = None
    percent: Annotated[int, Field(ge=0)] | None = None
    seed: int | None = None
    spread_percent: Annotated[int, Field(ge=0)] | None = None
    available_at_s: int | None = None
    import_wh: Annotated[int, Field(ge=0)] | None = None
    export_wh: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _complete(self) -> FaultConfig:
        needed = {
            "scale": {"percent"},
            "scatter": {"seed", "spread_percent"},
            "silent": set(),
            "late": {"available_at_s"},
            "lie": {"import_wh", "export_wh"},
        }[self.kind]
        given = self.model_fields_set - {"kind", "meter", "first", "last"}
        if given != needed:
            raise ValueError(
                f"a {self.kind} fault takes {', '.join(sorted(needed)) or 'no further keys'}, "
                f"this one has {', '.join(sorted(given)) or 'none'}"
            )
        return self


class SimulateConfig(_Table):
    """Meters that misbehave on purpose, for demos and tests.

    Attributes:
        faults: Applied one after the other.
    """

    faults: tuple[FaultConfig, ...] = ()


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class NodeConfig(BaseSettings):
    """A committee node, as its file says it and its environment, which wins.

    Attributes:
        rpc_url: The chain's JSON-RPC endpoint, or several, the one to use first in front.
        rpc_timeout_s: Longest wait for an endpoint's answer.
        deployment: The market's deployment file.
        seat: Index of the seat this node holds, from 0.
        journal: SQLite file of everything the node has read, signed and sent.
        confirmations: Blocks that must stand on a fact before the node acts on it; 0 on a chain
            whose blocks are final.
        poll_s: Pause between two looks at the chain's head.
        log_chunk_blocks: Most blocks asked for logs at once.
        clock_skew_s: Difference between chain time and the machine's clock to raise an alarm at,
            0 for none.
        key: The seat's key.
        meters: What it reads.
        prices: What prices it holds right.
        grid: The feeder it checks clearings on.
        report: How it reports.
        queries: Which queries it answers.
        monitor: Where machines may ask how it is.
        simulate: How its meters misbehave.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=BETWEEN, extra="forbid", frozen=True
    )

    rpc_url: Annotated[tuple[Url, ...], BeforeValidator(_listed), Field(min_length=1)]
    rpc_timeout_s: PositiveFloat = 10.0
    deployment: Path
    seat: Annotated[int, Field(ge=0, le=31)]
    journal: Path
    confirmations: Annotated[int, Field(ge=0)] = 2
    poll_s: PositiveFloat = 1.0
    log_chunk_blocks: PositiveInt = 2_000
    clock_skew_s: Annotated[int, Field(ge=0)] = 300
    key: KeyConfig
    meters: MetersConfig
    prices: PricesConfig = BenchmarkPrices()
    grid: GridConfig | None = None
    report: ReportConfig = ReportConfig()
    queries: QueriesConfig = QueriesConfig()
    monitor: MonitorConfig = MonitorConfig()
    simulate: SimulateConfig = SimulateConfig()

    @property
    def tolerance(self) -> Tolerance:
        """How far reports may be from what this node has read."""
        live, stated_wh = self.meters.live, self.report.tolerance_wh
        asks = live is not None and any(isinstance(s, SunspecConfig) for s in live.sources)
        usual_wh = ASKED_TOLERANCE_WH if asks else 0
        wh = usual_wh if stated_wh is None else stated_wh
        return Tolerance(wh, self.report.tolerance_percent)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Ask the environment first, then the file, whose keys are given as arguments."""
        return Environment(settings_cls), init_settings


def load_config(path: Path) -> NodeConfig:
    """Read a node's configuration; relative paths in it start at its folder.

    Environment variables win over the file: `SUBGRID_ORACLE_MONITOR__LISTEN` is `monitor.listen`.

    Raises:
        ConfigError: If it cannot be read, or a key is missing, unknown or has a bad value.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read ({exc.strerror}); give --config a file") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} is not TOML: {exc}") from exc
    found = variables()
    # What begins so in the file would be taken for an argument of pydantic-settings.
    unknown = [f"{path}: {key}: {NO_KEY}" for key in raw if key.startswith("_")]
    unknown += [
        f"environment variable {name}: {'.'.join(key)}: {NO_KEY}"
        for name, key in found.items()
        if key[0] not in NodeConfig.model_fields
    ]
    if unknown:
        raise ConfigError("\n".join(unknown))
    try:
        return rooted(NodeConfig(**raw), path.resolve().parent)
    except ValidationError as exc:
        problems = explain(path, raw, Environment(NodeConfig)(), exc)
        raise ConfigError("\n".join(problems)) from exc
