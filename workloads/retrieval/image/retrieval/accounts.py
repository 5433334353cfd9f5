"""``python -m retrieval.accounts --config JSON``: database, roles and users of retrieval in Milvus.

The administrator's credentials are ``MILVUS_USERNAME`` and ``MILVUS_PASSWORD``; those of the two users that it makes
``READER_USERNAME``, ``READER_PASSWORD``, ``WRITER_USERNAME`` and ``WRITER_PASSWORD``. Running it again changes nothing,
but a password that is another one now.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from dataclasses import dataclass
from typing import Any, Final

from pymilvus import MilvusClient, MilvusException

from retrieval.config import AccountsConfig, Milvus, from_arguments
from retrieval.logs import start_logging

log = logging.getLogger("retrieval.accounts")

_PAUSE_SECONDS = 5


@dataclass(frozen=True)
class Account:
    """A user with a role of the same name.

    Attributes:
        prefix: Of its variables.
        privileges: Groups of privileges that Milvus has, on every collection of the database: their names follow from
            what is declared, and change with it.
    """

    prefix: str
    privileges: tuple[str, ...]


ACCOUNTS: Final = (
    Account("READER", ("CollectionReadOnly", "DatabaseReadOnly")),
    # Collections come and go with each new chunking, and aliases move.
    Account("WRITER", ("CollectionAdmin", "DatabaseAdmin")),
)


def connected(milvus: Milvus, patience_seconds: float) -> Any:
    """The administrator's client; Milvus may have to start first."""
    end = time.monotonic() + patience_seconds
    while True:
        try:
            return MilvusClient(
                milvus.url,
                user=os.environ["MILVUS_USERNAME"],
                password=os.environ["MILVUS_PASSWORD"],
                timeout=milvus.timeout_seconds,
            )
        except MilvusException:
            if time.monotonic() > end:
                raise
            time.sleep(_PAUSE_SECONDS)


def reconcile(client: Any, database: str) -> list[str]:
    """Bring what is there to what is wanted; returns what was done, a line each."""
    done: list[str] = []
    if database not in client.list_databases():
        client.create_database(database)
        done.append(f"database {database}: made")
    roles, users = set(client.list_roles()), set(client.list_users())
    for account in ACCOUNTS:
        name, password = os.environ[f"{account.prefix}_USERNAME"], os.environ[f"{account.prefix}_PASSWORD"]
        if name not in roles:
            client.create_role(name)
            done.append(f"role {name}: made")
        for privilege in account.privileges:
            # Granting again is no error, and what is granted cannot be listed by group.
            client.grant_privilege_v2(role_name=name, privilege=privilege, collection_name="*", db_name=database)
        if name not in users:
            client.create_user(name, password)
            done.append(f"user {name}: made")
        elif not _signs_in(client, name, password, database):
            # An administrator needs no old password.
            client.update_password(name, "", password)
            done.append(f"user {name}: another password")
        if name not in client.describe_user(name).get("roles", ()):
            client.grant_role(user_name=name, role_name=name)
            done.append(f"user {name}: has its role")
    return done


def _signs_in(client: Any, name: str, password: str, database: str) -> bool:
    try:
        client.again(name, password, database)
    except MilvusException:
        return False
    return True


class Administrator:
    """What is asked of Milvus, with a way to try a sign-in."""

    def __init__(self, milvus: Milvus, client: Any) -> None:
        self._milvus, self._client = milvus, client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def again(self, name: str, password: str, database: str) -> None:
        """Sign in as somebody else, and out again."""
        MilvusClient(
            self._milvus.url, user=name, password=password, db_name=database, timeout=self._milvus.timeout_seconds
        ).close()


def main(arguments: list[str] | None = None) -> int:
    """Read the configuration, bring it about, say what was done."""
    config = from_arguments(AccountsConfig, "Make the users of retrieval in Milvus.", arguments)
    start_logging()
    client = Administrator(config.milvus, connected(config.milvus, config.patience_seconds))
    for line in reconcile(client, config.milvus.database):
        log.info(line)
    log.info("accounts are as declared")
    return 0


if __name__ == "__main__":
    sys.exit(main())
