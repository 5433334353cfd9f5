"""Where the sandbox keeps things: builds by version outside the checkout, stacks inside it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

# The program that the sandbox runs; tests point it at programs of their own.
PROJECT = Path(os.environ.get("SANDBOX_PROJECT") or Path(__file__).resolve().parent.parent)


def cache_dir() -> Path:
    """Directory for downloads and builds; shared by all checkouts, keyed by version below it."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "llmops-sandbox"


def home() -> Path:
    """Directory of this checkout's sandbox: engine state, accounts, clusters. ``SANDBOX_HOME`` moves it."""
    return Path(os.environ.get("SANDBOX_HOME") or PROJECT / ".sandbox").resolve()


@dataclass(frozen=True)
class StackPaths:
    """Files of one stack in the sandbox."""

    root: Path

    @classmethod
    def of(cls, stack: str) -> StackPaths:
        """Return the paths of ``stack``, with its directory made (only the owner may read it)."""
        root = home() / "stacks" / stack
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(root)

    @property
    def account(self) -> Path:
        """The emulated cloud account (SQLite)."""
        return self.root / "account.sqlite"

    @property
    def kubernetes(self) -> Path:
        """The control plane's files, or the record of objects where there is none."""
        return self.root / "kubernetes"
