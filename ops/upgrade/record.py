"""The state of a release, reduced to what a later version's preview needs: no secret, and no times."""

from __future__ import annotations

import json
import lzma
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from ops.cost.read import InputError

_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
_SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"  # what the signature says of a secret; assets have others
STAND_IN: Final = "recorded"
"""What stands where a secret was."""

# Book-keeping of the engine: times, and lines of the program.
_DROPPED: Final = ("created", "modified", "sourcePosition", "stackTrace", "external", "refreshBeforeUpdate")
# Private keys and the like that a provider did not mark; certificates are public.
_PRIVATE: Final = ("PRIVATE KEY-----", "BEGIN OPENSSH")


def reduced(export: Mapping[str, Any]) -> dict[str, Any]:
    """A state that can be imported, from ``pulumi stack export --show-secrets``.

    Secrets become stand-ins of their own shape, and are no secrets any more: so the recorded state needs no passphrase.
    What was encrypted stays out of it in either form.

    Raises:
        InputError: It is no export.
    """
    deployment = export.get("deployment")
    if not isinstance(deployment, Mapping):
        raise InputError("this is no `pulumi stack export`: it has no deployment")
    resources = cast("list[Mapping[str, Any]]", cast("Mapping[str, Any]", deployment).get("resources") or [])
    kept = [_resource(one) for one in resources if not one.get("delete")]
    return {"version": export.get("version", 3), "deployment": {"manifest": _MANIFEST, "resources": kept}}


# The engine wants one; its time is the beginning of Go's.
_MANIFEST: Final = {"time": "0001-01-01T00:00:00Z", "magic": "", "version": ""}


def _resource(full: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _value(value) if key in ("inputs", "outputs") else value
        for key, value in sorted(full.items())
        if key not in _DROPPED and value not in (None, [], {})
    }


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return [_value(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        found = cast("dict[str, Any]", value)
        if found.get(_SIGNATURE) == _SECRET:
            return _stand_in(json.loads(found["plaintext"])) if "plaintext" in found else STAND_IN
        return {key: _value(item) for key, item in sorted(found.items())}
    if isinstance(value, str) and any(mark in value for mark in _PRIVATE):
        return STAND_IN
    return value


def _stand_in(secret: Any) -> Any:
    """A value of the same shape that says nothing."""
    if isinstance(secret, dict):
        found = cast("dict[str, Any]", secret)
        if _SIGNATURE in found:
            return _value(found)
        return {key: _stand_in(item) for key, item in sorted(found.items())}
    if isinstance(secret, list):
        return [_stand_in(item) for item in cast("list[Any]", secret)]
    if isinstance(secret, bool) or secret is None:
        return secret
    if isinstance(secret, (int, float)):
        return 0
    text = str(secret)
    if text[:1] in ("{", "["):  # JSON in a text stays JSON: programs and providers read it
        try:
            return json.dumps(_stand_in(json.loads(text)))
        except ValueError:
            return STAND_IN
    return STAND_IN


def parsed(text: str) -> dict[str, Any]:
    """What the engine printed.

    Raises:
        InputError: It is no export.
    """
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise InputError("the engine printed no state")
    return cast("dict[str, Any]", content)


def write(path: Path, state: Mapping[str, Any]) -> int:
    """Write a recorded state, the same bytes for the same state; return how many there are."""
    text = json.dumps(state, sort_keys=True, separators=(",", ":")).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without a time in the file, as gzip would put there; and half of gzip's size, for inputs and outputs repeat.
    packed = lzma.compress(text, preset=9 | lzma.PRESET_EXTREME) if path.suffix == ".xz" else text
    path.write_bytes(packed)
    return len(packed)


def load(path: Path) -> dict[str, Any]:
    """A recorded state, or an export.

    Raises:
        InputError: There is none.
    """
    try:
        raw = path.read_bytes()
        content = json.loads(lzma.decompress(raw) if path.suffix == ".xz" else raw)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, lzma.LZMAError) as error:
        raise InputError(f"{path} is no state: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no state")
    return cast("dict[str, Any]", content)
