"""All questions at once, none of them for longer than the time that is given."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from typing import Final

from ops.preflight.model import Check, Finding, UnansweredError

WORKERS: Final = 12  # more, and the clouds begin to throttle one caller's describe calls


def run(checks: Sequence[Check], *, timeout_seconds: float, workers: int = WORKERS) -> list[Finding]:
    """Ask everything, and return the answers in the order of the questions.

    What has no answer when the time is over is unknown. The threads are daemons and not a pool's, which Python would
    wait for before it ends: a question that hangs must not hold up the answer to the others.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(checks)):
        waiting.put(number)
    answered: queue.SimpleQueue[tuple[int, list[Finding]]] = queue.SimpleQueue()

    def work() -> None:
        while True:
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            answered.put((number, _ask(checks[number])))

    for _ in range(min(workers, len(checks))):
        threading.Thread(target=work, daemon=True).start()

    findings: dict[int, list[Finding]] = {}
    end = time.monotonic() + timeout_seconds
    while len(findings) < len(checks) and (left := end - time.monotonic()) > 0:
        try:
            number, found = answered.get(timeout=left)
        except queue.Empty:
            break
        findings[number] = found
    late = f"no answer within {timeout_seconds:g} s; raise --timeout"
    return [
        finding
        for number, check in enumerate(checks)
        for finding in findings.get(number) or [check.finding("unknown", late)]
    ]


def _ask(check: Check) -> list[Finding]:
    try:
        found = list(check.ask())
    except UnansweredError as error:
        return [check.finding("unknown", str(error))]
    except Exception as error:  # a defect of one check says nothing about the others, and is no answer
        return [check.finding("unknown", f"the check itself failed: {type(error).__name__}: {error}")]
    return found or [check.finding("unknown", "the check found nothing to say")]
