"""Where a new key goes: to the screen once, into a file of this account only, or into the secret store."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from components.credentials import CATALOGUE, EVALUATION, RETRIEVAL
from ops.secrets.store import EmptyError, Store


class HandOverError(Exception):
    """The key could not be put where it was wanted."""


@dataclass(frozen=True)
class HandOver:
    """A place for one key.

    Attributes:
        file: A new file; None for none.
        entry: Purpose and property of an entry; None for none.
        store: Where entries are.
    """

    file: Path | None
    entry: tuple[str, str] | None
    store: Store

    @staticmethod
    def to(file: Path | None, entry: str, store: Store) -> HandOver:
        """Look at the place before anything is made.

        Raises:
            HandOverError: It is taken, is no place for a key, or two are named.
        """
        if file and entry:
            raise HandOverError("--out and --entry: one of them")
        if file and (file.exists() or not file.parent.is_dir()):
            raise HandOverError(f"--out {file}: there is such a file already, or no such folder")
        if not entry:
            return HandOver(file, None, store)
        purpose, _, named = entry.partition(".")
        if any(one.purpose == purpose and not one.supplied for one in (*CATALOGUE, *RETRIEVAL, *EVALUATION)):
            raise HandOverError(f"--entry {purpose}: the program draws its value; name a supplied one")
        store.changed(purpose)  # whether there is such an entry
        return HandOver(None, (purpose, named or "key"), store)

    def give(self, value: str) -> str:
        """Put the key there and say where that is; empty where it is to be shown.

        Raises:
            HandOverError: The file could not be written.
            EngineError: The store refused it.
        """
        if self.file:
            try:
                with os.fdopen(os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as written:
                    written.write(value + "\n")
            except OSError as error:
                raise HandOverError(f"--out {self.file}: {error.strerror}") from None
            return str(self.file)
        if self.entry:
            purpose, named = self.entry
            try:
                there = self.store.read(purpose)
            except EmptyError:
                there = {}
            self.store.write(purpose, {**there, named: value})
            return f"entry {purpose}, property {named}"
        return ""
