"""``python -m retrieval.serve --config JSON``: answer questions from one retrieval's documents."""

from __future__ import annotations

import sys

import uvicorn

from retrieval.config import ServeConfig, from_arguments
from retrieval.logs import start_logging
from retrieval.service import Service, application


def main(arguments: list[str] | None = None) -> int:
    """Read the configuration, serve until told to stop; answers under way are finished."""
    config = from_arguments(ServeConfig, "Answer questions from documents.", arguments)
    start_logging()
    uvicorn.run(
        application(Service(config)),
        host=config.host,
        port=config.port,
        access_log=False,
        log_config=None,
        limit_concurrency=config.concurrency + 8,  # probes and metrics come on top
        timeout_graceful_shutdown=config.drain_seconds,
        server_header=False,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
