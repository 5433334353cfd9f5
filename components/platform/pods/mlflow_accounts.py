"""Keep MLflow's accounts as the secret store has them. It can run at any time, and changes only what differs."""

from __future__ import annotations

import base64
import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

PATIENCE_SECONDS = 300.0


class RefusedError(Exception):
    """MLflow answered with something else than was hoped for."""


def main() -> None:
    """Make every account of ``SECRETS/accounts`` with the administrator of ``SECRETS/admin``."""
    url, secrets = os.environ["MLFLOW_URL"], Path(os.environ["SECRETS"])
    admin = login(secrets / "admin")
    awaited(url)
    for folder in sorted((secrets / "accounts").iterdir()):
        if folder.is_dir():
            account = login(folder)
            print(f"account {account[0]}: {kept(url, admin, account)}")


def login(folder: Path) -> tuple[str, str]:
    """Name and password as a Secret's files."""
    return (folder / "username").read_text(), (folder / "password").read_text()


def awaited(url: str) -> None:
    """Wait until MLflow answers."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=10):
                return
        except OSError as error:
            if time.monotonic() > deadline:
                raise RefusedError(f"MLflow does not answer at {url}: {error}") from error
            time.sleep(2)


def kept(url: str, admin: tuple[str, str], account: tuple[str, str]) -> str:
    """Make the account, or give it its password; says what was done."""
    name, password = account
    if ask(url, account, "GET", f"users/get?username={name}")[0] == 200:
        return "is there"
    status, answer = ask(url, admin, "POST", "users/create", {"username": name, "password": password})
    if status == 200:
        return "made"
    if "RESOURCE_ALREADY_EXISTS" not in answer:
        hint = "; the administrator's password in the secret store is not MLflow's" if status == 401 else ""
        raise RefusedError(f"account {name}: {status} {answer}{hint}")
    status, answer = ask(url, admin, "PATCH", "users/update-password", {"username": name, "password": password})
    if status != 200:
        raise RefusedError(f"account {name}: {status} {answer}")
    return "has a new password"


def ask(
    url: str, caller: tuple[str, str], method: str, path: str, body: dict[str, str] | None = None
) -> tuple[int, str]:
    """One request of MLflow's API; status and answer."""
    credentials = base64.b64encode(":".join(caller).encode()).decode()
    request = urllib.request.Request(
        f"{url}/api/2.0/mlflow/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Basic {credentials}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


if __name__ == "__main__":
    try:
        main()
    except RefusedError as refused:
        sys.exit(str(refused))
