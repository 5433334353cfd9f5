"""An AWS account that says what a test wants it to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from ops.preflight.aws.account import AwsError
from tests.unit.moto_account import REGION


class Scripted:
    """An account that answers what a test says; lists are answers in turn, errors are raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.calls = answers, list[tuple[str, dict[str, Any]]]()

    def call(self, _service: str, operation: str, _region: str, /, **parameters: Any) -> dict[str, Any]:
        self.calls.append((operation, parameters))
        told = self.answers.get(operation, {})
        answer: Any = cast("list[Any]", told).pop(0) if isinstance(told, list) else told
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pages(self, service: str, operation: str, key: str, region: str, /, **parameters: Any) -> Iterator[Any]:
        yield from self.call(service, operation, region, **parameters).get(key, ())


def refusal(code: str) -> AwsError:
    return AwsError(code, "ec2:Something", REGION, "no")
