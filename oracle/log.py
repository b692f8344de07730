"""Log lines on standard error: `time level event key=value ...`, or one JSON object each."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

from oracle.monitor import LOGGED

_LOGGER = logging.getLogger("oracle")


class Format(StrEnum):
    """How a line is written."""

    TEXT = "text"
    JSON = "json"


class _Text(logging.Formatter):
    """Writes for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, and behind it the trace if there is one."""
        parts = [self.formatTime(record), record.levelname.lower(), record.getMessage()]
        parts += [f"{key}={_value(value)}" for key, value in _fields(record).items()]
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return " ".join(parts) + trace


class _Json(logging.Formatter):
    """Writes for machines."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as an object on one line; time is UTC."""
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": at.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def _fields(record: logging.LogRecord) -> Mapping[str, object]:
    fields: Mapping[str, object] = getattr(record, "fields", {})
    return fields


def start(level: str, form: Format = Format.TEXT) -> None:
    """Send log lines of a level and above to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form is Format.JSON else _Text())
    _LOGGER.handlers[:] = [handler, _Count()]
    _LOGGER.setLevel(level.upper())


class _Count(logging.Handler):
    """Counts lines for those who watch."""

    def emit(self, record: logging.LogRecord) -> None:
        """Count a line."""
        if record.levelno >= logging.INFO:
            LOGGED.labels(record.getMessage(), record.levelname.lower()).inc()


def debug(event: str, **fields: object) -> None:
    """Log what only a developer asks for."""
    _LOGGER.debug(event, extra={"fields": fields})


def info(event: str, **fields: object) -> None:
    """Log what is as it should be."""
    _LOGGER.info(event, extra={"fields": fields})


def warning(event: str, **fields: object) -> None:
    """Log what somebody should look at."""
    _LOGGER.warning(event, extra={"fields": fields})


def error(event: str, **fields: object) -> None:
    """Log what keeps the node from doing its duty."""
    _LOGGER.error(event, extra={"fields": fields})


def trace(event: str, **fields: object) -> None:
    """Log an error nobody expected, with its trace behind the line."""
    _LOGGER.error(event, extra={"fields": fields})
    _LOGGER.debug("trace", exc_info=True)


def _value(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if " " in text or '"' in text else text
