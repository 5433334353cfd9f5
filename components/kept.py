"""Values of credentials, and where they are kept: what every store of secrets has alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pulumi
from pulumi_random import RandomPassword

from components.contract import SecretRef
from components.credentials import Credential, Generated, cannot_rotate
from components.settings.rotation import RotationSettings


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A credential in the store.

    Attributes:
        ref: Where it is.
        values: Its properties, as secrets; empty when the operator supplies them.
        previous: The values before, while the settings say that both are accepted; else empty.
        ended: The values before were accepted for a while, and are no more.
    """

    ref: SecretRef
    values: Mapping[str, pulumi.Output[str]]
    previous: Mapping[str, pulumi.Output[str]] = field(default_factory=dict[str, pulumi.Output[str]])
    ended: bool = False


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Values of a credential that the operator does not supply; the fields are those of :class:`Kept`."""

    values: dict[str, pulumi.Output[str]]
    previous: dict[str, pulumi.Output[str]]
    ended: bool


def refuse(rotation: RotationSettings, credentials: Iterable[Credential], *others: str) -> None:
    """Refuse generations of what has none.

    Args:
        rotation: The stack's.
        credentials: What the store keeps.
        others: Purposes of what the database and the cache draw by themselves.

    Raises:
        pulumi.RunError: A purpose is not known, is supplied, or keeps its first value.
    """
    known = {one.purpose: one for one in credentials}
    for purpose, generation in rotation.generations.items():
        if purpose not in known and purpose not in others:
            names = ", ".join(sorted({*known, *others}))
            raise pulumi.RunError(f"rotation.generations.{purpose}: must be one of {names}")
        if generation > 1 and purpose in known and (reason := cannot_rotate(known[purpose])):
            raise pulumi.RunError(f"rotation.generations.{purpose}: must not be there; {reason}")


def draw(name: str, credential: Credential, rotation: RotationSettings, opts: pulumi.ResourceOptions) -> Drawn:
    """What is fixed of a credential, and random values as secrets.

    A credential that overlaps has two places for its values, which take turns: a generation draws anew in the place of
    the last but one, so that the last stays as it is. Others have one place. The first generation of everything is as
    if there were none.

    Args:
        name: Prefix of the Pulumi resources.
        credential: Whose they are.
        rotation: Which generation it has.
        opts: Options of the resources that draw the random values.

    Raises:
        pulumi.RunError: It cannot have two values at once.
    """
    generation = rotation.generations.get(credential.purpose, 1)
    if credential.purpose in rotation.overlapping and not credential.overlaps:
        raise pulumi.RunError(f"rotation.overlapping: {credential.purpose} cannot have two values at once")
    overlapping = credential.purpose in rotation.overlapping
    last = _all_of(name, credential, generation, opts)
    # Declared for as long as there has been another, so that the end of the overlap draws and deletes nothing.
    before = _all_of(name, credential, generation - 1, opts) if credential.overlaps and generation > 1 else {}
    return Drawn(
        values=last,
        previous=before if overlapping else {},
        ended=credential.overlaps and generation > 1 and not overlapping,
    )


def _all_of(
    name: str, credential: Credential, generation: int, opts: pulumi.ResourceOptions
) -> dict[str, pulumi.Output[str]]:
    values = {key: pulumi.Output.from_input(value) for key, value in credential.fixed.items()}
    place = "-b" if credential.overlaps and generation % 2 == 0 else ""
    for key, generated in credential.generated.items():
        drawn = 1 if generated.permanent else generation
        values |= _generate(f"{name}-{key}{place}", key, generated, drawn, opts)
    return values


def _generate(
    name: str, key: str, generated: Generated, generation: int, opts: pulumi.ResourceOptions
) -> dict[str, pulumi.Output[str]]:
    password = RandomPassword(
        name,
        length=generated.length,
        special=False,
        # Another keeper is another value.
        keepers={"generation": str(generation)} if generation > 1 else None,
        opts=opts,
    )
    value = pulumi.Output.concat(generated.prefix, password.result) if generated.prefix else password.result
    hashed = {generated.bcrypt_as: pulumi.Output.secret(password.bcrypt_hash)} if generated.bcrypt_as else {}
    return {key: pulumi.Output.secret(value), **hashed}
