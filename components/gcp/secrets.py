"""Credentials in Secret Manager; the GCP twin of ``Secrets``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_gcp import secretmanager

from components.contract import SecretRef
from components.credentials import CATALOGUE, Credential
from components.gcp.project import Project
from components.kept import Kept, draw, refuse
from components.settings.rotation import UNROTATED, RotationSettings


@dataclass(frozen=True, kw_only=True)
class SecretVault:
    """How entries are kept.

    Attributes:
        prefix: ``<project>-<stack>``; an entry is named ``<prefix>-<purpose>``.
        project: Where they are.
        kms_key: Key of all entries.
        recovery_window_days: How long a destroyed version can be brought back; 0 destroys at once. An entry itself goes
            at once whatever this says: Secret Manager has no window for entries, so a protected stack refuses it.
        protect: Refuse deletion.
        rotation: Which values have been drawn again.
    """

    prefix: str
    project: Project
    kms_key: pulumi.Input[str]
    recovery_window_days: int
    protect: bool
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
        super().__init__("llmops:gcp:Secrets", name, None, opts)
        refuse(args.vault.rotation, (*CATALOGUE, *args.more), "database-admin")

        self.entries = {
            credential.purpose: keep(name, credential, args.vault, parent=self).ref
            for credential in (*CATALOGUE, *args.more)
        }
        self.register_outputs({"entries": {purpose: ref.key for purpose, ref in self.entries.items()}})


def keep(name: str, credential: Credential, vault: SecretVault, *, parent: pulumi.Resource) -> Kept:
    """Create the entry of ``credential``, with its value unless the operator supplies it."""
    child = pulumi.ResourceOptions(parent=parent)
    entry = _entry(name, credential.purpose, credential.description, vault, parent)
    if credential.supplied:
        return Kept(ref=SecretRef(key=entry.secret_id, properties=credential.properties), values={})

    drawn = draw(f"{name}-{credential.purpose}", credential, vault.rotation, child)
    ref = _write(name, credential.purpose, entry, drawn.values, parent)
    return Kept(
        ref=SecretRef(key=ref, properties=credential.properties),
        values=drawn.values,
        previous=drawn.previous,
        ended=drawn.ended,
    )


def keep_values(
    name: str,
    purpose: str,
    description: str,
    values: Mapping[str, pulumi.Output[str]],
    vault: SecretVault,
    *,
    parent: pulumi.Resource,
) -> SecretRef:
    """Create an entry of values that come from elsewhere, such as a token that Google made."""
    entry = _entry(name, purpose, description, vault, parent)
    return SecretRef(key=_write(name, purpose, entry, values, parent), properties=tuple(values))


def _entry(
    name: str, purpose: str, description: str, vault: SecretVault, parent: pulumi.Resource
) -> secretmanager.Secret:
    return secretmanager.Secret(
        f"{name}-{purpose}",
        secret_id=f"{vault.prefix}-{purpose}",
        annotations={"description": description},
        replication={
            "user_managed": {
                "replicas": [
                    {
                        "location": vault.project.region,
                        "customer_managed_encryption": {"kms_key_name": vault.kms_key},
                    }
                ]
            }
        },
        version_destroy_ttl=f"{vault.recovery_window_days * 86400}s" if vault.recovery_window_days else None,
        deletion_protection=vault.protect,
        opts=pulumi.ResourceOptions(parent=parent),
    )


def _write(
    name: str,
    purpose: str,
    entry: secretmanager.Secret,
    values: Mapping[str, pulumi.Output[str]],
    parent: pulumi.Resource,
) -> pulumi.Output[str]:
    """Store a version; the entry's name comes from it, because who reads the entry must find a value in it."""
    version = secretmanager.SecretVersion(
        f"{name}-{purpose}",
        secret=entry.id,
        secret_data=pulumi.Output.json_dumps(dict(values)),  # secret, because the values are
        opts=pulumi.ResourceOptions(parent=parent),
    )
    return pulumi.Output.all(entry.secret_id, version.name).apply(lambda names: str(names[0]))
