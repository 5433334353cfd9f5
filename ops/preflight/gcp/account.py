"""The one place that calls Google Cloud: read-only operations of its REST APIs."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Protocol, cast

from ops.preflight.model import UnansweredError

# Reads everything that preflight asks for; testIamPermissions, which changes nothing, is a POST under the same scope.
_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform.read-only"
_LONGEST: Final = 600  # characters of a message


class CredentialsError(Exception):
    """There are no credentials, or Google does not take them."""


class GoogleError(UnansweredError):
    """Google answered with an error.

    Attributes:
        status: HTTP status.
        reason: Google's word for it, such as ``SERVICE_DISABLED``; empty where there is none.
        text: Google's message.
    """

    def __init__(self, status: int, reason: str, url: str, text: str) -> None:
        self.status, self.reason, self.text = status, reason, text
        super().__init__(f"{_short(url)}: {status} {reason}: {text}" if reason else f"{_short(url)}: {status}: {text}")

    @property
    def absent(self) -> bool:
        """Whether there is no such thing."""
        return self.status == 404

    @property
    def denied(self) -> bool:
        """Whether the caller may not ask."""
        return self.status == 403 and self.reason != "SERVICE_DISABLED"

    @property
    def api_off(self) -> bool:
        """Whether the project has not switched the API on."""
        return self.reason in ("SERVICE_DISABLED", "accessNotConfigured")


def _module(name: str) -> Any:
    """Google's library, loaded when it is needed: it has no types of its own."""
    return importlib.import_module(name)


class Account(Protocol):
    """What the checks need of a project."""

    def get(self, url: str, /, **parameters: str) -> dict[str, Any]:
        """Read what is at ``url``.

        Raises:
            GoogleError: Google refused.
            UnansweredError: Google did not answer.
        """
        ...

    def post(self, url: str, body: Mapping[str, Any], /) -> dict[str, Any]:
        """Ask by POST where an API has no other form for a question.

        Raises:
            GoogleError: Google refused.
            UnansweredError: Google did not answer.
        """
        ...


class GoogleAccount:
    """The project as the application default credentials see it."""

    scope: ClassVar[str] = _SCOPE
    """What its tokens may be for."""

    def __init__(self, *, timeout_seconds: float = 15) -> None:
        """Find the credentials.

        Raises:
            CredentialsError: There are none.
        """
        auth, transport = _module("google.auth"), _module("google.auth.transport.requests")
        refusals = _module("google.auth.exceptions").GoogleAuthError
        try:
            self._credentials: Any = auth.default(scopes=[self.scope])[0]
            self._credentials.refresh(transport.Request())
        except refusals as error:
            raise CredentialsError(f"there are no usable Google credentials: {error}") from None
        self._refusals: Any = refusals
        self._make: Any = transport.AuthorizedSession
        self._timeout_seconds = timeout_seconds
        self._sessions = threading.local()  # a session is not made for threads

    @property
    def secrets(self) -> list[str]:
        """The credentials' values, so that they can be kept out of what is printed."""
        return [self._credentials.token] if self._credentials.token else []

    def get(self, url: str, /, **parameters: str) -> dict[str, Any]:
        """Read what is at ``url``."""
        return self._ask("GET", url, params=parameters)

    def post(self, url: str, body: Mapping[str, Any], /) -> dict[str, Any]:
        """Ask by POST where an API has no other form for a question."""
        return self._ask("POST", url, json=dict(body))

    def _ask(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        import requests  # noqa: PLC0415 no network before it is needed

        session = getattr(self._sessions, "session", None)
        if session is None:
            session = self._sessions.session = self._make(self._credentials)
        try:
            answer = session.request(method, url, timeout=self._timeout_seconds, **more)
        except self._refusals as error:
            raise CredentialsError(f"Google does not take the credentials: {error}") from None
        except requests.RequestException as error:
            raise UnansweredError(f"{_short(url)}: {error}") from None
        return decoded(url, int(answer.status_code), answer.text)


def decoded(url: str, status: int, text: str) -> dict[str, Any]:
    """The body of an answer.

    Raises:
        GoogleError: It is an error.
        UnansweredError: It is no JSON object: something between Google and us answered.
    """
    import json  # noqa: PLC0415 beside its only use

    try:
        found: Any = json.loads(text) if text.strip() else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UnansweredError(f"{_short(url)}: {status}: {_line(text)}")
    body = cast("dict[str, Any]", found)
    if status < 400:
        return body
    told: Any = body.get("error")
    error = cast("dict[str, Any]", told) if isinstance(told, dict) else {}
    raise GoogleError(status, _reason(error), url, _line(str(error.get("message", told))))


def _reason(error: Mapping[str, Any]) -> str:
    """Google's word for an error, in the form of the newer APIs or of the older ones."""
    for name in ("details", "errors"):
        for one in error.get(name) or ():
            if isinstance(one, dict) and cast("dict[str, Any]", one).get("reason"):
                return str(cast("dict[str, Any]", one)["reason"])
    return str(error.get("status") or "")


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _short(url: str) -> str:
    return url.removeprefix("https://").partition("?")[0]
