"""Volcano: gangs of pods start together or not at all, and queues share the training GPUs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_kubernetes import admissionregistration, policy
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.capacity import Request, for_workloads, times, total
from components.charts import release
from components.contract import NodePool, NodeRole
from components.platform.names import name_of
from components.platform.openings import SCRAPER, Opening, Pods, team_namespace
from components.platform.site import Site
from components.settings.teams import TeamSettings

API: Final = "scheduling.volcano.sh/v1beta1"

QUEUE_ANNOTATION: Final = "scheduling.volcano.sh/queue-name"
"""On a namespace: the queue of its jobs that name none. On a pod: its queue."""

_NAMESPACE: Final = "volcano-system"
_GPU: Final = "nvidia.com/gpu"
# Queue of everything that names none and whose namespace names none; the scheduler makes it.
_FALLBACK: Final = "default"
# Queues of the platform's own namespaces; a team's queue is named as its namespace.
_QUEUES: Final = {"mlops-training": "training", "mlops-data": "data"}
_COMPONENTS: Final = ("volcano-admission", "volcano-controller", "volcano-scheduler")

_ADMISSIONS: Final = (
    "/jobs/mutate",
    "/jobs/validate",
    "/podgroups/mutate",
    "/podgroups/validate",
    "/hypernodes/validate",
    "/cronjobs/validate",
)

OPENINGS: tuple[Opening, ...] = (
    Opening(
        source=Pods(namespace=_NAMESPACE),
        target="api-server",
        ports=(443,),
        why="Pods are bound and jobs controlled through it; the certificate's job stores it there.",
    ),
    Opening(
        source="control-plane",
        target=Pods(namespace=_NAMESPACE, labels={"app": "volcano-admission"}),
        ports=(8443,),
        why="The API server asks before it stores a job or a gang; without an answer it refuses.",
    ),
    Opening(
        source=SCRAPER,
        target=Pods(namespace=_NAMESPACE, labels={"app": "volcano-scheduler"}),
        ports=(8080,),
        why="Metrics of queues and of jobs that wait.",
    ),
    Opening(
        source=SCRAPER,
        target=Pods(namespace=_NAMESPACE, labels={"app": "volcano-controller"}),
        ports=(8081,),
        why="Metrics of the controllers.",
    ),
)
"""What Volcano needs to reach, and who reaches it."""


@dataclass(frozen=True, kw_only=True)
class Queue:
    """One queue.

    Attributes:
        name: Jobs name it.
        namespace: Where its jobs run.
        capability: What its pods may hold together; GPUs, CPU and memory.
        deserved_gpus: GPUs that it gets back from others when it needs them; none where it is owed no GPU at all.
    """

    name: str
    namespace: str
    capability: Request
    deserved_gpus: int | None = None


@dataclass(frozen=True, kw_only=True)
class SchedulingArgs:
    """What Volcano needs.

    Attributes:
        site: Where it is installed.
    """

    site: Site


class Scheduling(pulumi.ComponentResource):
    """The batch scheduler and its queues."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: SchedulingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Scheduling", name, None, opts)
        site = args.site
        wanted = queues(site.foundation.cluster.pools, site.teams, training_gpus=site.settings.scheduling.training_gpus)
        namespace = site.namespaces[_NAMESPACE]
        volcano = release(
            f"{name}-release",
            "volcano",
            release_name="volcano",
            namespace=_NAMESPACE,
            values=values(site, [queue.namespace for queue in wanted]),
            parent=self,
            after=namespace,
        )
        if site.highly_available:
            for component in _COMPONENTS:  # the chart brings none
                policy.v1.PodDisruptionBudget(
                    f"{name}-{component}",
                    metadata=meta.ObjectMetaArgs(name=component, namespace=_NAMESPACE),
                    spec={"max_unavailable": 1, "selector": {"match_labels": {"app": component}}},
                    opts=pulumi.ResourceOptions(parent=self, depends_on=list(namespace)),
                )
        # The definition comes with the release, and goes with it.
        after = pulumi.ResourceOptions(parent=self, depends_on=[volcano])
        made = tuple(
            CustomResource(
                f"{name}-queue-{queue.name}",
                api_version=API,
                kind="Queue",
                metadata=meta.ObjectMetaArgs(name=queue.name),
                spec=queue_spec(queue),
                opts=after,
            )
            for queue in wanted
        )
        guard = self._own_queues_only(name, wanted)
        self.ready = (volcano, *made, *guard)
        self.register_outputs({})

    def _own_queues_only(self, name: str, wanted: Sequence[Queue]) -> tuple[pulumi.Resource, ...]:
        """Refuse gangs in another namespace's queue: a job's author names its queue freely, and Volcano asks nobody."""
        child = pulumi.ResourceOptions(parent=self)
        title = "own-queues-only"
        own = json.dumps({queue.namespace: queue.name for queue in wanted})  # a map in CEL as in JSON
        rule = admissionregistration.v1.ValidatingAdmissionPolicy(
            f"{name}-{title}",
            metadata=meta.ObjectMetaArgs(name=title),
            spec={
                "failure_policy": "Fail",  # the API server evaluates it by itself; nothing can be down
                "match_constraints": {
                    "namespace_selector": {
                        "match_expressions": [
                            {
                                "key": "kubernetes.io/metadata.name",
                                "operator": "In",
                                "values": sorted(queue.namespace for queue in wanted),
                            }
                        ]
                    },
                    "resource_rules": [
                        {
                            "api_groups": ["scheduling.volcano.sh"],
                            "api_versions": ["v1beta1"],  # others are converted and matched too
                            "operations": ["CREATE", "UPDATE"],
                            "resources": ["podgroups"],
                        }
                    ],
                },
                "validations": [
                    {
                        "expression": f"!has(object.spec.queue) || object.spec.queue in ['', '{_FALLBACK}', "
                        f"{own}[object.metadata.namespace]]",
                        "message_expression": "'queue ' + object.spec.queue + ' is of another namespace; use ' + "
                        f"{own}[object.metadata.namespace]",
                        "reason": "Forbidden",
                    }
                ],
            },
            opts=child,
        )
        binding = admissionregistration.v1.ValidatingAdmissionPolicyBinding(
            f"{name}-{title}",
            metadata=meta.ObjectMetaArgs(name=title),
            spec={
                "policy_name": name_of(rule),
                "validation_actions": ["Deny"],
            },
            opts=child,
        )
        return (rule, binding)


def queues(pools: Sequence[NodePool], teams: Sequence[TeamSettings], *, training_gpus: int | None) -> tuple[Queue, ...]:
    """The queues of the platform and of the teams.

    ``training`` may use all training nodes, ``data`` all CPU nodes, a team what its quota says. Where more GPUs are
    promised than there are, everybody's are cut in proportion, so that what all queues are owed can be given at once.
    """
    training, data = at_most(pools, "gpu-training"), at_most(pools, "cpu")
    promised = sum(team.gpus for team in teams)
    claims = {"mlops-training": max(0, training.gpus - promised) if training_gpus is None else training_gpus}
    claims |= {team_namespace(team.name): team.gpus for team in teams}
    owed = shares(claims, training.gpus)
    return (
        Queue(
            name=_QUEUES["mlops-training"],
            namespace="mlops-training",
            capability=training,
            deserved_gpus=owed["mlops-training"],
        ),
        Queue(name=_QUEUES["mlops-data"], namespace="mlops-data", capability=data),
        *(
            Queue(
                name=team_namespace(team.name),
                namespace=team_namespace(team.name),
                capability=Request(cpu_millicores=team.vcpu * 1000, memory_mib=team.memory_gib * 1024, gpus=team.gpus),
                deserved_gpus=owed[team_namespace(team.name)],
            )
            for team in teams
        ),
    )


def namespace_annotations(teams: Sequence[TeamSettings]) -> dict[str, dict[str, str]]:
    """What namespaces must say so that their jobs come into their own queue without naming it; by namespace."""
    names = {**_QUEUES, **{team_namespace(team.name): team_namespace(team.name) for team in teams}}
    return {namespace: {QUEUE_ANNOTATION: queue} for namespace, queue in names.items()}


def at_most(pools: Sequence[NodePool], role: NodeRole) -> Request:
    """What the groups of a role leave to workloads when all stand at their maximum with their largest type.

    It is a ceiling: with the smallest type, a queue would refuse what a node could give.
    """
    return total(
        times(max((for_workloads(shape) for shape in pool.shapes), key=_size), pool.max_size)
        for pool in pools
        if pool.role == role
    )


def _size(offer: Request) -> tuple[int, int, int]:
    return (offer.gpus, offer.cpu_millicores, offer.memory_mib)


def shares(claims: Mapping[str, int], available: int) -> dict[str, int]:
    """Each claim where all fit; else whole parts of what there is, in proportion, the largest remainders rounded up."""
    claimed = sum(claims.values())
    if claimed <= available:
        return dict(claims)
    cut = {name: claim * available // claimed for name, claim in claims.items()}
    by_remainder = sorted(claims, key=lambda name: (-(claims[name] * available % claimed), name))
    for name in by_remainder[: available - sum(cut.values())]:
        cut[name] += 1
    return cut


def queue_spec(queue: Queue) -> dict[str, Any]:
    """Specification of a Queue.

    Only GPUs are owed: a queue counts as owed something as soon as one resource is below its share, so that CPU or
    memory in ``deserved`` would let a queue with too many GPUs take more of them. Nothing is guaranteed: a guarantee is
    taken off the nodes that exist at this moment for all others, and while there are few, or none, they would wait for
    ever.
    """
    deserved = {} if queue.deserved_gpus is None else {"deserved": {_GPU: str(queue.deserved_gpus)}}
    return {
        "reclaimable": True,
        "capability": {
            "cpu": _cores(queue.capability.cpu_millicores),
            "memory": f"{queue.capability.memory_mib}Mi",
            _GPU: str(queue.capability.gpus),
        },
        **deserved,
    }


def _cores(millicores: int) -> str:
    return f"{millicores}m" if millicores % 1000 else str(millicores // 1000)


def scheduler_config(*, preemption: bool) -> str:
    """Configuration of the scheduler; JSON is YAML.

    No ``enqueue``: with it the pods of a job are made only when there is room for them, and the autoscaler, which looks
    at pods, would never start the first node. ``reclaim`` comes before ``preempt``: what others borrowed goes back
    before a queue stops jobs of its own.

    The first tier that names victims decides, and all its plugins must agree. So ``capacity`` stands in the first:
    behind ``conformance`` alone it would not be asked, and a queue within its share could be robbed. ``gang`` protects
    nobody: it would shield every job of which all pods are needed, and that is every training job.
    """
    actions = ("allocate", "reclaim", *(("preempt",) if preemption else ()), "backfill")
    first = (
        {"name": "priority"},
        {"name": "gang", "enablePreemptable": False, "enableReclaimable": False},
        {"name": "conformance"},
        {"name": "capacity"},
    )
    second = (
        {"name": "drf", "enablePreemptable": False},
        {"name": "predicates"},
        # Free nodes can be removed, half-used ones cannot: GPUs are filled up, and nothing pulls the other way.
        {"name": "nodeorder", "arguments": {"leastrequested.weight": 0, "balancedresource.weight": 0}},
        {
            "name": "binpack",
            "arguments": {
                "binpack.weight": 10,
                "binpack.resources": _GPU,
                f"binpack.resources.{_GPU}": 10,  # CPU and memory weigh 1
            },
        },
    )
    config = {"actions": ", ".join(actions), "tiers": [{"plugins": first}, {"plugins": second}]}
    return json.dumps(config, indent=2)


def values(site: Site, namespaces: Sequence[str]) -> dict[str, Any]:
    """Values of the chart; ``namespaces`` are those whose jobs it schedules.

    Memory: the scheduler keeps every pod and node of the cluster, the controllers every job; limits hold some thousand
    pods. Requests of two replicas and of a third during a roll-out fit the namespace's share.
    """
    apart = {
        f"{short}_affinity": _prefers_other_nodes(f"volcano-{short}")
        for short in ("admission", "controller", "scheduler")
        if site.highly_available
    }
    return {
        "basic": {"image_pull_policy": "IfNotPresent"},  # the tag is a version
        "custom": {
            "admission_replicas": site.replicas,
            "controller_replicas": site.replicas,
            "scheduler_replicas": site.replicas,
            "leader_elect_enable": True,  # also with one replica: during a roll-out there are two
            "scheduler_config_override": scheduler_config(preemption=site.settings.scheduling.preemption),
            # The chart's list, with the one that puts a gang into its namespace's queue, and without those of queues:
            # only this program makes queues, and no pod that is starting or gone may keep it from making or removing
            # them. Plain pods are not looked at.
            "enabled_admissions": ",".join(_ADMISSIONS),
            # The webhooks fail closed; elsewhere a dead one stops nothing.
            "webhooks_namespace_selector_expressions": [_named(namespaces)],
            "default_ns": site.system_nodes,
            **apart,
            # The chart's context, without the capability that it adds: a process that is not root does not get it, and
            # the restricted level refuses it.
            "default_csc": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "allowPrivilegeEscalation": False,
                "capabilities": {"add": [], "drop": ["ALL"]},
            },
            "go_memlimit_enable": True,
            "scheduler_resources": _resources(cpu="100m", memory="160Mi", limit="1Gi"),
            "controller_resources": _resources(cpu="50m", memory="96Mi", limit="512Mi"),
            "admission_resources": _resources(cpu="25m", memory="48Mi", limit="256Mi"),
        },
    }


def _named(namespaces: Sequence[str]) -> dict[str, Any]:
    return {"key": "kubernetes.io/metadata.name", "operator": "In", "values": sorted(namespaces)}


def _resources(*, cpu: str, memory: str, limit: str) -> dict[str, Any]:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": limit}}


def _prefers_other_nodes(app: str) -> dict[str, Any]:
    """Preferred, not required: two system nodes must be able to roll out a third replica."""
    return {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 100,
                    "podAffinityTerm": {
                        "labelSelector": {"matchLabels": {"app": app}},
                        "topologyKey": "kubernetes.io/hostname",
                    },
                }
            ]
        }
    }
