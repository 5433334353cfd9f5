"""What is told while it runs: lines for a person, JSON where nobody watches."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

_LOG = logging.getLogger("finetune")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, Any] = getattr(record, "facts", {})
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **facts,
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, Any] = getattr(record, "facts", {})
        told = " ".join(
            f"{name}={value:.5g}" if isinstance(value, float) else f"{name}={value}" for name, value in facts.items()
        )
        return f"{super().format(record)}  {told}".rstrip()


def start(*, rank: int) -> None:
    """Begin to tell; only the first process tells of progress."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Plain("%(levelname).1s %(message)s") if sys.stdout.isatty() else _Json())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    _LOG.setLevel(logging.INFO if rank == 0 else logging.WARNING)


def info(message: str, **facts: Any) -> None:
    """Tell of progress."""
    _LOG.info(message, extra={"facts": facts})


def warning(message: str, **facts: Any) -> None:
    """Tell of what is not as it should be, and does not stop the run."""
    _LOG.warning(message, extra={"facts": facts})


def failed(message: str) -> None:
    """Tell of the error that ends the run."""
    _LOG.exception(message)
