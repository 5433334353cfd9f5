"""The emulated account: every resource that exists in it, and the faults that it was told to have (SQLite)."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sandbox.values import Properties

Operation = Literal["create", "read", "update", "delete"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS resources (
    type TEXT NOT NULL, id TEXT NOT NULL, urn TEXT NOT NULL, region TEXT NOT NULL,
    inputs TEXT NOT NULL, outputs TEXT NOT NULL,
    orphan INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (type, id, region)
);
CREATE INDEX IF NOT EXISTS resources_by_urn ON resources (urn);
CREATE TABLE IF NOT EXISTS faults (
    number INTEGER PRIMARY KEY AUTOINCREMENT, type TEXT NOT NULL, name TEXT NOT NULL, operation TEXT NOT NULL,
    error TEXT NOT NULL, latency_seconds REAL NOT NULL, remaining INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS quotas (type TEXT PRIMARY KEY, most INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS spent (
    type TEXT NOT NULL, id TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (type, id)
);
"""


@dataclass(frozen=True)
class Record:
    """One resource that exists.

    Attributes:
        type: Type token.
        id: Identifier at the cloud.
        urn: Which resource of the program made it.
        region: Where it is; empty for global ones.
        inputs: What was asked for.
        outputs: What it is.
        orphan: A killed update made it and the engine does not know of it.
    """

    type: str
    id: str
    urn: str
    region: str
    inputs: Properties
    outputs: Properties
    orphan: bool = False


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong on demand.

    Attributes:
        type: Type token or ``*``.
        name: Resource name in the program or ``*``.
        operation: Which call; ``*`` for all.
        error: Message; empty for latency alone.
        latency_seconds: Seconds to wait first.
        remaining: Times that it still strikes; -1 for ever.
        number: Key in the account; 0 before it is armed.
    """

    type: str
    name: str = "*"
    operation: str = "create"
    error: str = ""
    latency_seconds: float = 0
    remaining: int = 1
    number: int = 0


class AlreadyExistsError(Exception):
    """Another resource has this identifier."""


class Store:
    """One account's resources; safe for threads, durable after every call."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)  # it holds secrets, as the account that it stands for does
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Run several calls as one."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def insert(self, record: Record) -> None:
        """Add a resource.

        Raises:
            AlreadyExistsError: The type and identifier are taken in that region.
        """
        try:
            self._execute(
                "INSERT INTO resources (type, id, urn, region, inputs, outputs) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    record.type,
                    record.id,
                    record.urn,
                    record.region,
                    json.dumps(record.inputs),
                    json.dumps(record.outputs),
                ),
            )
        except sqlite3.IntegrityError as error:
            raise AlreadyExistsError(record.id) from error

    def update(self, record: Record) -> None:
        """Write a resource's inputs and outputs; it is known to the engine from now on."""
        self._execute(
            "UPDATE resources SET inputs = ?, outputs = ?, orphan = 0 WHERE type = ? AND id = ? AND urn = ?",
            (json.dumps(record.inputs), json.dumps(record.outputs), record.type, record.id, record.urn),
        )

    def delete(self, type_token: str, resource_id: str, urn: str | None = None) -> bool:
        """Remove a resource; False where there was none."""
        where, values = "type = ? AND id = ?", [type_token, resource_id]
        if urn is not None:
            where, values = f"{where} AND urn = ?", [*values, urn]
        return self._execute(f"DELETE FROM resources WHERE {where}", values).rowcount > 0

    def spend(self, type_token: str, resource_id: str, reason: str) -> None:
        """Remember that an identifier cannot be had again, and why."""
        self._execute(
            "INSERT OR REPLACE INTO spent (type, id, reason) VALUES (?, ?, ?)", (type_token, resource_id, reason)
        )

    def why_spent(self, type_token: str, resource_id: str) -> str | None:
        """Return why an identifier cannot be had again; None where it can."""
        row = self._execute("SELECT reason FROM spent WHERE type = ? AND id = ?", (type_token, resource_id)).fetchone()
        return None if row is None else str(row[0])

    def find(self, type_token: str, resource_id: str, urn: str | None = None) -> Record | None:
        """Return the resource of this type and identifier (of this URN where one identifier may occur twice)."""
        records = [r for r in self._select("type = ? AND id = ?", (type_token, resource_id)) if urn in (None, r.urn)]
        return records[0] if records else None

    def orphan_of(self, urn: str) -> Record | None:
        """Return what a killed update left behind for this resource of the program."""
        records = self._select("urn = ? AND orphan = 1", (urn,))
        return records[0] if records else None

    def records(self, type_token: str | None = None) -> list[Record]:
        """Return all resources, or those of one type, in the order in which they were made."""
        return self._select("1" if type_token is None else "type = ?", () if type_token is None else (type_token,))

    def mark_orphans(self, known: Iterable[tuple[str, str]]) -> list[Record]:
        """Mark and return the resources whose (type, identifier) the engine's state does not hold."""
        known = set(known)
        orphans = [record for record in self.records() if (record.type, record.id) not in known]
        self._execute("UPDATE resources SET orphan = 0")
        for record in orphans:
            self._execute("UPDATE resources SET orphan = 1 WHERE type = ? AND id = ?", (record.type, record.id))
        return orphans

    def add_fault(self, fault: Fault) -> None:
        """Arm a fault."""
        self._execute(
            "INSERT INTO faults (type, name, operation, error, latency_seconds, remaining) VALUES (?, ?, ?, ?, ?, ?)",
            (fault.type, fault.name, fault.operation, fault.error, fault.latency_seconds, fault.remaining),
        )

    def faults(self) -> list[Fault]:
        """Return the armed faults."""
        rows = self._execute(
            "SELECT type, name, operation, error, latency_seconds, remaining, number FROM faults"
            " WHERE remaining != 0 ORDER BY number"
        )
        return [Fault(*row) for row in rows]

    def is_armed(self, fault: Fault) -> bool:
        """Whether a fault has not been cleared since it struck; calls that it holds up go on when it is."""
        return self._execute("SELECT 1 FROM faults WHERE number = ?", (fault.number,)).fetchone() is not None

    def clear_faults(self) -> None:
        """Disarm every fault and lift every quota."""
        self._execute("DELETE FROM faults")
        self._execute("DELETE FROM quotas")

    def strike(self, type_token: str, name: str, operation: Operation) -> Fault | None:
        """Return the fault that hits this call, if any, and count it down."""
        with self._lock:
            for fault in self.faults():
                if (
                    fault.type in ("*", type_token)
                    and fault.name in ("*", name)
                    and fault.operation in ("*", operation)
                ):
                    if fault.remaining > 0:
                        self._execute("UPDATE faults SET remaining = remaining - 1 WHERE number = ?", (fault.number,))
                    return fault
        return None

    def set_quota(self, type_token: str, most: int) -> None:
        """Allow at most ``most`` resources of a type."""
        self._execute("INSERT OR REPLACE INTO quotas (type, most) VALUES (?, ?)", (type_token, most))

    def quotas(self) -> dict[str, int]:
        """Return how many resources may exist, by type; other types have no limit."""
        return dict(self._execute("SELECT type, most FROM quotas ORDER BY type").fetchall())

    def _select(self, where: str, values: Sequence[Any]) -> list[Record]:
        with self._lock:
            rows = self._connection.execute(
                f"SELECT type, id, urn, region, inputs, outputs, orphan FROM resources WHERE {where} ORDER BY rowid",
                values,
            ).fetchall()
        return [Record(t, i, u, r, json.loads(a), json.loads(b), bool(o)) for t, i, u, r, a, b, o in rows]

    def _execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        with self._lock:
            return self._connection.execute(statement, values)
