"""May the caller make what the stack has, and are the names free that it fixes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, get_args

from components.contract import BucketRole
from ops.preflight.gcp.account import Account, GoogleError
from ops.preflight.model import Check, Finding
from ops.preflight.target import Target

# What the program calls first on each kind of resource. testIamPermissions takes 100 at a time.
PERMISSIONS: Final = (
    "artifactregistry.repositories.create",
    "cloudkms.cryptoKeys.create",
    "cloudkms.cryptoKeys.setIamPolicy",
    "cloudkms.keyRings.create",
    "cloudsql.instances.create",
    "cloudsql.users.create",
    "compute.addresses.create",
    "compute.firewalls.create",
    "compute.globalAddresses.createInternal",
    "compute.networks.create",
    "compute.routers.create",
    "compute.subnetworks.create",
    "container.clusters.create",
    "container.clusters.update",
    "container.clusterRoles.bind",
    "file.instances.create",
    "iam.roles.create",
    "iam.serviceAccounts.actAs",
    "iam.serviceAccounts.create",
    "iam.serviceAccounts.setIamPolicy",
    "logging.buckets.create",
    "logging.sinks.create",
    "monitoring.alertPolicies.create",
    "monitoring.notificationChannels.create",
    "redis.instances.create",
    "resourcemanager.projects.setIamPolicy",
    "secretmanager.secrets.create",
    "secretmanager.versions.add",
    "servicenetworking.services.addPeering",
    "serviceusage.services.enable",
    "storage.buckets.create",
    "storage.buckets.setIamPolicy",
)
_ENABLES: Final = "serviceusage.services.enable"


def checks(account: Account, target: Target) -> Iterator[Check]:
    """One question for the permissions together, one for each bucket's name, one for the cluster."""
    yield _permissions(account, target)
    for role in get_args(BucketRole):
        yield _bucket(account, target, f"{target.prefix}-{role}-{target.settings.gcp.project}")


def _permissions(account: Account, target: Target) -> Check:
    gcp = target.settings.gcp
    wanted = [one for one in PERMISSIONS if gcp.enable_apis or one != _ENABLES]

    def ask() -> Iterator[Finding]:
        url = f"https://cloudresourcemanager.googleapis.com/v1/projects/{gcp.project}:testIamPermissions"
        held: list[str] = account.post(url, {"permissions": wanted}).get("permissions") or []
        if missing := [one for one in wanted if one not in held]:
            yield check.finding(
                "refused",
                f"the caller lacks {', '.join(missing)}",
                remedy=f"gcloud projects add-iam-policy-binding {gcp.project} --member=MEMBER --role=ROLE",
                link=f"https://console.cloud.google.com/iam-admin/iam?project={gcp.project}",
            )
        else:
            yield check.finding(
                "ok", f"{len(wanted)} permissions on the project; rules of the organization are not asked"
            )

    check = Check(group="permission", subject="permissions", ask=ask)
    return check


def _bucket(account: Account, target: Target, name: str) -> Check:
    def ask() -> Iterator[Finding]:
        try:
            found = account.get(f"https://storage.googleapis.com/storage/v1/b/{name}")
        except GoogleError as error:
            if error.absent:
                yield check.finding("ok", "the name is free")
            elif error.denied:
                # Also where the name is free and the caller may list nothing: Cloud Storage does not tell them apart.
                yield check.finding("unknown", f"not allowed to look: {error.text}")
            else:
                raise
            return
        labels: dict[str, str] = found.get("labels") or {}
        if labels.get("stack") == target.prefix:
            yield check.finding("ok", "is this stack's own")
        else:
            yield check.finding(
                "refused", "the bucket exists and is not this stack's", remedy="choose another name of the stack"
            )

    check = Check(group="name", subject=f"bucket {name}", ask=ask)
    return check
