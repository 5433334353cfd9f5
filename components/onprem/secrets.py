"""Credentials in a closed namespace of the cluster, which External Secrets reads: the twin of ``Secrets``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes import core
from pulumi_kubernetes.meta import v1 as meta

from components.contract import SecretRef
from components.credentials import CATALOGUE, Credential
from components.kept import Kept, draw, refuse
from components.onprem.names import SECRETS
from components.onprem.rooms import Rooms
from components.settings.rotation import UNROTATED, RotationSettings


@dataclass(frozen=True, kw_only=True)
class SecretsArgs:
    """What the credentials need.

    Attributes:
        rooms: Namespaces.
        more: Credentials besides the catalogue's, such as API keys of hosted models.
        protect: Refuse deletion.
        rotation: Which values have been drawn again.
    """

    rooms: Rooms
    more: Sequence[Credential] = ()
    protect: bool
    rotation: RotationSettings = UNROTATED


class Secrets(pulumi.ComponentResource):
    """Every credential of the catalogue, one Secret each; values are random or the operator's, and are never shown."""

    entries: Mapping[str, SecretRef]

    def __init__(self, name: str, args: SecretsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:onprem:Secrets", name, None, opts)
        refuse(args.rotation, (*CATALOGUE, *args.more), "cache-auth", "database-admin")
        self._name, self._args = name, args
        self.entries = {credential.purpose: self.keep(credential).ref for credential in (*CATALOGUE, *args.more)}
        self.register_outputs({"entries": {purpose: ref.key for purpose, ref in self.entries.items()}})

    def keep(self, credential: Credential) -> Kept:
        """Create the entry of ``credential``, with its value unless the operator supplies it."""
        name = f"{self._name}-{credential.purpose}"
        child = pulumi.ResourceOptions(parent=self)
        metadata = meta.ObjectMetaArgs(
            name=credential.purpose,
            namespace=self._args.rooms.names[SECRETS],
            annotations={"llmops/description": credential.description},
        )
        if credential.supplied:
            # What the operator fills in is not the program's: neither read back nor overwritten.
            untouched = pulumi.ResourceOptions(
                parent=self, ignore_changes=["data", "stringData"], protect=self._args.protect
            )
            entry = core.v1.Secret(name, metadata=metadata, opts=untouched)
            return Kept(ref=_ref(entry, credential), values={})

        drawn = draw(name, credential, self._args.rotation, child)
        kept = pulumi.ResourceOptions(parent=self, protect=self._args.protect)
        entry = core.v1.Secret(name, metadata=metadata, string_data=drawn.values, opts=kept)
        return Kept(ref=_ref(entry, credential), values=drawn.values, previous=drawn.previous, ended=drawn.ended)


def _ref(entry: core.v1.Secret, credential: Credential) -> SecretRef:
    return SecretRef(key=entry.metadata.apply(lambda found: str(found.name)), properties=credential.properties)
