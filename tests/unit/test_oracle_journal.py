"""The journal: one word a round, corrections beside what they correct, blocks that go again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from market.messages import Proposal, Topic
from oracle.journal import Event, Journal, JournalError, SignedVote, Transaction
from oracle.meters.source import Quality, Reading


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    journal = Journal(path)
    yield journal
    journal.close()


def proposal(digest: int, round_: int = 0) -> Proposal:
    return Proposal(Topic.REPORT, 7, 1, round_, digest.to_bytes(32, "big"))


def vote(digest: int, *, support: bool) -> SignedVote:
    return SignedVote(digest.to_bytes(32, "big"), support, bytes(65), "because")


def reading(import_wh: int, meter: str = "m") -> Reading:
    return Reading(meter, 7, import_wh, 0, Quality.MEASURED, "file:1")


def test_vote__second_in_a_round__returns_the_first(journal: Journal) -> None:
    first = vote(1, support=True)
    assert journal.keep_vote(proposal(1), first) == first
    assert journal.keep_vote(proposal(1), vote(1, support=False)) == first
    assert journal.keep_vote(proposal(2), vote(2, support=True)) == first
    other = vote(2, support=False)
    assert journal.keep_vote(proposal(2, round_=1), other) == other


def test_proposal__second_in_a_round__returns_the_first(journal: Journal) -> None:
    assert journal.keep_proposal(Topic.REPORT, 7, 1, 0, "a") == "a"
    assert journal.keep_proposal(Topic.REPORT, 7, 1, 0, "b") == "a"
    assert journal.keep_proposal(Topic.REPORT, 7, 1, 1, "b") == "b"


def test_readings__corrected__the_last_counts_and_survives_a_reopening(
    journal: Journal, path: Path
) -> None:
    journal.add_readings([reading(5), reading(6, "n")], now_s=1)
    journal.add_readings([reading(9)], now_s=2)
    assert Journal(path, read_only=True).readings(7) == {"m": (9, 0), "n": (6, 0)}


def test_atomic__fails_inside__leaves_nothing(journal: Journal) -> None:
    def fail() -> None:
        with journal.atomic():
            journal.add_readings([reading(5)], now_s=1)
            journal.keep_vote(proposal(1), vote(1, support=True))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert journal.readings(7) == {}
    assert journal.vote(proposal(1)) is None


def test_rewind__forgets_events_and_reopens_transactions(journal: Journal) -> None:
    args = {"period": 3, "buckets": (b"\x01", b""), "void": False}
    events = [Event(number, 0, "Cleared", 10 * number, args) for number in (1, 2)]
    journal.extend(events, {number: bytes([number]) * 32 for number in (1, 2)})
    tx = Transaction(b"h" * 32, "clear 3", 0, b"raw")
    journal.add_transaction(tx)
    tx.state, tx.block = "mined", 2
    journal.mark_transaction(tx)
    assert journal.open_transactions() == []
    assert list(journal.events()) == events

    journal.rewind(1)

    assert list(journal.events()) == events[:1]
    assert journal.cursor() == (1, bytes([1]) * 32)
    assert [open_.hash for open_ in journal.open_transactions()] == [tx.hash]


def test_belong__another_market__names_both_and_what_to_do(journal: Journal) -> None:
    journal.belong(market="0xaa", seat=1)
    journal.belong(market="0xaa", seat=1)
    with pytest.raises(JournalError, match=r"0xaa.*0xbb.*new journal"):
        journal.belong(market="0xbb", seat=1)
    with pytest.raises(JournalError, match="seat 1"):
        journal.belong(seat=2)


@pytest.mark.parametrize("content", [b"not a database, but long enough to be read as one" * 40])
def test_open__not_a_journal__says_so(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal(path)


def test_open__read_only_without_file__says_so(path: Path) -> None:
    with pytest.raises(JournalError, match="start the node once"):
        Journal(path, read_only=True)
