"""The collection that is answered from, as the service sees it: looked up by alias, searched without blocking."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from pymilvus import MilvusException

from retrieval.config import Search, ServeConfig
from retrieval.passages import Passage
from retrieval.store import Served, Store, connect

_REMEMBERED_SECONDS = 10

Answer = TypeVar("Answer")


class NothingServedError(Exception):
    """No collection has the alias: the first ingestion has not come to its end."""


class Library:
    """One alias in Milvus."""

    def __init__(self, config: ServeConfig, store: Store | None = None) -> None:
        self._config, self._store = config, store
        self._limiter = CapacityLimiter(config.concurrency)
        self._served: Served | None = None
        self._until = 0.0

    async def reachable(self) -> bool:
        """Whether Milvus answers; there may be nothing in it yet."""
        try:
            with anyio.fail_after(5):
                await self._look_up()
        except (MilvusException, OSError, TimeoutError):
            return False
        return True

    async def served(self) -> Served:
        """What the alias names, as of a few seconds ago."""
        if self._served is None or time.monotonic() > self._until:
            await self._look_up()
        if self._served is None:
            raise NothingServedError
        return self._served

    async def search(self, served: Served, vector: Sequence[float], search: Search, wanted: str) -> list[Passage]:
        """Passages that are near enough.

        By the collection's own name: the alias may move to vectors of another model between two calls. The collection
        before stays until the next ingestion, so what was looked up can be asked.
        """
        return await self._off_the_loop(
            lambda: self._open().search(served, vector, top_k=search.top_k, min_score=search.min_score, filter_=wanted)
        )

    def forget(self) -> None:
        """Look the alias up again at the next question."""
        self._until = 0.0

    async def _look_up(self) -> None:
        self._served = await self._off_the_loop(lambda: self._open().served())
        self._until = time.monotonic() + _REMEMBERED_SECONDS

    def _open(self) -> Store:
        if self._store is None:  # Milvus may come after the service
            self._store = Store(connect(self._config.milvus), self._config.collection)
        return self._store

    async def _off_the_loop(self, call: Callable[[], Answer]) -> Answer:
        return await anyio.to_thread.run_sync(call, limiter=self._limiter, abandon_on_cancel=True)
