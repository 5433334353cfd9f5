"""Send a real request to a model and judge the answer. It runs in a pod, with nothing but Python's own library.

``python3 smoke_pod.py smoke.json``, with the gateway's key in ``GATEWAY_KEY``. It says what it did, a line each, and
ends with 1 where an answer is wrong, late or missing.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PAUSE_SECONDS = 5
_MEASURED = 3
_MAX_TOKENS = 64


class FailedError(Exception):
    """The model does not do what was declared."""


class Endpoint:
    """Where a model is asked.

    Attributes:
        title: For the log.
    """

    def __init__(self, title: str, url: str, model: str, key: str = "") -> None:
        self.title = title
        self._url, self._model, self._key = f"{url.rstrip('/')}/v1/chat/completions", model, key

    def ask(self, prompt: str, timeout: float) -> str:
        """The model's answer.

        Raises:
            OSError: It cannot be reached, or answers with an error.
            FailedError: Its answer has no text.
        """
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": _MAX_TOKENS,
            "temperature": 0,
        }
        headers = {"content-type": "application/json"}
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
            body["cache"] = {"no-cache": True}  # an answer that the gateway has kept says nothing of the model
        request = urllib.request.Request(self._url, data=json.dumps(body).encode(), headers=headers)
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            document = json.load(answer)
        try:
            text: str | None = document["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            raise FailedError(f"{self.title}: no text in the answer") from None
        return text or ""


def woken(endpoint: Endpoint, prompt: str, seconds: float, clock: Callable[[], float] = time.monotonic) -> str:
    """The first answer, waiting for servers as long as a cold start may take.

    What cannot be reached yet, and 429 and 5xx, may be a server that is starting; anything else will not get better.
    """
    end = clock() + seconds
    last = "no answer"
    while (left := end - clock()) > 0:
        try:
            return endpoint.ask(prompt, left)
        except urllib.error.HTTPError as error:
            last = f"HTTP {error.code}"
            error.close()
            if error.code != 429 and error.code < 500:
                raise FailedError(f"{endpoint.title}: refused with {last}") from None
        except OSError as error:
            last = type(error).__name__
        time.sleep(min(_PAUSE_SECONDS, max(0.0, end - clock())))
    raise FailedError(
        f"{endpoint.title}: no answer within {seconds:g} s, the longest that a cold start may take; last: {last}"
    )


def judged(endpoint: Endpoint, prompt: str, expected: str, p99_seconds: float) -> float:
    """Ask again, now that there is a server, and judge each answer; the slowest in seconds.

    Raises:
        FailedError: An answer is wrong or late.
    """
    slowest = 0.0
    for _ in range(_MEASURED):
        start = time.monotonic()
        try:
            text = endpoint.ask(prompt, max(4 * p99_seconds, 30))
        except OSError as error:
            raise FailedError(f"{endpoint.title}: {error}") from None
        took = time.monotonic() - start
        slowest = max(slowest, took)
        if not re.search(expected, text, re.IGNORECASE):
            raise FailedError(f"{endpoint.title}: the answer does not match {expected!r}: {text[:200]!r}")
    if slowest > p99_seconds:
        raise FailedError(
            f"{endpoint.title}: the slowest of {_MEASURED} answers took {slowest:.2f} s; "
            f"objective.p99Seconds is {p99_seconds:g}"
        )
    return slowest


def run(wanted: dict[str, Any], key: str) -> int:
    """Every server first, then the gateway; the number of failures."""
    endpoints = [Endpoint(f"backend {one['name']}", one["url"], one["name"]) for one in wanted["backends"]]
    endpoints.append(Endpoint(f"gateway {wanted['model']}", wanted["gateway"], wanted["model"], key))
    failures = 0
    for endpoint in endpoints:
        try:
            start = time.monotonic()
            woken(endpoint, wanted["prompt"], wanted["coldStartSeconds"])
            first = time.monotonic() - start
            slowest = judged(endpoint, wanted["prompt"], wanted["expected"], wanted["p99Seconds"])
        except FailedError as failed:
            failures += 1
            print(f"FAILED {failed}")
        else:
            print(f"ok {endpoint.title}: first answer after {first:.1f} s, then at most {slowest:.2f} s")
    return failures


def main() -> int:
    """Read what is wanted, and judge."""
    return 1 if run(json.loads(Path(sys.argv[1]).read_text()), os.environ["GATEWAY_KEY"]) else 0


if __name__ == "__main__":
    sys.exit(main())
