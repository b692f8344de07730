"""Samples over the years: what is pruned and what never is, backups, and what a kill leaves."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from oracle.cli import app
from oracle.journal import Event, Journal, JournalError
from oracle.meters import keeping, ocmf
from oracle.meters.roster import Meter, Role, Roster
from oracle.meters.sample import Kind, Register, Sample
from oracle.meters.service import MeterService
from oracle.meters.settings import LiveConfig
from oracle.meters.source import Reading
from oracle.meters.store import NEIGHBOURS, SampleStore
from oracle.upkeep import Part, back_up, beside, inspect, prune, restore
from tests import meter_messages as messages
from tests.world import default_schedule

QUARTER_MS = 900_000
DAY = 96
LIVED = 20 * DAY
SCHEDULE = default_schedule()
EPOCH_MS = 1000 * SCHEDULE.epoch_s

WRITE = """
import sys
from pathlib import Path
from oracle.meters.sample import Register, Sample
from oracle.meters.store import SampleStore
store, at_ms = SampleStore(Path(sys.argv[1])), int(sys.argv[2])
for batch in range(10**6):
    samples = [
        Sample(f"m{n}", Register.IMPORT, batch, at_ms + batch, "live", bytes(32)) for n in range(9)
    ]
    store.add(samples, [], 0)
    print(9 * (batch + 1), flush=True)
"""
PRUNE = """
import sys
from pathlib import Path
from oracle.meters.keeping import prune
prune(Path(sys.argv[1]), int(sys.argv[2]))
"""
BACK_UP = """
import sys
from pathlib import Path
from oracle.upkeep import back_up
back_up(*map(Path, sys.argv[1:]))
"""


def sample(quarter: int, wh: int | None = None, meter: str = "home", seconds: int = 0) -> Sample:
    at_ms = EPOCH_MS + QUARTER_MS * quarter + 1000 * seconds
    value_wh = 100 * quarter if wh is None else wh
    return Sample(meter, Register.IMPORT, value_wh, at_ms, "test", bytes(32))


def instants(store: SampleStore) -> list[int]:
    rows = store.db.execute("SELECT at_ms FROM samples ORDER BY at_ms")
    return [(at_ms - EPOCH_MS) // QUARTER_MS for (at_ms,) in rows]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lived") / "journal.sqlite"
    journal = Journal(path)
    journal.belong(market="0xaa", seat=1, period_s=SCHEDULE.length_s, epoch_s=SCHEDULE.epoch_s)
    settled = (
        Event(period, 0, "PeriodSettled", cut_ms(period + 1) // 1000, {"period": period})
        for period in range(LIVED)
    )
    journal.extend(settled, {LIVED: bytes(32)})
    journal.raise_floor(LIVED, LIVED - DAY)
    journal.close()
    return path


@pytest.fixture
def journal(lived: Path, tmp_path: Path) -> Path:
    """A journal that has lived three weeks."""
    return Path(shutil.copy(lived, tmp_path / "journal.sqlite"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "samples.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[SampleStore]:
    """Samples of a meter at every quarter hour of a day."""
    store = SampleStore(path)
    store.add([sample(quarter) for quarter in range(DAY)], [], 0)
    yield store
    store.close()


@contextmanager
def running(program: str, *words: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", program, *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def cut_ms(quarter: int) -> int:
    return EPOCH_MS + QUARTER_MS * quarter


def test_prune__keeps_as_many_of_each_register_as_a_curve_looks_back(
    store: SampleStore, path: Path
) -> None:
    store.add([sample(n, meter="silent") for n in range(2)], [], 0)

    assert keeping.prune(path, cut_ms(50)) == {"samples": 50 - NEIGHBOURS, "proofs": 0}

    assert instants(store) == [0, 1, *range(50 - NEIGHBOURS, DAY)]
    assert keeping.prune(path, cut_ms(10)) == {"samples": 0, "proofs": 0}
    assert store.pruned_before_ms() == cut_ms(50)


def test_sample__sent_again_after_a_prune__neither_comes_back_nor_contradicts(
    store: SampleStore, path: Path
) -> None:
    keeping.prune(path, cut_ms(50))
    kept = instants(store)

    # One that is gone, one that was kept, and a lie about that one.
    added, refused = store.add([sample(10), sample(49), sample(49, 1)], [], 0)

    assert added == 0
    assert [reject.kind for reject in refused] == [Kind.PRUNED] * 3
    assert instants(store) == kept
    (tally,) = store.tallies()
    assert (tally.kind, tally.count, tally.meter) == (Kind.PRUNED, 3, "home")


def test_number__of_a_pruned_sample__is_not_given_again(store: SampleStore, path: Path) -> None:
    roster = Roster([Meter("home", "", 0, Role.CONSUMER, 20_000, 0)], 900)
    config = LiveConfig(store=path)
    service = MeterService(config, roster, SCHEDULE.epoch_s, lambda *_: [])
    # Back-fill: the last to come is the first to go.
    store.add([sample(n, meter="home", seconds=1) for n in range(10)], [], 0)
    (silent,) = service.read(DAY)
    assert not isinstance(silent, Reading)

    assert keeping.prune(path, cut_ms(50))["samples"] > 10
    store.add([sample(DAY), sample(DAY + 1)], [], 0)

    (reading,) = service.read(DAY)
    assert isinstance(reading, Reading)
    assert reading.import_wh == 100


def signed(pagination: str, quarter: int, kwh: str) -> Sample:
    at = datetime.fromtimestamp(cut_ms(quarter) // 1000, UTC)
    text = messages.ocmf(messages.P256, kwh, at, meter="home", pagination=pagination)
    public = messages.public_hex(messages.P256)
    (found,) = ocmf.read(text.encode(), "cp", lambda _: public)
    return found


@pytest.mark.filterwarnings("ignore::pyocmf.SpecWarning")
def test_signed_text__goes_with_the_last_of_its_samples(path: Path) -> None:
    store = SampleStore(path)
    texts = [signed(f"T{n}", n, str(n)) for n in range(20)]
    # Another register holds a sample of an old text, which must stay for its curve.
    pinned = replace(texts[2], register=Register.EXPORT)
    store.add([*texts, pinned], [], 0)

    removed = keeping.prune(path, cut_ms(10))

    assert removed == {"samples": 10 - NEIGHBOURS, "proofs": 10 - NEIGHBOURS - 1}
    there = [n for n in range(20) if store.proof("home", f"T{n}")]
    assert there == [2, *range(10 - NEIGHBOURS, 20)]
    # The old text cannot come back, and a kept number is still spent.
    _, refused = store.add([texts[0], signed("T15", 16, "99")], [], 0)
    assert [reject.kind for reject in refused] == [Kind.PRUNED, Kind.REPLAYED]


def test_backup_and_prune__while_a_node_writes__lose_nothing(
    path: Path, tmp_path: Path, journal: Path
) -> None:
    target = tmp_path / "backup.sqlite"
    store = SampleStore(path)
    store.add([sample(n, meter=f"m{m}") for m in range(9) for n in range(2_000)], [], 0)
    store.add([sample(n, meter="old") for n in range(2_000)], [], 0)
    now_ms = cut_ms(LIVED)
    copies = []
    with running(WRITE, path, now_ms) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline()
        for _ in range(5):
            back_up(journal, target, path)
            kept = inspect(target)[beside(target)]
            assert isinstance(kept, keeping.Samples)
            copies.append(kept.samples)
        begin = time.monotonic()
        keeping.prune(path, cut_ms(1_500))
        took_s = time.monotonic() - begin
        back_up(journal, target, path)
        pruned = inspect(target)[beside(target)]
        writer.send_signal(signal.SIGKILL)
        told = int(writer.communicate()[0].split()[-1])

    assert copies == sorted(set(copies))
    assert copies[0] > 10 * 2_000
    assert isinstance(pruned, keeping.Samples)
    assert pruned.pruned_before_ms == cut_ms(1_500)
    of_source = "SELECT count(*) FROM samples JOIN names ON id = source WHERE name = 'live'"
    (live,) = store.db.execute(of_source).fetchone()
    assert live >= told
    assert store.count() - live == 10 * (500 + NEIGHBOURS)
    assert took_s < 30


def test_prune__killed_in_the_middle__leaves_good_samples_and_goes_on(path: Path) -> None:
    store = SampleStore(path)
    store.add([sample(n, meter=f"m{m}") for m in range(20) for n in range(2_000)], [], 0)
    before = curves(store, range(1_500, 1_510), range(20))
    with running(PRUNE, path, cut_ms(1_500)) as process:
        while store.count() == 40_000:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()

    left = store.count()
    assert isinstance(keeping.inspect(path), keeping.Samples)
    assert left > 20 * (500 + NEIGHBOURS), "the prune was over before it was killed"
    assert curves(store, range(1_500, 1_510), range(20)) == before
    assert store.add([sample(3, meter="m1")], [], 0)[1][0].kind is Kind.PRUNED
    keeping.prune(path, cut_ms(1_500))
    assert store.count() == 20 * (500 + NEIGHBOURS)
    assert curves(store, range(1_500, 1_510), range(20)) == before


def curves(store: SampleStore, quarters: Sequence[int], meters: Sequence[int]) -> list[object]:
    return [
        list(store.window(f"m{m}", Register.IMPORT, cut_ms(q), cut_ms(q + 1), cumulative=True))
        for q in quarters
        for m in meters
    ]


def test_prune__of_a_node__keeps_the_samples_of_the_periods_it_keeps(
    path: Path, journal: Path
) -> None:
    store = SampleStore(path)
    store.add([sample(n) for n in range(LIVED)], [], 0)
    live = LiveConfig(store=path, bridge_s=3_600)

    removed = prune(journal, 10, live)

    opened = Journal(journal)
    first = int(opened.about("pruned_before") or 0)
    opened.close()
    reach = 3_600 // 900 + 1
    assert LIVED - 11 * DAY < first <= LIVED - 10 * DAY
    assert instants(store)[0] == first - reach - NEIGHBOURS
    assert removed["samples"] == first - reach - NEIGHBOURS
    assert prune(journal, 10, live) == {"samples": 0, "proofs": 0}


def test_prune__of_a_journal_that_knows_no_epoch__says_what_to_do(
    path: Path, journal: Path
) -> None:
    opened = Journal(journal)
    opened.note(epoch_s=None)
    opened.close()
    SampleStore(path).close()
    with pytest.raises(JournalError, match="start the node once"):
        prune(journal, 10, LiveConfig(store=path))


def test_backup__killed_in_the_middle__both_files_are_as_they_were(
    path: Path, tmp_path: Path, journal: Path
) -> None:
    target = tmp_path / "backup.sqlite"
    store = SampleStore(path)
    store.add([sample(n) for n in range(100)], [], 0)
    before = back_up(journal, target, path)
    big = [replace(sample(n), device="x" * 2_000) for n in range(100, 10_000)]
    store.add(big, [], 0)
    part = beside(target).with_name(beside(target).name + ".part")
    with running(BACK_UP, journal, target, path) as process:
        while not part.exists() or part.stat().st_size < 1_000_000:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()

    assert part.exists()
    assert inspect(target) == before
    after = back_up(journal, target, path)[beside(target)]
    assert isinstance(after, keeping.Samples)
    assert after.samples == 10_000
    assert not part.exists()


def test_restore__of_both__puts_the_old_ones_aside(
    store: SampleStore, path: Path, tmp_path: Path, journal: Path
) -> None:
    target = tmp_path / "backup.sqlite"
    before = back_up(journal, target, path)
    store.add([sample(DAY + 1)], [], 0)
    store.close()
    journal.write_bytes(b"\xff" * 8_192)

    found = restore(target, journal, path)

    assert found == {path: before[beside(target)], journal: before[target]}
    assert SampleStore(path).count() == DAY
    assert SampleStore(path.with_name(path.name + ".replaced")).count() == DAY + 1
    assert journal.with_name(journal.name + ".replaced").read_bytes() == b"\xff" * 8_192


def test_restore__of_one__leaves_the_other(
    store: SampleStore, path: Path, tmp_path: Path, journal: Path
) -> None:
    target = tmp_path / "backup.sqlite"
    back_up(journal, target, path)
    store.close()
    path.write_bytes(b"\xff" * 8_192)
    with pytest.raises(JournalError, match="cannot be opened"):
        inspect(path)

    assert set(restore(target, journal, path, Part.SAMPLES)) == {path}
    assert not journal.with_name(journal.name + ".replaced").exists()
    assert SampleStore(path).count() == DAY

    assert set(restore(target, journal, path, Part.JOURNAL)) == {journal}
    beside(target).unlink()
    assert set(restore(target, journal, path)) == {journal}
    with pytest.raises(JournalError, match="there is no file"):
        restore(target, journal, path, Part.SAMPLES)
    with pytest.raises(JournalError, match="no live meters"):
        restore(target, journal, None, Part.SAMPLES)


def test_check__samples_with_a_damaged_page__says_so(
    store: SampleStore, tmp_path: Path, journal: Path
) -> None:
    target = tmp_path / "backup.sqlite"
    back_up(journal, target, store.path)
    kept = beside(target)
    with kept.open("r+b") as file:
        file.seek(kept.stat().st_size // 2 // 4_096 * 4_096)
        file.write(b"\xff" * 4_096)
    for file_ in (target, kept):
        with pytest.raises(JournalError, match=r"\.samples is damaged"):
            inspect(file_)


CONFIG = """
rpc_url = "http://127.0.0.1:1"
deployment = "deployment.json"
seat = 1
journal = "journal.sqlite"
[key]
env = "SEAT_KEY"
[meters]
roster = "meters.csv"
[meters.live]
store = "samples.sqlite"
"""


@pytest.mark.usefixtures("journal")
def test_commands__of_a_node_with_live_meters__cover_its_samples(
    store: SampleStore, tmp_path: Path
) -> None:
    config, target = tmp_path / "node.toml", tmp_path / "backup.sqlite"
    config.write_text(CONFIG)
    store.add([sample(n) for n in range(DAY, LIVED)], [], 0)

    def run(*words: object) -> str:
        result = CliRunner().invoke(app, [*map(str, words)])
        assert result.exit_code == 0, result.output
        return result.output.replace("\n", " ")

    told = run("backup", target, "-c", config)
    assert f"{target}: good; seat 1" in told
    assert f"{target}.samples: good; {LIVED} samples of 1 meters" in told
    assert run("check", target) == told
    assert f"{tmp_path}/samples.sqlite: good" in run("check", tmp_path / "samples.sqlite")
    assert "samples" in run("prune", "-c", config, "--keep-days", 10)
    assert store.count() < LIVED
    store.close()
    told = run("restore", target, "-c", config, "--only", "samples")
    assert told.startswith(f"{tmp_path}/samples.sqlite: good; {LIVED} samples")
    beside(target).unlink()
    assert "left as it is" in run("restore", target, "-c", config)
