"""Least privilege for pods: keys of the object store and entries of the secret store; the twin of ``Identity``.

A cloud's identity comes into a pod through its service account. Here it is a pair of keys in a Secret named after the
service account, which :mod:`components.onprem.clients` puts into the pods that run as it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pulumi
from pulumi_kubernetes import core, rbac
from pulumi_kubernetes.meta import v1 as meta
from pulumi_random import RandomPassword

from components.contract import (
    BucketRole,
    Grant,
    Identity,
    ObjectGrant,
    SecretGrant,
    SecretRef,
    ServiceIdentity,
    object_keys_secret,
)
from components.onprem.clients import trust_in
from components.onprem.names import ACCESS_KEY, KEYS_FILE, SECRET_KEY, SECRETS
from components.onprem.openshift import Admission
from components.onprem.rooms import Rooms


@dataclass(frozen=True, kw_only=True)
class Keys:
    """A pair of keys of the object store.

    Attributes:
        access: Who signs.
        secret: What is signed with.
    """

    access: pulumi.Input[str]
    secret: pulumi.Input[str]


@dataclass
class KeyRing:
    """Everybody whom the object store in the cluster knows.

    The store reads one document with all of them, and systems ask for identities one after another: the document is
    put together when the program has run to its end, which is when the engine's loop gets to the first output.
    """

    _users: dict[str, tuple[tuple[str, ...], pulumi.Output[str]]] = field(
        default_factory=dict[str, tuple[tuple[str, ...], pulumi.Output[str]]]
    )
    _closed: bool = False

    def add(self, user: str, actions: Sequence[str], *, name: str, parent: pulumi.Resource) -> Keys:
        """Give ``user`` a pair of keys with which it may do ``actions``.

        Raises:
            pulumi.RunError: The user is there already, or the document has been put together.
        """
        if user in self._users:
            raise pulumi.RunError(f"{user} has an identity already: a service account has one")
        if self._closed:
            raise pulumi.RunError(f"{user}: identities are asked for by the program, not inside an apply")
        password = RandomPassword(f"{name}-key", length=40, special=False, opts=pulumi.ResourceOptions(parent=parent))
        secret = pulumi.Output.secret(password.result)
        self._users[user] = (tuple(actions), secret)
        return Keys(access=user, secret=secret)

    def document(self) -> pulumi.Output[str]:
        """Identities as SeaweedFS reads them; JSON, secret."""
        return pulumi.Output.secret(pulumi.Output.from_input(None).apply(lambda _: self._collected()))

    def _collected(self) -> pulumi.Output[str]:
        self._closed = True
        users = sorted(self._users)
        secrets = pulumi.Output.all(*(self._users[user][1] for user in users))
        return secrets.apply(
            lambda values: json.dumps(
                {
                    "identities": [
                        {
                            "name": user,
                            "credentials": [{"accessKey": user, "secretKey": value}],
                            "actions": list(self._users[user][0]),
                        }
                        for user, value in zip(users, values, strict=True)
                    ]
                },
                sort_keys=True,
            )
        )


@dataclass(frozen=True, kw_only=True)
class OnPremIdentity:
    """Implements ``contract.NamespacedIdentity``.

    Attributes:
        rooms: Namespaces of the foundation.
        buckets: Names of the buckets.
        secrets: Entries of the secret store.
        ring: Who has keys of the store in the cluster; none where ``shared`` are the keys of all.
        shared: Keys of an existing store, which every workload signs with.
        store_ready: What must exist before the store answers.
        openshift: What service accounts need to be admitted on OpenShift; none elsewhere.
        trust: Certificates that pods trust besides the public ones (PEM).
        namespaces: For each namespace what must exist before something is put there.
    """

    rooms: Rooms
    buckets: Mapping[BucketRole, str]
    secrets: Mapping[str, SecretRef]
    ring: KeyRing
    shared: Keys | None
    store_ready: tuple[pulumi.Resource, ...]
    namespaces: Mapping[str, Sequence[pulumi.Resource]] = field(default_factory=dict[str, Sequence[pulumi.Resource]])
    trust: pulumi.Output[str]
    openshift: Admission | None = None

    def within(self, namespaces: Mapping[str, Sequence[pulumi.Resource]], parent: pulumi.Resource) -> Identity:
        """The same, for service accounts of ``namespaces``; puts there what their pods trust."""
        if self.openshift is not None:
            self.openshift.admit(namespaces, parent=parent)
        trusting = trust_in(namespaces, self.trust, parent=parent)
        return replace(self, namespaces={title: (*some, trusting[title]) for title, some in namespaces.items()})

    def grant(
        self, name: str, *, namespace: str, service_account: str, grants: Sequence[Grant], parent: pulumi.Resource
    ) -> ServiceIdentity:
        """Create the identity of ``namespace/service_account``; it can do what ``grants`` say and no more."""
        objects = [one for one in grants if isinstance(one, ObjectGrant)]
        secrets = [one for one in grants if isinstance(one, SecretGrant)]
        if other := [type(one).__name__ for one in grants if not isinstance(one, (ObjectGrant, SecretGrant))]:
            raise pulumi.RunError(
                f"{namespace}/{service_account}: {', '.join(other)} is for what a cloud has; this stack stands on none"
            )
        ready: list[pulumi.Resource] = []
        annotations: dict[str, pulumi.Input[str]] = {}
        if objects:
            ready += [self._keys(name, namespace, service_account, objects, parent), *self.store_ready]
            annotations["llmops/object-keys"] = object_keys_secret(service_account)
        if entries := sorted({entry for one in secrets for entry in one.entries}):
            ready.append(self._reader(name, namespace, service_account, entries, parent))
        return ServiceIdentity(annotations=annotations, ready=tuple(ready))

    def _keys(
        self, name: str, namespace: str, service_account: str, grants: Sequence[ObjectGrant], parent: pulumi.Resource
    ) -> pulumi.Resource:
        if (there := self.namespaces.get(namespace)) is None:
            raise pulumi.RunError(f"{namespace}/{service_account}: nobody creates the namespace {namespace}")
        keys = self.shared or self.ring.add(
            f"{namespace}-{service_account}", actions(grants, self.buckets), name=name, parent=parent
        )
        return core.v1.Secret(
            f"{name}-object-keys",
            metadata=meta.ObjectMetaArgs(name=object_keys_secret(service_account), namespace=namespace),
            string_data={ACCESS_KEY: keys.access, SECRET_KEY: keys.secret, KEYS_FILE: _file(keys)},
            # The namespace.
            opts=pulumi.ResourceOptions(parent=parent, depends_on=list(there)),
        )

    def _reader(
        self, name: str, namespace: str, service_account: str, entries: Sequence[str], parent: pulumi.Resource
    ) -> pulumi.Resource:
        unknown = [entry for entry in entries if entry not in self.secrets]
        if unknown:
            raise pulumi.RunError(f"no secret entry {', '.join(unknown)}; there are {', '.join(sorted(self.secrets))}")
        child = pulumi.ResourceOptions(parent=parent)
        metadata = meta.ObjectMetaArgs(name=f"{namespace}-{service_account}", namespace=self.rooms.names[SECRETS])
        role = rbac.v1.Role(
            f"{name}-entries",
            metadata=metadata,
            rules=[
                rbac.v1.PolicyRuleArgs(
                    api_groups=[""],
                    resources=["secrets"],
                    resource_names=[self.secrets[entry].key for entry in entries],
                    verbs=["get"],
                )
            ],
            opts=child,
        )
        return rbac.v1.RoleBinding(
            f"{name}-entries",
            metadata=metadata,
            role_ref=rbac.v1.RoleRefArgs(
                api_group="rbac.authorization.k8s.io",
                kind="Role",
                name=role.metadata.apply(lambda found: str(found.name)),
            ),
            subjects=[rbac.v1.SubjectArgs(kind="ServiceAccount", name=service_account, namespace=namespace)],
            opts=child,
        )


def _file(keys: Keys) -> pulumi.Output[str]:
    return pulumi.Output.concat(
        "[default]\naws_access_key_id = ", keys.access, "\naws_secret_access_key = ", keys.secret, "\n"
    )


def actions(grants: Sequence[ObjectGrant], buckets: Mapping[BucketRole, str]) -> list[str]:
    """What SeaweedFS calls the rights of ``grants``: an action and a bucket, or a pattern of names in it."""
    found: list[str] = []
    for grant in grants:
        bucket = buckets[grant.bucket]
        place = f"{bucket}/{grant.prefix}*" if grant.prefix else bucket
        verbs = ("Read", "List") if grant.access == "read" else ("Read", "List", "Write", "Tagging")
        found += [f"{verb}:{place}" for verb in verbs]
        if grant.prefix and grant.lists_bucket:
            found.append(f"List:{bucket}")
    return list(dict.fromkeys(found))
