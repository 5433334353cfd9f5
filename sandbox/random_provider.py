"""The ``random`` provider: real random values, kept in the state alone."""

from __future__ import annotations

import base64
import secrets
import string
import uuid
from collections.abc import Mapping, Sequence
from typing import Final

import bcrypt

from sandbox.provider import CheckFailure, ProviderError, Resource
from sandbox.schema import resource_schema
from sandbox.state_only import StateOnlyProvider
from sandbox.values import UNKNOWN, Properties, plain

_SPECIAL: Final = "!@#$%&*()-_=+[]{}<>:?"  # the real provider's default set
_DEFAULTS: Final[Mapping[str, Properties]] = {
    kind: {
        "lower": True, "upper": True, "numeric": True, "number": True, "special": True,
        "minLower": 0, "minUpper": 0, "minNumeric": 0, "minSpecial": 0,
    }
    for kind in ("random:index/randomPassword:RandomPassword", "random:index/randomString:RandomString")
} | {"random:index/randomPet:RandomPet": {"length": 2, "separator": "-"}}  # fmt: skip
_ADJECTIVES: Final = ("brave", "calm", "eager", "gentle", "keen", "lively", "merry", "noble", "proud", "quiet")
_ANIMALS: Final = ("badger", "crane", "dingo", "falcon", "heron", "ibex", "lynx", "marten", "otter", "robin")


class RandomProvider(StateOnlyProvider):
    """Makes passwords, strings, bytes and identifiers; any changed input makes a new one."""

    name = "random"

    def more_failures(self, inputs: Properties) -> Sequence[CheckFailure]:
        """Refuse a length that cannot hold the characters that must be in it."""
        minimum = sum(int(inputs.get(name) or 0) for name in ("minLower", "minUpper", "minNumeric", "minSpecial"))
        length = inputs.get("length")
        if isinstance(length, int) and length < max(1, minimum):
            return (CheckFailure("length", f"must be at least {max(1, minimum)}, got {length}"),)
        return ()

    def create(
        self, resource: Resource, inputs: Properties, timeout_seconds: float, *, preview: bool
    ) -> tuple[str, Properties]:
        """Draw the value."""
        del timeout_seconds
        given = {**_DEFAULTS.get(resource.type, {}), **plain(inputs)}
        computed = resource_schema(resource.type).outputs
        if preview:
            return "", {**{name: UNKNOWN for name, spec in computed.items() if spec.required}, **given}
        kind = resource.type.rsplit(":", maxsplit=1)[-1]
        if kind in ("RandomPassword", "RandomString"):
            text = _text(given)
            hashed = {"bcryptHash": bcrypt.hashpw(text.encode()[:72], bcrypt.gensalt(4)).decode()}
            return ("none" if kind == "RandomPassword" else text), {
                **given,
                "result": text,
                **(hashed if kind == "RandomPassword" else {}),
            }
        if kind in ("RandomId", "RandomBytes"):
            return _bytes(kind, given)
        if kind == "RandomUuid":
            value = str(uuid.uuid4())
            return value, {**given, "result": value}
        if kind == "RandomPet":
            words = [secrets.choice(_ADJECTIVES) for _ in range(int(given["length"]) - 1)] + [secrets.choice(_ANIMALS)]
            prefix = [str(given["prefix"])] if given.get("prefix") else []
            value = str(given["separator"]).join([*prefix, *words])
            return value, given
        if kind == "RandomInteger":
            low, high = int(given["min"]), int(given["max"])
            value = low + secrets.randbelow(high - low + 1)
            return str(value), {**given, "result": value}
        raise ProviderError(f"the sandbox does not emulate {resource.type}")


def _text(given: Properties) -> str:
    numeric = given["numeric"] and given["number"]
    special = str(given.get("overrideSpecial") or _SPECIAL)
    sets = [
        (string.ascii_lowercase, given["lower"], given["minLower"]),
        (string.ascii_uppercase, given["upper"], given["minUpper"]),
        (string.digits, numeric, given["minNumeric"]),
        (special, given["special"], given["minSpecial"]),
    ]
    drawn = [secrets.choice(letters) for letters, _, least in sets for _ in range(int(least))]
    alphabet = "".join(letters for letters, wanted, _ in sets if wanted)
    if not alphabet:
        raise ProviderError("at least one of lower, upper, numeric and special must be true")
    drawn += [secrets.choice(alphabet) for _ in range(int(given["length"]) - len(drawn))]
    secrets.SystemRandom().shuffle(drawn)
    return "".join(drawn)


def _bytes(kind: str, given: Properties) -> tuple[str, Properties]:
    raw = secrets.token_bytes(int(given["byteLength" if kind == "RandomId" else "length"]))
    if kind == "RandomBytes":
        return "none", {**given, "base64": base64.b64encode(raw).decode(), "hex": raw.hex()}
    url = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    prefix = str(given.get("prefix") or "")
    return url, {
        **given,
        "b64Std": prefix + base64.b64encode(raw).decode(),
        "b64Url": prefix + url,
        "hex": prefix + raw.hex(),
        "dec": prefix + str(int.from_bytes(raw, "big")),
    }
