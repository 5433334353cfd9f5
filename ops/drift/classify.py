"""Which differences between the state and what exists are somebody's doing, and which come by themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, cast

from ops.cost.model import Layer, at, layer_of
from ops.cost.read import steps_of
from ops.plan.preview import value_text
from ops.plan.stateful import STATEFUL

Remedy = Literal["up", "adopt-or-up", "by-hand", "restore", "none"]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A difference that comes by itself.

    Attributes:
        types: Pattern of resource types.
        paths: Patterns of properties.
        reason: Who changes them.
    """

    types: str
    paths: tuple[str, ...]
    reason: str


# Matched against the path with list positions left out: `spec.containers.image`.
NOISE: Final = (
    Rule(
        types="aws:eks/nodeGroup:NodeGroup",
        paths=("scalingConfig.desiredSize", "resources", "resources.*", "status"),
        reason="the cluster autoscaler sets the number of nodes",
    ),
    Rule(
        types="aws:autoscaling/group:Group",
        paths=("desiredCapacity", "instances*", "predictedCapacity"),
        reason="the cluster autoscaler sets the number of nodes",
    ),
    Rule(
        types="gcp:container/nodePool:NodePool",
        paths=("nodeCount", "initialNodeCount", "instanceGroupUrls*", "managedInstanceGroupUrls*", "version"),
        reason="GKE sets the number of nodes, and their patch version in the maintenance window",
    ),
    Rule(
        types="gcp:container/cluster:Cluster",
        paths=("masterVersion", "nodeVersion", "nodePools*", "instanceGroupUrls*", "labelFingerprint"),
        reason="GKE moves patch versions in the maintenance window",
    ),
    Rule(
        types="aws:eks/cluster:Cluster",
        paths=("platformVersion", "status"),
        reason="EKS moves the platform version of a minor by itself",
    ),
    Rule(
        types="aws:rds/instance:Instance",
        paths=("latestRestorableTime", "status", "engineVersionActual", "allocatedStorage"),
        reason="RDS moves patch versions, and storage grows by itself up to its limit",
    ),
    Rule(
        types="aws:elasticache/replicationGroup:ReplicationGroup",
        paths=("engineVersionActual", "memberClusters*"),
        reason="ElastiCache moves patch versions in the maintenance window",
    ),
    Rule(
        types="gcp:sql/databaseInstance:DatabaseInstance",
        paths=("maintenanceVersion", "availableMaintenanceVersions*", "settings.diskSize", "settings.version"),
        reason="Cloud SQL moves patch versions, and storage grows by itself up to its limit",
    ),
    Rule(
        types="aws:appautoscaling/target:Target",
        paths=("suspendedState*",),
        reason="scaling is suspended while a deployment goes on",
    ),
    Rule(types="aws:backup/vault:Vault", paths=("recoveryPoints",), reason="backups come and go"),
    Rule(
        types="aws:secretsmanager/secretVersion:SecretVersion",
        paths=("versionStages*", "versionId"),
        reason="a rotation moves the stages of versions",
    ),
    Rule(
        types="kubernetes:*",
        paths=(
            "status",
            "status.*",
            "metadata.resourceVersion",
            "metadata.generation",
            "metadata.managedFields*",
            "metadata.uid",
            "metadata.creationTimestamp",
            "metadata.finalizers*",
            "metadata.annotations.deployment.kubernetes.io/revision",
        ),
        reason="controllers and the API server write it",
    ),
    Rule(
        types="kubernetes:*",
        paths=("webhooks.clientConfig.caBundle", "spec.conversion.webhook.clientConfig.caBundle"),
        reason="cert-manager or the controller injects its authority",
    ),
    Rule(
        types="kubernetes:core/v1:ServiceAccount*",
        paths=("secrets", "secrets.*", "imagePullSecrets*"),
        reason="Kubernetes adds tokens",
    ),
    Rule(
        types="kubernetes:*:Job",
        paths=("spec.selector*", "spec.template.metadata.labels*", "spec.suspend"),
        reason="the job controller and queues write it",
    ),
    Rule(
        types="kubernetes:apps/v1:*",
        paths=("spec.replicas",),
        reason="an autoscaler sets the number of replicas, where the program leaves it out",
    ),
    Rule(
        types="kubernetes:helm.sh/v3:Release",
        paths=("status", "status.*", "resourceNames*", "checksum"),
        reason="Helm's own record of the release",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Property:
    """One property that differs.

    Attributes:
        path: Such as ``backupRetentionPeriod``.
        expected: What the state has, for people; empty where it is not shown.
        found: What exists.
        declared: Whether the program says anything of it: then ``up`` puts it back.
        noise: Why it changes by itself; empty for somebody's doing.
    """

    path: str
    expected: str
    found: str
    declared: bool
    noise: str = ""


@dataclass(frozen=True, kw_only=True)
class Drifted:
    """A resource that is not what the state says.

    Attributes:
        urn: Its name in the stack.
        type: Its type.
        gone: Whether it is not there any more.
        layer: Who asked for it.
        properties: What differs in it.
    """

    urn: str
    type: str
    gone: bool
    layer: Layer
    properties: tuple[Property, ...] = ()

    @property
    def name(self) -> str:
        """Its name in the program."""
        return self.urn.rsplit("::", 1)[-1]

    @property
    def real(self) -> tuple[Property, ...]:
        """The differences that are somebody's doing."""
        return tuple(one for one in self.properties if not one.noise)

    @property
    def is_real(self) -> bool:
        """Whether somebody did it."""
        return self.gone or bool(self.real)

    @property
    def loses(self) -> str:
        """What is lost with it, where it is gone and held something."""
        return STATEFUL.get(self.type, "") if self.gone else ""

    @property
    def remedy(self) -> Remedy:
        """What to do about it."""
        if self.gone:
            return "restore" if self.loses else "up"
        if not self.real:
            return "none"
        if any(not one.declared for one in self.real):
            return "by-hand"
        return "adopt-or-up"


REMEDIES: Final[Mapping[Remedy, str]] = {
    "up": "`pulumi up --refresh` makes it again",
    "adopt-or-up": "keep it: put the value found into the settings or the program; else `pulumi up --refresh` puts the "
    "old one back",
    "by-hand": "`pulumi up` leaves what the program does not declare: declare it, or undo it by hand",
    "restore": "`pulumi up --refresh` makes an empty one: restore it first, or right after (docs/runbooks/recovery.md)",
    "none": "nothing",
}


@dataclass(frozen=True, kw_only=True)
class Drift:
    """A stack against what exists.

    Attributes:
        stack: Its name.
        resources: What differs, the gravest first.
        compared: Resources that were asked about.
        errors: Why some could not be.
    """

    stack: str
    resources: tuple[Drifted, ...]
    compared: int
    errors: tuple[str, ...] = ()

    @property
    def real(self) -> tuple[Drifted, ...]:
        """What somebody did."""
        return tuple(one for one in self.resources if one.is_real)

    @property
    def noise(self) -> tuple[Drifted, ...]:
        """What came by itself."""
        return tuple(one for one in self.resources if not one.is_real)


def classify(content: Mapping[str, Any], stack: str) -> Drift:
    """Read what ``pulumi refresh --preview-only --json`` printed.

    Raises:
        InputError: It is none.
    """
    steps = [step for step in steps_of(content) if "pulumi:pulumi:Stack" not in str(step["urn"])]
    found = [one for step in steps if (one := _resource(step)) is not None]
    diagnostics = cast("list[Mapping[str, Any]]", content.get("diagnostics") or [])
    errors = [str(one.get("message", "")).strip() for one in diagnostics if one.get("severity") == "error"]
    return Drift(
        stack=stack,
        resources=tuple(
            sorted(found, key=lambda one: (not one.loses, not one.gone, not one.is_real, one.type, one.name))
        ),
        compared=len(steps),
        errors=tuple(dict.fromkeys(filter(None, errors))),
    )


def _resource(step: Mapping[str, Any]) -> Drifted | None:
    urn, operation = str(step["urn"]), str(step["op"])
    type_ = urn.split("::")[2].rsplit("$", 1)[-1]
    if operation == "delete":
        return Drifted(urn=urn, type=type_, gone=True, layer=layer_of(urn))
    paths = sorted(cast("Mapping[str, Any]", step.get("detailedDiff") or {})) or [
        str(key) for key in cast("Sequence[Any]", step.get("diffReasons") or ())
    ]
    properties = tuple(_property(step, type_, path) for path in paths if not path.startswith("__"))
    if not properties or operation not in ("update", "refresh"):
        return None
    return Drifted(urn=urn, type=type_, gone=False, layer=layer_of(urn), properties=properties)


def _property(step: Mapping[str, Any], type_: str, path: str) -> Property:
    keys = list(_keys(path))
    sides = [_value(step, side, keys) for side in ("oldState", "newState")]
    declared = at(step, "oldState", "inputs", *keys) is not None
    return Property(
        path=path,
        expected=value_text(sides[0]),
        found=value_text(sides[1]),
        declared=declared,
        noise=_noise(type_, path, declared=declared),
    )


def _value(step: Mapping[str, Any], side: str, keys: Sequence[str | int]) -> Any:
    """What a side has: what exists stands in the outputs, and a secret is told by its mark in either."""
    inputs, outputs = at(step, side, "inputs", *keys), at(step, side, "outputs", *keys)
    return cast("Any", inputs if isinstance(inputs, dict) or outputs is None else outputs)


_KEY: Final = re.compile(r'\["(?P<quoted>[^"]*)"\]|\[(?P<index>\d+)\]|(?P<plain>[^.\[\]]+)')


def _keys(path: str) -> Iterator[str | int]:
    """Steps of a path such as ``a.b[0]["c.d"]``."""
    for part in _KEY.finditer(path):
        if part["index"] is not None:
            yield int(part["index"])
        else:
            yield part["quoted"] if part["quoted"] is not None else part["plain"]


def _noise(type_: str, path: str, *, declared: bool) -> str:
    bare = ".".join(key for key in _keys(path) if isinstance(key, str))
    for rule in NOISE:
        if fnmatchcase(type_, rule.types) and any(fnmatchcase(bare, pattern) for pattern in rule.paths):
            # A number of replicas that the program names is nobody else's to set.
            if declared and bare == "spec.replicas":
                continue
            return rule.reason
    return ""
