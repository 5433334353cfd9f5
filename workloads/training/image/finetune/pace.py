"""How fast a run learns. Pure."""

from __future__ import annotations

import collections
import math
import threading
import time
from collections.abc import Callable
from typing import Final

_WINDOW_SECONDS: Final = 300.0


class Pace:
    """Tokens a second over the last minutes; zero when nothing moves, and no number while nothing is meant to."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: collections.deque[tuple[float, int]] = collections.deque()
        self._paused = True

    def resume(self, tokens: int) -> None:
        """Training begins or goes on, with so many tokens seen before."""
        with self._lock:
            self._seen.clear()
            self._seen.append((self._clock(), tokens))
            self._paused = False

    def pause(self) -> None:
        """Something else is done: measuring, saving."""
        with self._lock:
            self._paused = True

    def seen(self, tokens: int) -> None:
        """So many tokens have been seen since the beginning of the run."""
        with self._lock:
            self._seen.append((self._clock(), tokens))
            while len(self._seen) > 2 and self._seen[1][0] < self._clock() - _WINDOW_SECONDS:
                self._seen.popleft()

    def __call__(self) -> float:
        """Tokens a second."""
        with self._lock:
            if self._paused or not self._seen:
                return math.nan
            now = self._clock()
            since = max(self._seen[0][0], now - _WINDOW_SECONDS)
            # What was seen before the window is where counting begins.
            first = next((tokens for at, tokens in reversed(self._seen) if at <= since), self._seen[0][1])
            return (self._seen[-1][1] - first) / max(now - since, 1e-6)
