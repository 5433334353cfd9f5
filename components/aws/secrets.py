"""Credentials in Secrets Manager; the AWS twin of ``Secrets``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import secretsmanager

from components.contract import SecretRef
from components.credentials import CATALOGUE, Credential
from components.kept import Kept, draw, refuse
from components.settings.rotation import UNROTATED, RotationSettings


@dataclass(frozen=True, kw_only=True)
class SecretVault:
    """How entries are kept.

    Attributes:
        prefix: ``<project>-<stack>``; an entry is named ``<prefix>/<purpose>``.
        kms_key_arn: Key of all entries.
        recovery_window_days: 7 to 30: how long a deleted entry can be brought back, and its name cannot be used again;
            0 deletes at once, so that a stack can be destroyed and built again.
        rotation: Which values have been drawn again.
    """

    prefix: str
    kms_key_arn: pulumi.Input[str]
    recovery_window_days: int
    rotation: RotationSettings = UNROTATED


@dataclass(frozen=True, kw_only=True)
class SecretsArgs:
    """What the credentials need.

    Attributes:
        vault: How they are kept.
        more: Credentials besides the catalogue's, such as API keys of hosted models.
    """

    vault: SecretVault
    more: Sequence[Credential] = ()


class Secrets(pulumi.ComponentResource):
    """Every credential of the catalogue; values are random or the operator's, and are never shown."""

    entries: Mapping[str, SecretRef]

    def __init__(self, name: str, args: SecretsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:aws:Secrets", name, None, opts)
        refuse(args.vault.rotation, (*CATALOGUE, *args.more), "cache-auth")

        self.entries = {
            credential.purpose: keep(name, credential, args.vault, parent=self).ref
            for credential in (*CATALOGUE, *args.more)
        }
        self.register_outputs({"entries": {purpose: ref.key for purpose, ref in self.entries.items()}})


def keep(name: str, credential: Credential, vault: SecretVault, *, parent: pulumi.Resource) -> Kept:
    """Create the entry of ``credential``, with its value unless the operator supplies it."""
    child = pulumi.ResourceOptions(parent=parent)
    entry = secretsmanager.Secret(
        f"{name}-{credential.purpose}",
        name=f"{vault.prefix}/{credential.purpose}",
        description=credential.description,
        kms_key_id=vault.kms_key_arn,
        recovery_window_in_days=vault.recovery_window_days,
        opts=child,
    )
    if credential.supplied:
        return Kept(ref=SecretRef(key=entry.arn, properties=credential.properties), values={})

    drawn = draw(f"{name}-{credential.purpose}", credential, vault.rotation, child)
    version = secretsmanager.SecretVersion(
        f"{name}-{credential.purpose}",
        secret_id=entry.id,
        secret_string=pulumi.Output.json_dumps(drawn.values),  # secret, because the values are
        opts=child,
    )
    # From the version and not from the entry: who reads the entry must find a value in it.
    return Kept(
        ref=SecretRef(key=version.arn, properties=credential.properties),
        values=drawn.values,
        previous=drawn.previous,
        ended=drawn.ended,
    )
