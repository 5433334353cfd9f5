"""API versions that Kubernetes stops serving, and who still uses them.

The releases are those that the API server itself warns of: the lifecycle of each type in ``k8s.io/api``,
``apiextensions-apiserver`` and ``kube-aggregator`` v0.36.3 (``zz_generated.prerelease-lifecycle.go``). The Deprecated
API Migration Guide says the same in prose, and what to change; types that are gone from the sources
(autoscaling/v2beta*, PodSecurityPolicy) are from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from ops.cost.read import State
from ops.upgrade.minors import name

GUIDE: Final = "https://kubernetes.io/docs/reference/using-api/deprecation-guide/"


@dataclass(frozen=True)
class Removal:
    """A version of an API that ends.

    Attributes:
        api: Group and version.
        kind: Kind of object.
        deprecated: Minor that began to warn.
        removed: First minor that does not serve it.
        instead: Group and version to move to; empty where the types name none.
    """

    api: str
    kind: str
    deprecated: int
    removed: int
    instead: str = ""


def _rows(api: str, kinds: str, deprecated: int, removed: int, instead: str = "") -> Iterator[Removal]:
    for kind in kinds.split():
        yield Removal(api, kind, deprecated, removed, instead)


_WEBHOOKS: Final = "MutatingWebhookConfiguration ValidatingWebhookConfiguration"
_POLICIES: Final = "ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding"
_MUTATIONS: Final = "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding"
_ROLES: Final = "ClusterRole ClusterRoleBinding Role RoleBinding"
_FLOWS: Final = "FlowSchema PriorityLevelConfiguration"
_DEVICES: Final = "DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice"

REMOVALS: Final[tuple[Removal, ...]] = (
    *_rows("admissionregistration.k8s.io/v1beta1", _WEBHOOKS, 16, 22, "admissionregistration.k8s.io/v1"),
    *_rows("apiextensions.k8s.io/v1beta1", "CustomResourceDefinition", 16, 22, "apiextensions.k8s.io/v1"),
    *_rows("apiregistration.k8s.io/v1beta1", "APIService", 19, 22, "apiregistration.k8s.io/v1"),
    *_rows("certificates.k8s.io/v1beta1", "CertificateSigningRequest", 19, 22, "certificates.k8s.io/v1"),
    *_rows("coordination.k8s.io/v1beta1", "Lease", 19, 22, "coordination.k8s.io/v1"),
    *_rows("extensions/v1beta1", "Ingress", 14, 22, "networking.k8s.io/v1"),
    *_rows("networking.k8s.io/v1beta1", "Ingress IngressClass", 19, 22, "networking.k8s.io/v1"),
    *_rows("rbac.authorization.k8s.io/v1beta1", _ROLES, 17, 22, "rbac.authorization.k8s.io/v1"),
    *_rows("scheduling.k8s.io/v1beta1", "PriorityClass", 14, 22, "scheduling.k8s.io/v1"),
    *_rows("storage.k8s.io/v1beta1", "CSIDriver StorageClass VolumeAttachment", 19, 22, "storage.k8s.io/v1"),
    *_rows("storage.k8s.io/v1beta1", "CSINode", 17, 22, "storage.k8s.io/v1"),
    *_rows("batch/v1beta1", "CronJob", 21, 25, "batch/v1"),
    *_rows("discovery.k8s.io/v1beta1", "EndpointSlice", 21, 25, "discovery.k8s.io/v1"),
    *_rows("events.k8s.io/v1beta1", "Event", 22, 25, "events.k8s.io/v1"),
    *_rows("autoscaling/v2beta1", "HorizontalPodAutoscaler", 22, 25, "autoscaling/v2"),
    *_rows("policy/v1beta1", "PodDisruptionBudget", 21, 25, "policy/v1"),
    *_rows("policy/v1beta1", "PodSecurityPolicy", 21, 25),
    *_rows("node.k8s.io/v1beta1", "RuntimeClass", 22, 25, "node.k8s.io/v1"),
    *_rows("autoscaling/v2beta2", "HorizontalPodAutoscaler", 23, 26, "autoscaling/v2"),
    *_rows("flowcontrol.apiserver.k8s.io/v1beta1", _FLOWS, 23, 26, "flowcontrol.apiserver.k8s.io/v1"),
    *_rows("storage.k8s.io/v1beta1", "CSIStorageCapacity", 24, 27, "storage.k8s.io/v1"),
    *_rows("flowcontrol.apiserver.k8s.io/v1beta2", _FLOWS, 26, 29, "flowcontrol.apiserver.k8s.io/v1"),
    *_rows("admissionregistration.k8s.io/v1alpha1", _POLICIES, 29, 32, "admissionregistration.k8s.io/v1"),
    *_rows("flowcontrol.apiserver.k8s.io/v1beta3", _FLOWS, 29, 32, "flowcontrol.apiserver.k8s.io/v1"),
    *_rows("admissionregistration.k8s.io/v1beta1", _POLICIES, 31, 34, "admissionregistration.k8s.io/v1"),
    *_rows("storage.k8s.io/v1alpha1", "VolumeAttributesClass", 32, 35, "storage.k8s.io/v1"),
    *_rows("certificates.k8s.io/v1alpha1", "ClusterTrustBundle", 34, 37),
    *_rows("networking.k8s.io/v1beta1", "IPAddress ServiceCIDR", 34, 37, "networking.k8s.io/v1"),
    *_rows("storage.k8s.io/v1beta1", "VolumeAttributesClass", 34, 37, "storage.k8s.io/v1"),
    *_rows("admissionregistration.k8s.io/v1alpha1", _MUTATIONS, 35, 38, "admissionregistration.k8s.io/v1"),
    *_rows("coordination.k8s.io/v1alpha2", "LeaseCandidate", 35, 38),
    *_rows("resource.k8s.io/v1beta1", _DEVICES, 35, 38, "resource.k8s.io/v1"),
    *_rows("coordination.k8s.io/v1beta1", "LeaseCandidate", 36, 39),
    *_rows("resource.k8s.io/v1alpha3", "DeviceTaintRule", 36, 39),
    *_rows("resource.k8s.io/v1beta2", _DEVICES, 36, 39, "resource.k8s.io/v1"),
    *_rows("admissionregistration.k8s.io/v1beta1", _MUTATIONS, 37, 40, "admissionregistration.k8s.io/v1"),
    *_rows("certificates.k8s.io/v1beta1", "ClusterTrustBundle", 37, 40),
    *_rows("certificates.k8s.io/v1beta1", "PodCertificateRequest", 38, 41),
    *_rows("storagemigration.k8s.io/v1beta1", "StorageVersionMigration", 38, 41),
    *_rows("resource.k8s.io/v1beta2", "DeviceTaintRule", 39, 42),
)

_BY_KIND: Final[Mapping[tuple[str, str], Removal]] = {(one.api, one.kind): one for one in REMOVALS}


@dataclass(frozen=True, kw_only=True)
class Use:
    """An API version that ends, in use.

    Attributes:
        api: Group and version.
        what: Kind, or the resource's plural where only that is known.
        where: Who uses it: an object, a release, or who wrote it.
        removed: First minor that does not serve it.
        instead: What to move to; empty where that is not known.
    """

    api: str
    what: str
    where: str
    removed: int
    instead: str = ""

    def sentence(self) -> str:
        """For people."""
        move = f"; move to {self.instead}" if self.instead else ""
        return (
            f"{self.where} uses {self.what} of {self.api}, which Kubernetes {name(self.removed)} does not serve{move}"
        )


def find(api: str, kind: str) -> Removal | None:
    """The row of an API version and kind, if it ends."""
    return _BY_KIND.get((api, kind))


def in_state(states: Iterable[State]) -> list[Use]:
    """Ending API versions among the objects of a state, and among what its releases installed."""
    found: list[Use] = []
    for state in states:
        for api, kind, where in _objects(state):
            if row := find(api, kind):
                found.append(Use(api=api, what=kind, where=where, removed=row.removed, instead=row.instead))
    return found


def _objects(state: State) -> Iterator[tuple[str, str, str]]:
    type_, resource = str(state.get("type", "")), str(state.get("urn", "")).rsplit("::", 1)[-1]
    inputs = cast("Mapping[str, Any]", state.get("inputs") or {})
    if type_ == "kubernetes:helm.sh/v3:Release":
        outputs = cast("Mapping[str, Any]", state.get("outputs") or {})
        for api, kind, names in installed(outputs):
            for one in names:
                yield api, kind, f"{kind} {one} of release {resource}"
    elif type_.startswith("kubernetes:"):
        # The type says what the SDK calls it, the inputs what is sent.
        _, module, kind = type_.split(":", 2)
        api = str(inputs.get("apiVersion") or module.removeprefix("core/"))
        yield api, str(inputs.get("kind") or kind), f"{kind} {resource}"


def installed(outputs: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    """What a release installed: API version, kind and names. Its keys are such as ``Deployment.apps/apps/v1``."""
    names = outputs.get("resourceNames")
    if not isinstance(names, Mapping):
        return
    for key, values in cast("Mapping[str, Any]", names).items():
        kind, _, api = key.partition("/")
        yield api, kind.partition(".")[0], [str(one) for one in cast("Iterable[Any]", values or ())]


def until(uses: Iterable[Use], target: int) -> tuple[list[Use], list[Use]]:
    """Those that the target no longer serves, and those that end later."""
    ordered = sorted(set(uses), key=lambda use: (use.removed, use.api, use.what, use.where))
    return [one for one in ordered if one.removed <= target], [one for one in ordered if one.removed > target]
