"""The graph of a stack as a snapshot: what reviewers should see change, and nothing that differs between two runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, Final

import yaml

_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"  # marks a secret in the engine's state
# Options of a resource that are part of its contract; the rest of the state is book-keeping.
_OPTIONS: Final = ("protect", "retainOnDelete", "ignoreChanges", "customTimeouts", "replaceOnChanges", "hideDiff")
# What is drawn at random and is no identifier of a resource: hashes, and the suffix of a generated name.
# Drawn anew by every run of the sandbox.
_CERTIFICATE: Final = re.compile(
    r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----"
    r"|LS0tLS1CRUdJTiBDRVJUSUZJQ0FUR[0-9A-Za-z+/=]+",  # the same in base64, as a kubeconfig has it
    re.DOTALL,
)
_RANDOM: Final = re.compile(
    r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|(?<=-)[0-9a-f]{17}\b"
    r"|\b(?=[0-9]*[A-Fa-f])[0-9A-Fa-f]{12,}\b|(?<=-)[0-9a-f]{7}(?![0-9A-Za-z])"
    r"|(?<=\.)[0-9a-f]{6}(?=\.[a-z0-9]+\.cache\.amazonaws\.com)"
    r"|(?<=\.)[0-9a-f]{12}(?=\.[a-z0-9-]+\.rds\.amazonaws\.com)"  # digits alone too
)
# Where Google Cloud says at which address something answers: it gives another one every time.
_ADDRESSES: Final = ("address", "dnsName", "endpoint", "host", "privateIpAddress")
_SHORTEST_IDENTIFIER: Final = 6  # shorter ones (`none`) are words


def snapshot(exported: Mapping[str, Any]) -> str:
    """Return the graph of an exported stack as YAML, sorted by name."""
    resources: list[dict[str, Any]] = exported["deployment"]["resources"]
    names = _Names(resources)
    nodes = {names.short(resource["urn"]): _node(resource, names) for resource in resources}
    return yaml.dump(dict(sorted(nodes.items())), Dumper=_Dumper, sort_keys=True, width=120, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


class _Names:
    """Stands in for everything random: an identifier that the cloud gave becomes the name of its resource."""

    def __init__(self, resources: Sequence[Mapping[str, Any]]) -> None:
        found: dict[str, str] = {}
        for resource in resources:
            name, given = resource["urn"].rsplit("::", 1)[1], set(_strings(resource.get("inputs")))
            outputs: Mapping[str, Any] = resource.get("outputs") or {}
            said = {"id": resource.get("id"), **{key: outputs.get(key) for key in ("arn", "url")}}
            if resource["type"].startswith("gcp:"):
                said |= {key: outputs.get(key) for key in _ADDRESSES}
            for key, value in said.items():
                if isinstance(value, str) and not _made_of(value, given):
                    found.setdefault(value.rstrip("."), f"<{key} of {name}>")
        for resource in resources:  # what it computes or draws, such as a database's secret
            name, given = resource["urn"].rsplit("::", 1)[1], set(_strings(resource.get("inputs")))
            for value in _strings(resource.get("outputs")):
                drawn = resource["type"].startswith(("random:", "tls:")) or value.startswith(("arn:", "https://"))
                if drawn and not _made_of(value, given):
                    found.setdefault(value, f"<computed by {name}>")
        self._found = found
        longest_first = sorted(found, key=lambda text: (-len(text), text))
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def short(self, urn: str) -> str:
        """Type and name: the rest of a URN is the same in the whole stack, or is the chain of parents."""
        _, _, types, name = urn.split("::", 3)
        return f"{types.rsplit('$', 1)[-1]} {name}"

    def stable(self, text: str) -> str:
        named = self._pattern.sub(lambda match: self._found[match[0]], text)
        return _RANDOM.sub("<random>", _CERTIFICATE.sub("<certificate>", named))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def _made_of(identifier: str, given: Set[str]) -> bool:
    """Whether an identifier is, or ends with, what the program itself gave: then it says more than a stand-in."""
    last = re.split(r"[:/]", identifier)[-1]
    return len(identifier) < _SHORTEST_IDENTIFIER or identifier in given or last in given


def _node(resource: Mapping[str, Any], names: _Names) -> dict[str, Any]:
    node: dict[str, Any] = {option: resource[option] for option in _OPTIONS if resource.get(option)}
    if parent := resource.get("parent"):
        node["parent"] = names.short(parent)
    if provider := resource.get("provider"):
        node["provider"] = names.short(provider.rsplit("::", 1)[0])
    if aliases := resource.get("aliases"):
        node["aliases"] = sorted(aliases)
    if dependencies := resource.get("dependencies"):
        node["dependsOn"] = sorted(names.short(urn) for urn in dependencies)
    if inputs := resource.get("inputs"):
        node["inputs"] = _value(inputs, names)
    return node


def _value(value: Any, names: _Names) -> Any:
    if isinstance(value, str):
        return _text(value, names)
    if isinstance(value, list):
        return [_value(item, names) for item in value]
    if isinstance(value, dict):
        if _SIGNATURE in value:
            return "<secret>"
        return {names.stable(str(key)): _value(item, names) for key, item in value.items() if not key.startswith("__")}
    return value


def _text(text: str, names: _Names) -> Any:
    """Policies and the like are JSON in a string: shown as what they say, so that a change is one line."""
    if text[:1] in ("{", "["):
        try:
            return {"json": _value(json.loads(text), names)}
        except ValueError:
            pass
    return names.stable(text)
