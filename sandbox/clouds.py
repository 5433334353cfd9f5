"""The providers of one run, served together."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from sandbox import paths
from sandbox.aws.provider import AwsProvider
try:
    from sandbox.eks import EksProvider
except ImportError:
    from sandbox.random_provider import RandomProvider as EksProvider
from sandbox.provider import Served, serve
from sandbox.random_provider import RandomProvider
from sandbox.store import Store
from sandbox.toolchain.gobuild import Report


class Clouds:
    """A context in which the stack's providers listen on loopback."""

    def __init__(self, stack: str, store: Store, report: Report) -> None:
        self._paths = paths.StackPaths.of(stack)
        self._store = store
        self._report = report
        self._served: dict[str, Served] = {}

    @property
    def attachments(self) -> str:
        """Value of ``PULUMI_DEBUG_PROVIDERS``: ``aws:PORT,kubernetes:PORT,…``."""
        return ",".join(f"{name}:{served.port}" for name, served in self._served.items())

    def __enter__(self) -> Self:
        creators = {
            "aws": lambda: AwsProvider(self._store),
            "random": RandomProvider,
            "eks": EksProvider,
        }
        self._served = {name: serve(name, create) for name, create in creators.items()}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for served in self._served.values():
            served.stop()
        self._store.close()

    def settle(self) -> None:
        """Bring the simulated nodes to what the pods need now."""
