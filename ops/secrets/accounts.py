"""Systems that keep a password of their own: they are asked to change it, with the old one."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ops.stack import StackError

_TIMEOUT_SECONDS: Final = 60

_MLFLOW_HOST: Final = "localhost:5000"
"""Name under which MLflow answers whoever comes through a forwarded port, whatever that port's number is."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """An account of a system.

    Attributes:
        url: Where the system answers.
        username: Who.
        password: The one that it has.
    """

    url: str
    username: str
    password: str

    @property
    def basic(self) -> str:
        """The header of a sign-in."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def mlflow(account: Account, password: str) -> None:
    """Give an account of MLflow another password; itself."""
    wanted = {"username": account.username, "password": password, "current_password": account.password}
    _ask(account.url + "/api/2.0/mlflow/users/update-password", "PATCH", wanted, account.basic, host=_MLFLOW_HOST)


def mlflow_lets_in(account: Account) -> bool:
    """Whether the password is MLflow's."""
    address = f"{account.url}/api/2.0/mlflow/users/get?username={account.username}"
    return _lets_in(address, account.basic, host=_MLFLOW_HOST)


def grafana(account: Account, password: str) -> None:
    """Give an account of Grafana another password; itself."""
    wanted = {"oldPassword": account.password, "newPassword": password, "confirmNew": password}
    _ask(account.url + "/api/user/password", "PUT", wanted, account.basic)


def grafana_lets_in(account: Account) -> bool:
    """Whether the password is Grafana's."""
    return _lets_in(account.url + "/api/user", account.basic)


def milvus(account: Account, password: str) -> None:
    """Give a user of Milvus another password; itself."""
    wanted = {"userName": account.username, "password": account.password, "newPassword": password}
    _answered(account, "users/update_password", wanted)


def milvus_lets_in(account: Account) -> bool:
    """Whether the password is Milvus'."""
    try:
        _answered(account, "users/describe", {"userName": account.username})
    except StackError:
        return False
    return True


def _answered(account: Account, what: str, body: Mapping[str, str]) -> None:
    """Milvus says 200 to everything, and in the body whether it was done."""
    token = f"Bearer {account.username}:{account.password}"
    found = _ask(f"{account.url}/v2/vectordb/{what}", "POST", body, token)
    if found.get("code") not in (0, 200):
        raise StackError(f"Milvus, {what}: {found.get('code')}")


def _lets_in(url: str, header: str, host: str = "") -> bool:
    try:
        _ask(url, "GET", None, header, host=host)
    except RefusedError as refused:
        if refused.status == 401:
            return False
        raise
    return True


class RefusedError(StackError):
    """The system answered with an error.

    Attributes:
        status: HTTP status.
    """

    def __init__(self, status: int, what: str) -> None:
        super().__init__(f"{what}: {status}")
        self.status = status


def _ask(url: str, method: str, body: Mapping[str, str] | None, authorization: str, host: str = "") -> dict[str, Any]:
    request = urllib.request.Request(
        url,
        method=method,
        data=None if body is None else json.dumps(dict(body)).encode(),
        headers={
            "authorization": authorization,
            "content-type": "application/json",
            **({"host": host} if host else {}),
        },
    )
    what = f"{method} {url.partition('?')[0]}"
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        raise RefusedError(error.code, what) from None  # its body may repeat the request
    except OSError as error:
        raise StackError(f"{what}: {getattr(error, 'reason', error)}") from None
    return json.loads(text) if text.strip() else {}
