"""One drill of a kind at a time: who restores says so in the ConfigMap of the records, and takes it back at the end.

What was not taken back was left by a drill that was killed, or could not clean up.
"""

from __future__ import annotations

import json
import os
import socket
import time
import urllib.error
from dataclasses import dataclass
from pathlib import Path

import drill_report  # beside this file, in the pod as here

_TRIES = 5


class ClaimedError(Exception):
    """Another drill of the kind is under way; the message says which."""


@dataclass(frozen=True)
class Claim:
    """The right to restore for drills of one kind.

    Attributes:
        drill: ``registry`` or ``vectors``.
    """

    drill: str

    @property
    def key(self) -> str:
        """Key of the ConfigMap. Metrics are made of those that end with ``.json``."""
        return f"{self.drill}.claim"

    def take(self, work: Path) -> bool:
        """Claim it for this pod, and write down when; returns whether a drill before left something behind.

        Raises:
            ClaimedError: Another pod has it, whose time is not over.
        """
        for _ in range(_TRIES):
            data, version = drill_report.records()
            pod, until = _read(data.get(self.key, ""))
            if pod not in ("", _pod()) and until > time.time():
                left = (until - time.time()) / 60
                raise ClaimedError(f"pod {pod} rehearses the {self.drill}; it may take {left:.0f} min more")
            over = round(time.time() + float(os.environ["DEADLINE_SECONDS"]))
            try:
                drill_report.change({self.key: json.dumps({"pod": _pod(), "until": over})}, version)
            except urllib.error.HTTPError as error:
                if error.code != 409:  # else somebody has written since: another drill of this kind, or any record
                    raise
            else:
                break
        else:
            raise ClaimedError(f"the records changed {_TRIES} times while the {self.drill} was claimed")
        (work / "began").write_text(str(time.time()))
        return self.key in data

    def held(self) -> bool:
        """Whether this pod has it."""
        data, _ = drill_report.records()
        pod, _ = _read(data.get(self.key, ""))
        return pod == _pod()

    def release(self) -> None:
        """Give it back: nothing is left behind."""
        drill_report.change({self.key: None})


def _pod() -> str:
    return socket.gethostname()


def _read(text: str) -> tuple[str, float]:
    try:
        found = json.loads(text)
        return str(found["pod"]), float(found["until"])
    except (ValueError, KeyError, TypeError):
        return "", 0.0
