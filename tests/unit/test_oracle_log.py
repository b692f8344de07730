"""How log lines are written."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from oracle import log


def test_text__fields__stand_behind_the_event(capsys: pytest.CaptureFixture[str]) -> None:
    log.start("info")
    log.warning("votes", period=3, reason='node 1 is "2"')
    log.debug("nobody asked")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(r'warning votes period=3 reason="node 1 is \"2\""')


def test_json__each_line_an_object_with_time_level_event_and_fields(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.start("info", log.Format.JSON)
    log.warning("votes", period=3, reason="two\nlines", problem=ValueError("bad"))
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    at = datetime.fromisoformat(told.pop("time"))
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
    assert told == {
        "level": "warning",
        "event": "votes",
        "period": 3,
        "reason": "two\nlines",
        "problem": "bad",
    }


@pytest.mark.parametrize("form", log.Format)
def test_trace__at_level_debug__shows_where_it_happened(
    capsys: pytest.CaptureFixture[str], form: log.Format
) -> None:
    log.start("debug", form)
    try:
        raise RuntimeError("a bug")
    except RuntimeError as exc:
        log.trace("duty failed", problem=exc)
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "test_oracle_log.py" in said
    log.start("info", form)
    try:
        raise RuntimeError("a bug")
    except RuntimeError as exc:
        log.trace("duty failed", problem=exc)
    assert "Traceback" not in capsys.readouterr().err
