"""Values of credentials, and where they are kept: what every store of secrets has alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_random import RandomPassword

from components.contract import SecretRef
from components.credentials import Credential, Generated


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A credential in the store.

    Attributes:
        ref: Where it is.
        values: Its properties, as secrets; empty when the operator supplies them.
    """

    ref: SecretRef
    values: Mapping[str, pulumi.Output[str]]


def values_of(name: str, credential: Credential, opts: pulumi.ResourceOptions) -> dict[str, pulumi.Output[str]]:
    """Properties of a credential that the operator does not supply: what is fixed, and random values as secrets.

    Args:
        name: Prefix of the Pulumi resources.
        credential: Whose they are.
        opts: Options of the resources that draw the random values.
    """
    values = {key: pulumi.Output.from_input(value) for key, value in credential.fixed.items()}
    for key, generated in credential.generated.items():
        values |= _generate(f"{name}-{key}", key, generated, opts)
    return values


def _generate(name: str, key: str, generated: Generated, opts: pulumi.ResourceOptions) -> dict[str, pulumi.Output[str]]:
    password = RandomPassword(name, length=generated.length, special=False, opts=opts)
    value = pulumi.Output.concat(generated.prefix, password.result) if generated.prefix else password.result
    hashed = {generated.bcrypt_as: pulumi.Output.secret(password.bcrypt_hash)} if generated.bcrypt_as else {}
    return {key: pulumi.Output.secret(value), **hashed}
