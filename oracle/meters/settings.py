"""What an operator writes about live meters: `[meters.live]` of a node's configuration."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from oracle.meters.curve import Exchange
from oracle.meters.gate import MeterFacts
from oracle.meters.sample import Register, whole_ms
from oracle.meters.source import SourceError

Unit = Literal["Wh", "kWh", "MWh"]
Direction = Literal["import", "export"]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w.-]+$")]
Port = Annotated[int, Field(ge=1, le=65_535)]


class Table(BaseModel):
    """A table of the configuration: no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Quantity(Table):
    """A value inside a message.

    Attributes:
        direction: `import` or `export`.
        value: Path to it, keys and indexes with dots between; empty if the message is the value.
        unit: Its unit.
    """

    direction: Direction
    value: str = ""
    unit: Unit


class TopicConfig(Table):
    """What the messages of some topics mean.

    Attributes:
        filter: Topics to subscribe to. `+` is any one level, `{meter}` one that names the meter.
        format: `json`, or `ocmf` for signed texts, which need no further keys.
        quantities: Where energies stand in a message.
        meter: Path to the meter's id in the message; with `{meter}` both must agree.
        device: Path to the serial number of the device.
        time: Path to the time of the values; without one they are of the time they arrive.
        time_unit: `s` or `ms` since 1970, or `iso`.
        optional: Whether messages without a quantity are ignored instead of refused.
    """

    filter: Annotated[str, Field(min_length=1, max_length=200, pattern="^[^#$][^#]*$")]
    format: Literal["json", "ocmf"] = "json"
    quantities: tuple[Quantity, ...] = ()
    meter: str | None = None
    device: str | None = None
    time: str | None = None
    time_unit: Literal["s", "ms", "iso"] = "s"
    optional: bool = False

    @model_validator(mode="after")
    def _complete(self) -> TopicConfig:
        if self.format == "json":
            if not self.quantities:
                raise ValueError("give at least one of quantities")
            if "{meter}" not in self.filter and self.meter is None:
                raise ValueError("give {meter} in filter, or meter, to say whose values these are")
        if self.filter.count("{meter}") > 1 or "{meter}" not in [
            *self.filter.split("/"),
            "{meter}",
        ]:
            raise ValueError("{meter} stands for one whole level of filter, once")
        return self


class TlsConfig(Table):
    """How the broker is known, and the node to it.

    Attributes:
        ca_file: Certificates that are trusted; the system's if not given.
        cert_file: The node's certificate.
        key_file: Its key.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


class MqttConfig(Table):
    """A broker.

    Attributes:
        kind: Names this kind.
        name: What the log and the journal call the source.
        host: The broker's host.
        port: Its port.
        embedded: Whether the node runs that broker itself, without access control: for demos.
        version: MQTT 5, or 3.1.1 for brokers that know no other.
        client_id: Names the session that the broker keeps for the node; one for each node.
        username: User at the broker.
        password_env: Environment variable with the password.
        password_file: Or the file with it.
        tls: Given, even empty, the connection is encrypted.
        preset: `smartmeter-datacollector`, whose topics are then known.
        topics: What to subscribe to.
        keepalive_s: Longest silence on the connection.
    """

    kind: Literal["mqtt"]
    name: Name = "mqtt"
    host: str = "127.0.0.1"
    port: Port = 1883
    embedded: bool = False
    version: Literal["5", "3.1.1"] = "5"
    client_id: Annotated[str, Field(min_length=1, max_length=64)]
    username: str | None = None
    password_env: str | None = None
    password_file: Path | None = None
    tls: TlsConfig | None = None
    preset: Literal["smartmeter-datacollector"] | None = None
    topics: tuple[TopicConfig, ...] = ()
    keepalive_s: Annotated[int, Field(ge=5, le=3600)] = 30

    @model_validator(mode="after")
    def _subscribes(self) -> MqttConfig:
        if not self.topics and self.preset is None:
            raise ValueError("give topics or a preset")
        if self.embedded and (self.tls or self.username or self.version == "5"):
            raise ValueError('the embedded broker takes version = "3.1.1", no tls and no username')
        return self

    def password(self) -> str | None:
        """Return the password.

        Raises:
            SourceError: If it is not where it should be.
        """
        if self.password_env is not None:
            if self.password_env not in os.environ:
                fix = "Export the broker's password in it"
                raise SourceError(self.name, f"{self.password_env} is not set", fix)
            return os.environ[self.password_env]
        if self.password_file is None:
            return None
        try:
            return self.password_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as exc:
            where = str(self.password_file)
            raise SourceError(where, f"cannot be read ({exc})", "Put the password there") from exc


class SunspecConfig(Table):
    """A SunSpec device on Modbus TCP.

    Attributes:
        kind: Names this kind.
        name: What the log and the journal call the source.
        meter: The meter it is.
        host: Its host.
        port: Its port.
        unit: Its Modbus unit.
        poll_s: Pause between two readings.
        timeout_s: Longest wait for an answer.
    """

    kind: Literal["sunspec"]
    name: Name = "sunspec"
    meter: str
    host: str
    port: Port = 502
    unit: Annotated[int, Field(ge=0, le=255)] = 1
    poll_s: PositiveFloat = 10.0
    timeout_s: PositiveFloat = 3.0


class DsmrConfig(Table):
    """A P1 port on a serial line, or behind a TCP server.

    Attributes:
        kind: Names this kind.
        name: What the log and the journal call the source.
        meter: The meter it is.
        device: Serial line, such as `/dev/ttyUSB0`.
        host: Or the host of the server.
        port: Its port.
        baudrate: 115200, or 9600 for telegrams before version 4.
        timeout_s: Longest silence before the connection is made again.
        unchecked: Whether telegrams without a checksum, as before version 4, are believed.
    """

    kind: Literal["dsmr"]
    name: Name = "dsmr"
    meter: str
    device: Path | None = None
    host: str | None = None
    port: Port = 23
    baudrate: PositiveInt = 115_200
    timeout_s: PositiveFloat = 60.0
    unchecked: bool = False

    @model_validator(mode="after")
    def _one_of_both(self) -> DsmrConfig:
        if (self.device is None) == (self.host is None):
            raise ValueError("give either device or host")
        return self


SourceConfig = Annotated[MqttConfig | SunspecConfig | DsmrConfig, Field(discriminator="kind")]


class MeterConfig(Table):
    """What is known of a meter beyond the roster.

    Attributes:
        meter: Its id in the roster.
        ids: Other names that sources give it, such as serial numbers.
        key: Public key in hex (DER); given, only signed readings of it are believed.
        rollover_wh: State at which its registers start again from 0: a display of 6 digits of kWh
            does at 1,000,000,000 Wh, a 32-bit counter of Wh at 4,294,967,296 Wh.
    """

    meter: str
    ids: tuple[str, ...] = ()
    key: Annotated[str, Field(pattern="^([0-9a-fA-F]{2})+$")] | None = None
    rollover_wh: PositiveInt | None = None


class ExchangeConfig(Table):
    """A meter was replaced: the last state of the old one and the first of the new one.

    Attributes:
        meter: The meter.
        direction: Which of its registers.
        at: When, with an offset from UTC.
        final_wh: Last state of the old device.
        initial_wh: First state of the new one.
    """

    meter: str
    direction: Direction
    at: AwareDatetime
    final_wh: Annotated[int, Field(ge=0)]
    initial_wh: Annotated[int, Field(ge=0)] = 0


class LiveConfig(Table):
    """Live meters.

    Attributes:
        store: SQLite file of every sample.
        sources: Where samples come from.
        meter: What is known of some meters.
        exchange: Meters that were replaced.
        clock_tolerance_s: How far a sample may be ahead of the node's clock.
        usual_gap_s: Stretch without samples that is not worth a flag; by default a period.
        bridge_s: Longest stretch whose inside is still reckoned; beyond it a meter counts as
            silent. By default an hour.
    """

    store: Path
    sources: tuple[SourceConfig, ...] = ()
    meter: tuple[MeterConfig, ...] = ()
    exchange: tuple[ExchangeConfig, ...] = ()
    clock_tolerance_s: Annotated[int, Field(ge=0)] = 120
    usual_gap_s: PositiveInt | None = None
    bridge_s: PositiveInt = 3_600

    @model_validator(mode="after")
    def _distinct(self) -> LiveConfig:
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError(f"sources are called {', '.join(names)}: give each a name of its own")
        return self

    def facts(self) -> list[MeterFacts]:
        """Return what is declared of the meters."""
        meters = {m.meter: m for m in self.meter}
        for exchange in self.exchange:
            meters.setdefault(exchange.meter, MeterConfig(meter=exchange.meter))
        return [
            MeterFacts(
                m.meter,
                m.ids,
                m.key,
                m.rollover_wh,
                _exchanges(e for e in self.exchange if e.meter == m.meter),
            )
            for m in meters.values()
        ]


def _exchanges(configs: Iterable[ExchangeConfig]) -> dict[Register, tuple[Exchange, ...]]:
    found: dict[Register, tuple[Exchange, ...]] = {}
    for config in sorted(configs, key=_when):
        register = Register[config.direction.upper()]
        exchange = Exchange(whole_ms(config.at), config.final_wh, config.initial_wh)
        found[register] = (*found.get(register, ()), exchange)
    return found


def _when(config: ExchangeConfig) -> datetime:
    return config.at
