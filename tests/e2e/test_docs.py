"""What the documents say: snippets run as written, links lead somewhere, tables are complete."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from typer.testing import CliRunner

from market.cli import app
from market.prices import TradingPrices
from oracle.config import NodeConfig, load_config
from oracle.meters import settings
from oracle.meters.csv_mapping import CsvMapping
from oracle.meters.messages import read_message
from oracle.meters.sample import Kind
from oracle.prices.formats import read_csv, read_json, read_spot
from oracle.prices.settings import CsvPrices, HttpPrices, TariffPrices
from scripts.simulate.scenario import Scenario, load_scenario
from tests.story import A, play_story
from tests.world import World, default_schedule

ROOT = Path(__file__).resolve().parents[2]
OPERATING = ROOT / "docs" / "operating.md"
PRICES = ROOT / "docs" / "prices.md"
METERS = ROOT / "docs" / "meters.md"
SCENARIOS = ROOT / "docs" / "scenarios.md"
SDK = ROOT / "docs" / "sdk.md"
AUDITING = ROOT / "docs" / "auditing.md"
README = ROOT / "README.md"
URL = "http://127.0.0.1:8545"
DOCUMENTS = [README, ROOT / "SPEC.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


def table(path: Path, heading: str) -> dict[str, list[str]]:
    """Return the rows of the table with a heading, by the code words of their first column."""
    lines = path.read_text().partition(f"| {heading} |")[2].splitlines()[2:]
    rows: dict[str, list[str]] = {}
    for line in lines:
        if not line.startswith("|"):
            break
        first, *others = [cell.strip() for cell in line.strip("|").split("|")]
        rows[first.strip("`")] = others
    return rows


@pytest.fixture
def at_home(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The paper's story settled, and the reader in a folder with the deployment file."""
    play_story(world)
    shutil.copy(world.path, tmp_path / "deployment.json")
    monkeypatch.chdir(tmp_path)
    return world


def execute(snippet: str, world: World) -> dict[str, object]:
    names: dict[str, object] = {}
    assert URL in snippet
    exec(compile(snippet.replace(URL, world.url), "snippet", "exec"), names)  # noqa: S102
    return names


def test_readme__trade__runs_as_written_and_stands_in_the_book(
    at_home: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_KEY", at_home.owner(A).key.hex())
    (snippet,) = blocks(README, "python")
    period = execute(snippet, at_home)["period"]

    assert isinstance(period, int)
    assert capsys.readouterr().out == f"period {period}: open\n"
    live = at_home.history.book(period).by_node()
    assert {node: [r.sells for r in records] for node, records in live.items()} == {
        A: [False, True]
    }


def test_sdk__snippets__trade_as_written(
    at_home: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_KEY", at_home.owner(A).key.hex())
    names = execute("".join(blocks(SDK, "python")), at_home)
    period = names["period"]

    assert isinstance(period, int)
    assert capsys.readouterr().out == "open\n"
    live = at_home.history.book(period).by_node()
    assert {node: [r.sells for r in records] for node, records in live.items()} == {A: [True]}


def test_auditing__python__prints_every_line_of_every_bill(
    at_home: World, capsys: pytest.CaptureFixture[str]
) -> None:
    (snippet,) = blocks(AUDITING, "python")
    execute(snippet, at_home)
    printed = capsys.readouterr().out.splitlines()

    assert len(printed) == 3 * 7 + 1
    assert "1 compensation 0 2000 0 1071800" in printed
    assert "1 net 3307200" in printed
    assert printed[-1] == "grid company 0"


@pytest.mark.parametrize("path", [README, AUDITING])
def test_bill__command_of_the_documents__prints_what_they_show(at_home: World, path: Path) -> None:
    (line,) = [line for line in path.read_text().splitlines() if "python -m market bill" in line]
    arguments = shlex.split(line.replace(URL, at_home.url))
    result = CliRunner().invoke(app, arguments[3:])

    assert result.exit_code == 0, result.output
    assert f"node {A}, period 42" in result.output
    (shown,) = blocks(AUDITING, "")[:1]
    printed = [line.split() for line in result.output.splitlines()]
    assert printed == [line.split() for line in shown.splitlines()]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links__lead_to_files_that_are_there(path: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
        if not link.startswith(("http://", "https://")):
            assert (path.parent / link).exists(), f"{path.name} links to {link}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_named_tests__are_there(path: Path) -> None:
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", path.read_text()):
        assert f"def {name}(" in (ROOT / file).read_text(), f"{path.name} names {file}::{name}"


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield every key of a table, those of its tables included, with its default."""
    for name, field in model.model_fields.items():
        # A table that may be left out is a table.
        kinds = [k for k in get_args(field.annotation) if k is not type(None)]
        inner = kinds[0] if len(kinds) == 1 else field.annotation
        if prefix == "" and name == "prices":
            yield "prices.source", "benchmark"
            for kind in (CsvPrices, HttpPrices, TariffPrices):
                yield from keys(kind, "prices.")
        elif isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from keys(inner, f"{prefix}{name}.")
        elif f"{prefix}{name}" != "prices.source":
            default = None if field.default is PydanticUndefined else field.default
            yield f"{prefix}{name}", default


def test_operating__table_of_keys__is_that_of_the_code() -> None:
    told = {key: cells[0].strip("`") for key, cells in table(OPERATING, "key").items()}
    written = {"None": "", "()": "none"}
    known = {key: written.get(str(default), str(default)) for key, default in keys(NodeConfig)}
    known["report.patience_s"] = "half a round"
    known["report.tolerance_wh"] = "20 or 0"

    assert told == known


def test_operating__example__is_a_good_configuration(tmp_path: Path) -> None:
    (example,) = blocks(OPERATING, "toml")
    path = tmp_path / "seat0.toml"
    path.write_text(example)

    config = load_config(path)

    assert config.journal == tmp_path / "seat0.sqlite"
    assert isinstance(config.prices, TariffPrices)
    assert tomllib.loads(example)["key"] == {"env": "SUBGRID_SEAT_KEY"}


def test_prices__examples__are_read_as_they_say() -> None:
    (rows,), (message,) = blocks(PRICES, "csv"), blocks(PRICES, "json")
    day, spot = (
        HttpPrices.model_validate(tomllib.loads(text)["prices"]) for text in blocks(PRICES, "toml")
    )
    clock = default_schedule(epoch_s=1_790_000_100)
    usual = TradingPrices(329_700, 437_900, 535_900)

    assert read_csv(rows.encode(), "it").prices == {42: usual, 43: usual}
    found = read_json(message.encode(), clock)
    assert (list(found.prices.values()), found.published_s) == ([usual], 1_795_174_200)
    assert day.header_env is not None
    assert spot.spot is not None
    interval = '{"start_timestamp": 1800000000000, "marketprice": 85.3}'
    assert f"[{interval}, ...]" in PRICES.read_text()
    answer = f'{{"data": [{interval}]}}'.encode()
    asked = TradingPrices(499_005, 665_340, 811_714)
    assert list(read_spot(answer, spot.spot, clock).prices.values()) == [asked] * 4


def test_scenarios__table_of_keys__is_that_of_the_code() -> None:
    told = {key: cells[0].strip("`") for key, cells in table(SCENARIOS, "key").items()}
    assert told == dict(scenario_keys(Scenario))


def scenario_keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield every key with its default as TOML writes it, empty if there is none."""
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        tables = [k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)]
        if tables:
            brackets = "[]" if get_origin(field.annotation) is tuple else ""
            yield from scenario_keys(tables[0], f"{prefix}{name}{brackets}.")
        elif field.is_required() or field.default is None or field.default_factory:
            yield f"{prefix}{name}", ""
        else:
            default = field.default
            if isinstance(default, tuple):
                default = list(default)
            yield f"{prefix}{name}", str(getattr(default, "value", default)).replace("True", "true")


def test_scenarios__example__is_a_good_scenario(tmp_path: Path) -> None:
    (example,) = blocks(SCENARIOS, "toml")
    path = tmp_path / "scenario.toml"
    path.write_text(example)

    assert load_scenario(path).days == 2


def alarms() -> Iterator[str]:
    """Yield the first word of every log call above info in the node's code."""
    for path in (ROOT / "oracle").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or not call.args:
                continue
            loud = isinstance(call.func, ast.Attribute) and call.func.attr in LOUD
            # A level chosen in the line before.
            chosen = isinstance(call.func, ast.Name) and call.func.id == "tell"
            first = call.args[0]
            if (loud or chosen) and isinstance(first, ast.Constant):
                yield str(first.value)


LOUD = ("warning", "error", "trace")


def test_operating__table_of_alarms__has_each_and_no_other() -> None:
    assert set(table(OPERATING, "event")) == set(alarms())


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("live", settings.LiveConfig),
        ("meter", settings.MeterConfig),
        ("exchange", settings.ExchangeConfig),
        ("mqtt", settings.MqttConfig),
        ("topic", settings.TopicConfig),
        ("sunspec", settings.SunspecConfig),
        ("dsmr", settings.DsmrConfig),
        ("mapping", CsvMapping),
    ],
)
def test_meters__tables_of_keys__are_those_of_the_code(
    heading: str, model: type[BaseModel]
) -> None:
    told = {key: cells[0].strip("`") for key, cells in table(METERS, heading).items()}
    written = {"None": "", "()": "none"}
    known = {
        name: ""
        if field.default is PydanticUndefined
        else written.get(str(field.default), str(field.default))
        for name, field in model.model_fields.items()
        if name != "kind"
    }
    if heading == "live":
        known["usual_gap_s"] = "a period"

    assert told == known


def test_meters__example__is_a_good_configuration() -> None:
    (example,) = blocks(METERS, "toml")

    live = settings.LiveConfig.model_validate(tomllib.loads(example)["meters"]["live"])

    (source,) = live.sources
    assert isinstance(source, settings.MqttConfig)
    raw = b'{"at": 1800000000, "energy": {"in": 1234.5, "out": 0.2}}'
    assert raw.decode() in METERS.read_text()
    taken, fed = read_message(source.topics, "meters/home-1/energy", raw, "mqtt", 0, lambda _: None)
    assert (taken.meter, taken.value_wh, fed.value_wh) == ("home-1", 1_234_500, 200)


def test_meters__kinds_of_refusals__are_those_of_the_code() -> None:
    assert set(table(METERS, "kind")) == set(Kind)
