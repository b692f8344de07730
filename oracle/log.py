"""Log lines as `time level event key=value ...` on standard error."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping

from oracle.monitor import LOGGED

_LOGGER = logging.getLogger("oracle")


class _Lines(logging.Formatter):
    """Writes one line per record, without a trace unless asked for."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        fields: Mapping[str, object] = getattr(record, "fields", {})
        parts = [self.formatTime(record), record.levelname.lower(), record.getMessage()]
        parts += [f"{key}={_value(value)}" for key, value in fields.items()]
        return " ".join(parts)


def start(level: str) -> None:
    """Send log lines of a level and above to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
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
