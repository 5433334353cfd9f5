"""Ports for the servers that tests start: no two workers ever give the same one."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from typing import Final

# Below the ports that the kernel gives to clients, and below those of the sandbox's control planes.
_FIRST: Final = 10_000
_PER_WORKER: Final = 1_000
_WORKERS: Final = 10


def free_port() -> int:
    """A port that nobody listens on, and that no other call gives before all of the worker's were given.

    Asking the kernel for one is not enough: it may give another process the same port before the server has it.

    Raises:
        RuntimeError: All ports of this worker are in use.
    """
    for _ in range(_PER_WORKER):
        port = next(_ports)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"all of {_PER_WORKER} ports are in use")


def _in_turn() -> Iterator[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    offset = random.randrange(_PER_WORKER)  # two runs of the tests on one machine hardly ever meet
    while True:
        yield _FIRST + worker * _PER_WORKER + offset
        offset = (offset + 1) % _PER_WORKER


_ports: Final = _in_turn()
