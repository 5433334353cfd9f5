"""``python -m preprocess --config '<JSON>'``: make one dataset.

Exit codes: 0 the dataset is there; 2 the configuration cannot work; 3 a rule of the dataset refused the raw data; 1
anything else. Credentials come from the environment. The last line of the output is the URL of the dataset.
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import sys
from collections.abc import Sequence

from preprocess import config as configuration
from preprocess.errors import ConfigurationError, RefusedError


class _Lines(logging.Formatter):
    """One line for each message: JSON where nobody looks at it."""

    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, object] = getattr(record, "facts", {})
        said = record.getMessage() + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")
        if sys.stderr.isatty():
            return " ".join([said, *(f"{key}={value}" for key, value in facts.items())])
        at = datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds")
        return json.dumps({"time": at, "level": record.levelname.lower(), "message": said, **facts}, default=str)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and say how it went."""
    parser = argparse.ArgumentParser(
        prog="preprocess", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, metavar="JSON", help="what is made of what; no unknown keys")
    chosen = parser.parse_args(arguments)
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("preprocess").setLevel(logging.INFO)
    log = logging.getLogger("preprocess")
    try:
        config = configuration.read(chosen.config)
        # After the arguments: these take seconds to load.
        from preprocess import pipeline, runner  # noqa: PLC0415

        made = pipeline.run(config, runner.of(config))
    except ConfigurationError as error:
        log.error("the configuration cannot work:\n%s", error)
        return 2
    except RefusedError as error:
        log.error("refused: %s", error)
        return 3
    print(made.url)
    return 0


if __name__ == "__main__":
    sys.exit(main())
