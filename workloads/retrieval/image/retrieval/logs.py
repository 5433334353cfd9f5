"""Log lines: JSON where nobody is watching. What people ask and what documents say is in none of them."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts = " ".join(f"{key}={value}" for key, value in getattr(record, "facts", {}).items())
        return f"{super().format(record)} {facts}".rstrip()


def start_logging() -> None:
    """Write to standard error."""
    handler = logging.StreamHandler()
    plain = sys.stderr.isatty()
    handler.setFormatter(_Plain("%(asctime)s %(levelname)s %(message)s") if plain else _Json())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # what fails there comes as an exception
    for chatty in ("httpx", "opentelemetry"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
