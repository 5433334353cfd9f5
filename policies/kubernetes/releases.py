"""Helm releases: what can be judged from a chart's name, version and values; its pods are not objects of the stack."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, cast

from pulumi_policy import Severity

from policies.objects import RELEASE
from policies.registry import Context, Rule
from policies.view import UNKNOWN, Resource, is_true

_EXACT: Final = re.compile(r"v?\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?")
# Keys of values that hold a credential itself, not the name of one.
_CREDENTIAL: Final = re.compile(r"(?i)(.*(password|passwd|accesskey|secretkey|privatekey|apikey)|token|clientsecret)")


def _pinned(resource: Resource, _context: Context) -> Iterator[str]:
    version = resource.get("version")
    if not isinstance(version, str) or not _EXACT.fullmatch(version):
        yield f"version must be one version such as 1.2.3; got {version or 'none'}"
    if not is_true(resource.get("atomic")):
        yield "atomic must be true, or a failed release stays as it is"
    if resource.get("namespace") is None:
        yield "namespace must be named, or the release lands in default"
    if is_true(resource.get("createNamespace")):
        yield "createNamespace must be false: namespaces come with quota and policies"


def _walk(value: Any, path: str = "values") -> Iterator[tuple[str, str, Any]]:
    """Path, key and value of everything in values that is no object or list."""
    if isinstance(value, dict):
        for key, item in cast("dict[str, Any]", value).items():
            if isinstance(item, (dict, list)):
                yield from _walk(item, f"{path}.{key}")
            else:
                yield f"{path}.{key}", key, item
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[Any]", value)):
            yield from _walk(item, f"{path}[{index}]")


def _images(resource: Resource, _context: Context) -> Iterator[str]:
    for path, key, value in _walk(resource.get("values")):
        if key == "tag" and value in ("latest", "main", "master", "nightly"):
            yield f"{path} must be a fixed tag; got {value}"
        if key == "image" and isinstance(value, str) and value.endswith(":latest"):
            yield f"{path} must have a fixed tag; got {value}"


def _credentials(resource: Resource, _context: Context) -> Iterator[str]:
    for path, key, value in _walk(resource.get("values")):
        if _CREDENTIAL.fullmatch(key) and isinstance(value, str) and value and value is not UNKNOWN:
            yield f"{path} looks like a credential; give the chart the name of a Secret that an ExternalSecret makes"


RULES: Final = (
    Rule(
        name="releases-pinned", group="kubernetes", severity=Severity.HIGH, types=(RELEASE,), resource=_pinned,
        description="Charts have one version, are rolled back when they fail, and make no namespaces.",
    ),
    Rule(
        name="release-images", group="kubernetes", severity=Severity.HIGH, types=(RELEASE,), resource=_images,
        description="No value of a chart names an image that moves.",
    ),
    Rule(
        name="release-credentials", group="kubernetes", severity=Severity.CRITICAL, types=(RELEASE,),
        resource=_credentials,
        description="No value of a chart is a credential.",
    ),
)  # fmt: skip
