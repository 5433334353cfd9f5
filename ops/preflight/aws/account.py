"""The one place that calls AWS: read-only operations, and dry runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol, TypeVar, cast

from ops.preflight.model import UnansweredError

Answer = TypeVar("Answer")

# Prefix of a service's actions in IAM, where it is not boto3's name of the service.
_PREFIXES: Final[Mapping[str, str]] = {
    "efs": "elasticfilesystem",
    "elbv2": "elasticloadbalancing",
    "service-quotas": "servicequotas",
}
# Actions that IAM calls otherwise than the API does (Service Authorization Reference).
_ACTIONS: Final[Mapping[str, str]] = {
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListBuckets": "s3:ListAllMyBuckets",
    "budgets:DescribeBudget": "budgets:ViewBudget",
}
_DENIED: Final = frozenset(
    {
        "403",
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "AuthorizationErrorException",
        "UnauthorizedOperation",
    }
)
_CREDENTIALS: Final = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)


_LONGEST: Final = 600  # characters; an encoded refusal of EC2's is longer, and hidden anyway


class CredentialsError(Exception):
    """There are no credentials, or AWS does not take them."""


class AwsError(UnansweredError):
    """AWS answered with an error.

    Attributes:
        code: Such as ``ResourceNotFoundException``.
        action: The IAM action that the call needs.
        region: Where it was asked.
        text: AWS's message.
    """

    def __init__(self, code: str, action: str, region: str, text: str) -> None:
        self.code, self.action, self.region, self.text = code, action, region, text
        what = f"not allowed to look: {action} in {region}" if self.denied else f"{action} in {region}: {code}: {text}"
        super().__init__(what)

    @property
    def denied(self) -> bool:
        """Whether the caller may not ask."""
        return self.code in _DENIED


class Account(Protocol):
    """What the checks need of an account."""

    def call(self, service: str, operation: str, region: str, /, **parameters: Any) -> dict[str, Any]:
        """Call an operation by boto3's names.

        Raises:
            AwsError: AWS refused.
            UnansweredError: AWS did not answer.
        """
        ...

    def pages(self, service: str, operation: str, key: str, region: str, /, **parameters: Any) -> Iterator[Any]:
        """The items of ``key`` on all pages of an operation's answer.

        Raises:
            AwsError: AWS refused.
            UnansweredError: AWS did not answer.
        """
        ...


class BotoAccount:
    """The account of the credentials that boto3 finds: environment, profile, or the machine's role."""

    def __init__(self, *, connect_seconds: float = 5, read_seconds: float = 10, attempts: int = 3) -> None:
        import boto3  # noqa: PLC0415 no cloud SDK before it is needed
        from botocore.config import Config  # noqa: PLC0415 the same

        self._session: Any = cast("Any", boto3).session.Session()
        self._config = Config(
            connect_timeout=connect_seconds,
            read_timeout=read_seconds,
            retries={"total_max_attempts": attempts, "mode": "standard"},
            max_pool_connections=20,
        )
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    @property
    def secrets(self) -> list[str]:
        """The credentials' values, so that they can be kept out of what is printed."""
        found = self._session.get_credentials()
        return [value for value in (found.secret_key, found.token) if value] if found else []

    def call(self, service: str, operation: str, region: str, /, **parameters: Any) -> dict[str, Any]:
        """Call an operation by boto3's names."""
        client = self._client(service, region)
        return self._translated(client, service, operation, lambda: getattr(client, operation)(**parameters))

    def pages(self, service: str, operation: str, key: str, region: str, /, **parameters: Any) -> Iterator[Any]:
        """The items of ``key`` on all pages of an operation's answer."""
        client = self._client(service, region)
        if not client.can_paginate(operation):
            yield from self.call(service, operation, region, **parameters)[key]
            return
        pages = iter(client.get_paginator(operation).paginate(**parameters))
        while (page := self._translated(client, service, operation, lambda: next(pages, None))) is not None:
            yield from page.get(key) or ()

    def _client(self, service: str, region: str) -> Any:
        with self._lock:  # a session is not made for threads; its clients are
            if (service, region) not in self._clients:
                self._clients[service, region] = self._session.client(service, region_name=region, config=self._config)
            return self._clients[service, region]

    def _translated(self, client: Any, service: str, operation: str, ask: Callable[[], Answer]) -> Answer:
        from botocore import exceptions  # noqa: PLC0415 no cloud SDK before it is needed

        region = str(client.meta.region_name)
        action = action_of(service, str(client.meta.method_to_api_mapping[operation]))
        try:
            return ask()
        except exceptions.ClientError as error:
            told = cast("Mapping[str, Mapping[str, str]]", error.response)["Error"]
            if told.get("Code", "") in _CREDENTIALS:
                raise CredentialsError(f"AWS does not take the credentials: {told['Code']} in {region}") from None
            raise AwsError(told.get("Code", ""), action, region, _line(told.get("Message", ""))) from None
        except (
            exceptions.NoCredentialsError,
            exceptions.PartialCredentialsError,
            exceptions.CredentialRetrievalError,
            exceptions.SSOError,
        ) as error:
            raise CredentialsError(f"there are no usable AWS credentials: {error}") from None
        except exceptions.BotoCoreError as error:  # no connection, no answer in time
            raise UnansweredError(f"{action} in {region}: {error}") from None


def _line(text: str) -> str:
    """One line of bounded length; what stands between AWS and us answers with whole pages."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def action_of(service: str, operation: str) -> str:
    """The IAM action that an operation needs."""
    name = f"{_PREFIXES.get(service, service)}:{operation}"
    return _ACTIONS.get(name, name)


def tags_of(listed: Any) -> dict[str, str]:
    """AWS's two forms of tags as a mapping: a mapping, or a list of keys and values in either spelling."""
    if isinstance(listed, dict):
        return {str(key): str(value) for key, value in cast("dict[Any, Any]", listed).items()}
    pairs = cast("list[dict[str, str]]", listed or [])
    return {
        one.get("Key") or one.get("key") or one.get("TagKey") or "": (
            one.get("Value") or one.get("value") or one.get("TagValue") or ""
        )
        for one in pairs
    }
