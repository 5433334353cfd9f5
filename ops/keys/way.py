"""The way to the model gateway: an address that was given, or a port that kubectl forwards."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ops.stack import StackError

# Of components/platform/model_gateway/names.py; a test compares them. Importing them would load every SDK for --help.
NAME: Final = "model-gateway"
NAMESPACE: Final = "mlops-serving"
PORT: Final = 4000

_PATIENCE_SECONDS: Final = 30
_FORWARDING: Final = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")


@contextmanager
def forwarded(kubeconfig: Path, namespace: str = NAMESPACE, service: str = NAME, port: int = PORT) -> Generator[str]:
    """An address of this machine that leads to a Service, for as long as it is needed.

    Raises:
        StackError: There is no kubectl, or it cannot reach a pod.
    """
    command = [os.environ.get("KUBECTL", "kubectl"), "-n", namespace, "port-forward", f"service/{service}", f":{port}"]
    try:
        process = subprocess.Popen(
            command,
            env={**os.environ, "KUBECONFIG": str(kubeconfig)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except FileNotFoundError:
        raise StackError("there is no `kubectl` on PATH; install it, or name one in KUBECTL") from None
    try:
        yield f"http://127.0.0.1:{_chosen(process, f'{namespace}/{service}')}"
    finally:
        process.terminate()
        process.wait(timeout=10)


def _chosen(process: subprocess.Popen[bytes], what: str) -> str:
    """The port, once kubectl has said it."""
    assert process.stdout
    assert process.stderr
    output, deadline = b"", time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if not select.select([process.stdout], [], [], 0.2)[0]:
            continue
        if not (piece := os.read(process.stdout.fileno(), 4096)):
            break
        output += piece
        if found := _FORWARDING.search(output.decode(errors="replace")):
            return found[1]
    process.terminate()
    said = process.stderr.read().decode(errors="replace").strip()
    raise StackError(f"no port of {what} could be forwarded: {said or 'kubectl says nothing'}")
