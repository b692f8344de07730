"""A journal's upkeep: what is pruned, that a backup is whole, and what a restored one forgets."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from market.messages import Proposal, Topic
from oracle.journal import Journal, JournalError, SignedVote, Transaction
from oracle.meters.source import Quality, Reading
from oracle.upkeep import BATCH_ROWS, Contents, Found, back_up, inspect, prune, restore, sole_use
from tests.paper import BLOCKS_PER_PERIOD, PaperNode

DAY = 96
WEEK = 7 * DAY
LIVED = 20 * DAY
BACK_UP = """
import sys
from pathlib import Path
from oracle.upkeep import back_up
back_up(*map(Path, sys.argv[1:]))
"""


def fill(journal: Journal, periods: int) -> None:
    """Record of each period a reading, a vote and a transaction."""
    with journal.atomic():
        for period in range(periods):
            journal.add_readings([Reading("m", period, 1, 2, Quality.MEASURED, "f")], now_s=0)
            proposal = Proposal(Topic.REPORT, period, 1, 0, bytes(32))
            journal.keep_vote(proposal, SignedVote(bytes(32), True, bytes(65), ""))
            tx = Transaction(period.to_bytes(32, "big"), f"settle {period}", period, b"raw")
            journal.add_transaction(tx)
            tx.state, tx.block = "mined", period * BLOCKS_PER_PERIOD + 5
            journal.mark_transaction(tx)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lived") / "journal.sqlite"
    node = PaperNode(path, nodes=2)
    node.journal.belong(market="0xaa", seat=1, period_s=900)
    node.live(LIVED)
    fill(node.journal, LIVED)
    node.journal.close()
    return path


@pytest.fixture
def path(lived: Path, tmp_path: Path) -> Path:
    """A journal that has lived three weeks."""
    return Path(shutil.copy(lived, tmp_path / "journal.sqlite"))


def only(found: Found) -> Contents:
    (contents,) = found.values()
    assert isinstance(contents, Contents)
    return contents


def oldest(path: Path) -> dict[str, int]:
    with sqlite3.connect(path) as db:
        tables = ("readings", "votes", "events")
        found = {t: db.execute(f"SELECT min(period) FROM {t}").fetchone()[0] for t in tables}
        found["nonce"] = db.execute("SELECT min(nonce) FROM transactions").fetchone()[0]
    return found


def test_prune__old_periods__are_gone_and_the_node_goes_on(path: Path) -> None:
    removed = prune(path, keep_days=10)

    kept = oldest(path)
    assert len(set(kept.values())) == 1
    assert LIVED - 11 * DAY < kept["events"] <= LIVED - 10 * DAY
    assert removed["readings"] == kept["readings"]
    assert prune(path, keep_days=10) == {}
    again = PaperNode(path, nodes=2)
    again.live(LIVED + 1)
    assert again.follower.view.period(LIVED).settled_version == 1


def test_prune__few_days__keeps_a_week_before_what_can_still_happen(path: Path) -> None:
    with sqlite3.connect(path) as db:
        (floor,) = db.execute("SELECT max(period) FROM floors").fetchone()
    prune(path, keep_days=8)
    assert oldest(path)["readings"] <= floor - WEEK
    with pytest.raises(JournalError, match="7 days are too few"):
        prune(path, keep_days=7)


def test_prune__open_transaction__stays(path: Path) -> None:
    journal = Journal(path)
    journal.add_transaction(Transaction(b"\xff" * 32, "settle 1", 1, b"raw"))
    prune(path, keep_days=8)
    assert [tx.hash for tx in journal.open_transactions()] == [b"\xff" * 32]
    journal.close()


def test_prune__more_than_a_batch__all_goes(path: Path) -> None:
    journal = Journal(path)
    rows = [Reading(f"m{i}", 3, 1, 2, Quality.MEASURED, "f") for i in range(2 * BATCH_ROWS)]
    journal.add_readings(rows, now_s=0)
    journal.close()
    assert prune(path, keep_days=10)["readings"] > 2 * BATCH_ROWS
    assert oldest(path)["readings"] > 3


def test_rewind__to_where_was_pruned__follows_anew(path: Path) -> None:
    prune(path, keep_days=10)
    journal = Journal(path)
    journal.rewind(5 * BLOCKS_PER_PERIOD)
    assert journal.cursor() is None
    assert list(journal.events()) == []
    assert journal.about("pruned_before") is None
    journal.close()


def test_backup__node_writing__is_whole_and_as_of_one_instant(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "backup.sqlite"
    writer = Journal(path)
    writer.add_readings([Reading("late", 9, 1, 2, Quality.MEASURED, "f")], now_s=0)
    found = back_up(path, target)
    contents = only(found)
    writer.close()

    assert (contents.market, contents.seat) == ("0xaa", "1")
    assert contents.readings == LIVED + 1
    assert found == inspect(target)
    assert [file.name for file in tmp_path.glob("backup*")] == ["backup.sqlite"]


def test_backup__killed_in_the_middle__the_one_before_is_as_it_was(
    path: Path, tmp_path: Path
) -> None:
    target, part = tmp_path / "backup.sqlite", tmp_path / "backup.sqlite.part"
    journal = Journal(path)
    before = back_up(path, target)
    with journal.atomic():
        big = ((f"m{i}", 9, "x" * 4_000) for i in range(50_000))
        journal.db.executemany(
            "INSERT INTO readings (meter, period, import_wh, export_wh, source, read_at) "
            "VALUES (?, ?, 1, 2, ?, 0)",
            big,
        )
    journal.close()
    command = [sys.executable, "-c", BACK_UP, str(path), str(target)]
    process = subprocess.Popen(command)
    while not part.exists() or part.stat().st_size < 1_000_000:
        assert process.poll() is None
        os.sched_yield()
    process.send_signal(signal.SIGKILL)
    process.wait()

    assert part.exists()
    assert inspect(target) == before
    assert only(back_up(path, target)).readings == only(before).readings + 50_000
    assert not part.exists()


def test_backup__folder_missing__says_what_to_do(path: Path, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="cannot be written"):
        back_up(path, tmp_path / "nowhere" / "backup.sqlite")


def test_check__damaged_page__says_so(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "backup.sqlite"
    back_up(path, target)
    with target.open("r+b") as file:
        file.seek(target.stat().st_size // 2 // 4_096 * 4_096)
        file.write(b"\xff" * 4_096)
    with pytest.raises(JournalError, match="is damaged"):
        inspect(target)


def test_restore__over_a_damaged_journal__puts_it_aside(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "backup.sqlite"
    journal = Journal(path)
    journal.note(since_block=5, since_at=6, halted="x")
    journal.close()
    before = only(back_up(path, target))
    path.write_bytes(b"\xff" * 8_192)

    assert only(restore(target, path)) == before

    restored = Journal(path)
    assert restored.about("market") == "0xaa"
    assert [restored.about(key) for key in ("since_block", "since_at", "halted")] == [None] * 3
    restored.close()
    assert path.with_name(path.name + ".replaced").read_bytes() == b"\xff" * 8_192


def test_restore__node_running__keeps_away(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "backup.sqlite"
    back_up(path, target)
    with sole_use(path), pytest.raises(JournalError, match="in use by another node"):
        restore(target, path)
