"""Training: Kubeflow Trainer with its runtimes, and the Training Operator beside it; both on Volcano's queues."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

import pulumi
import yaml
from pulumi_kubernetes import admissionregistration, core, policy, rbac
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.charts import release
from components.contract import ObjectGrant
from components.platform.experiments import ARTIFACTS
from components.platform.kustomize import Kustomized, KustomizedArgs, Source, definition, deployment, removed
from components.platform.names import name_of
from components.platform.openings import SCRAPER, Namespace, Opening, Pods
from components.platform.site import Site
from components.platform.training_jobs import (
    ACCOUNT,
    NAMESPACE,
    SCHEDULER,
    TRAINER_API,
    Framework,
    TrainingPriority,
    training_runtime,
)
from components.platform.workflows import RESTRICTED
from components.versions import IMAGES

_TRAINER: Final[Namespace] = "kubeflow-system"
_OPERATOR: Final[Namespace] = "kubeflow"
_OPERATOR_NAME: Final = "training-operator"
_CERTIFICATE: Final = "training-operator-webhook-cert"
_WEBHOOK: Final = "validator.training-operator.kubeflow.org"
_DEFINITION: Final = "pytorchjobs.kubeflow.org"
_RBAC: Final = "rbac.authorization.k8s.io"
# Kinds that the operator knows and we do not: they are neither watched nor defined.
_OTHER_JOBS: Final = ("jaxjobs", "mpijobs", "paddlejobs", "tfjobs", "xgboostjobs")

_TRAINER_PODS = Pods(namespace=_TRAINER, labels={"app.kubernetes.io/name": "kubeflow-trainer"})
_JOBSET_PODS = Pods(namespace=_TRAINER, labels={"app.kubernetes.io/name": "jobset"})
_OPERATOR_PODS = Pods(namespace=_OPERATOR, labels={"control-plane": "kubeflow-training-operator"})

_IMAGES: Final[Mapping[Framework, str]] = {"torch": IMAGES["pytorch"], "deepspeed": IMAGES["deepspeed"]}


def openings(site: Site) -> tuple[Opening, ...]:
    """What the operators of training jobs need to reach, and who reaches them."""
    ways = [way for pods in (_TRAINER_PODS, _JOBSET_PODS) for way in _of_operator(pods, metrics=8443)]
    if site.settings.training.pytorch_jobs:
        ways += _of_operator(_OPERATOR_PODS, metrics=8080)
    return tuple(ways)


def _of_operator(pods: Pods, *, metrics: int) -> tuple[Opening, ...]:
    return (
        Opening(source=pods, target="api-server", ports=(443,), why="Jobs are watched, their pods and gangs made."),
        Opening(
            source="control-plane",
            target=pods,
            ports=(9443,),
            why="The API server asks before it stores a job; without an answer it refuses.",
        ),
        Opening(source=SCRAPER, target=pods, ports=(metrics,), why="Metrics: jobs that fail must be seen."),
    )


@dataclass(frozen=True, kw_only=True)
class TrainingArgs:
    """What training needs.

    Attributes:
        site: Where it is installed.
        scheduling: ``Scheduling.ready``: the definition of gangs, and the queues.
        gitops: ``GitOps.ready``; only needed for the Training Operator.
    """

    site: Site
    scheduling: Sequence[pulumi.Resource]
    gitops: Sequence[pulumi.Resource] = ()


class Training(pulumi.ComponentResource):
    """Operators of training jobs, runtimes, and the identity of training pods."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: TrainingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Training", name, None, opts)
        self._name, self._site = name, args.site
        runtimes = self._trainer(args)
        operator = self._operator(args) if args.site.settings.training.pytorch_jobs else ()
        self.ready = (*runtimes, *operator, self._account())
        self.register_outputs({})

    def _account(self) -> pulumi.Resource:
        """Make the identity of training pods."""
        identity = self._site.foundation.identity.grant(
            self._name,
            namespace=NAMESPACE,
            service_account=ACCOUNT,
            grants=[
                ObjectGrant(bucket="data", access="read"),
                ObjectGrant(bucket="models", access="read-write"),
                ARTIFACTS,
            ],
            parent=self,
        )
        return core.v1.ServiceAccount(
            f"{self._name}-account",
            metadata=meta.ObjectMetaArgs(name=ACCOUNT, namespace=NAMESPACE, annotations=dict(identity.annotations)),
            automount_service_account_token=False,
            opts=self._after(*self._site.namespaces[NAMESPACE], *identity.ready),
        )

    def _trainer(self, args: TrainingArgs) -> tuple[pulumi.Resource, ...]:
        site, settings = args.site, args.site.settings.training
        namespace = site.namespaces[_TRAINER]
        jobset = release(
            f"{self._name}-jobset",
            "jobset",
            release_name="jobset",
            namespace=_TRAINER,
            values=jobset_values(site),
            parent=self,
            after=namespace,
        )
        trainer = release(
            f"{self._name}-trainer",
            "kubeflow-trainer",
            release_name="kubeflow-trainer",
            namespace=_TRAINER,
            values=trainer_values(site),
            parent=self,
            # It looks for the definitions of job sets and of gangs once, when it starts.
            after=(*namespace, jobset, *args.scheduling),
        )
        if site.highly_available:
            policy.v1.PodDisruptionBudget(  # the chart brings none
                f"{self._name}-trainer",
                metadata=meta.ObjectMetaArgs(name="kubeflow-trainer", namespace=_TRAINER),
                spec={"max_unavailable": 1, "selector": {"match_labels": dict(_TRAINER_PODS.labels)}},
                opts=self._after(*namespace),
            )
        made: list[pulumi.Resource] = []
        for framework in get_args(Framework):
            for priority in get_args(TrainingPriority):
                runtime = training_runtime(
                    framework,
                    priority,
                    image=_IMAGES[framework],
                    pools=site.foundation.cluster.pools,
                    shared_memory_gib=settings.shared_memory_gib,
                )
                made.append(
                    CustomResource(
                        f"{self._name}-runtime-{runtime['metadata']['name']}",
                        api_version=TRAINER_API,
                        kind=runtime["kind"],
                        metadata=runtime["metadata"],
                        spec=runtime["spec"],
                        opts=self._after(trainer),  # its definition and its webhook
                    )
                )
        return tuple(made)

    def _operator(self, args: TrainingArgs) -> tuple[pulumi.Resource, ...]:
        prepared = (*self._operator_rights(), *self._operator_parts())
        system = Kustomized(
            f"{self._name}-operator",
            KustomizedArgs(
                site=args.site,
                tree="training-operator",
                namespace=_OPERATOR,
                sources=(operator_source(args.site),),
                kinds=(("apps", "Deployment"), ("", "Service")),
                definitions=(_DEFINITION,),
                # It ends when the definition of gangs is not there.
                after=(*args.gitops, *args.scheduling, *prepared),
            ),
            pulumi.ResourceOptions(parent=self),
        )
        return system.ready

    def _operator_parts(self) -> tuple[pulumi.Resource, ...]:
        """Make what the operator fills in at run time, and so must not come from Git: certificate and webhook."""
        child = self._after(*self._site.namespaces[_OPERATOR])
        return (
            core.v1.Secret(
                f"{self._name}-operator-certificate",
                metadata=meta.ObjectMetaArgs(name=_CERTIFICATE, namespace=_OPERATOR),
                opts=child,
            ),
            core.v1.ConfigMap(
                f"{self._name}-operator-start",
                metadata=meta.ObjectMetaArgs(name=f"{_OPERATOR_NAME}-start", namespace=_OPERATOR),
                data={"initContainer.yaml": waiting_container()},
                opts=child,
            ),
            admissionregistration.v1.ValidatingWebhookConfiguration(
                f"{self._name}-operator-webhook",
                metadata=meta.ObjectMetaArgs(name=_WEBHOOK),
                webhooks=[
                    admissionregistration.v1.ValidatingWebhookArgs(
                        name=f"validator.pytorchjob.{_OPERATOR_NAME}.kubeflow.org",
                        admission_review_versions=["v1"],
                        client_config=admissionregistration.v1.WebhookClientConfigArgs(
                            service=admissionregistration.v1.ServiceReferenceArgs(
                                name=_OPERATOR_NAME, namespace=_OPERATOR, path="/validate-kubeflow-org-v1-pytorchjob"
                            )
                        ),
                        failure_policy="Fail",
                        rules=[
                            admissionregistration.v1.RuleWithOperationsArgs(
                                api_groups=["kubeflow.org"],
                                api_versions=["v1"],
                                operations=["CREATE", "UPDATE"],
                                resources=["pytorchjobs"],
                            )
                        ],
                        side_effects="None",
                    )
                ],
                opts=child,
            ),
        )

    def _operator_rights(self) -> tuple[pulumi.Resource, ...]:
        """Make the account and its rights: PyTorchJobs only, and Secrets only where its certificate is."""
        child = self._after(*self._site.namespaces[_OPERATOR])
        title = f"{self._name}-operator"
        subject = rbac.v1.SubjectArgs(kind="ServiceAccount", name=_OPERATOR_NAME, namespace=_OPERATOR)
        inside = meta.ObjectMetaArgs(name=_OPERATOR_NAME, namespace=_OPERATOR)
        account = core.v1.ServiceAccount(title, metadata=inside, opts=child)
        wide = rbac.v1.ClusterRole(
            title, metadata=meta.ObjectMetaArgs(name=_OPERATOR_NAME), rules=list(OPERATOR_RIGHTS), opts=child
        )
        narrow = rbac.v1.Role(
            title,
            metadata=inside,
            # It lists them to find its own, so a name would not do.
            rules=[_may("", ("secrets",), ("get", "list", "watch", "update"))],
            opts=child,
        )
        return (
            account,
            rbac.v1.ClusterRoleBinding(
                title,
                metadata=meta.ObjectMetaArgs(name=_OPERATOR_NAME),
                role_ref=_reference("ClusterRole", wide),
                subjects=[subject],
                opts=child,
            ),
            rbac.v1.RoleBinding(
                title, metadata=inside, role_ref=_reference("Role", narrow), subjects=[subject], opts=child
            ),
        )

    def _after(self, *resources: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(resources))


def _reference(kind: str, role: rbac.v1.Role | rbac.v1.ClusterRole) -> rbac.v1.RoleRefArgs:
    return rbac.v1.RoleRefArgs(api_group=_RBAC, kind=kind, name=name_of(role))


def _may(
    group: str, resources: Iterable[str], verbs: Iterable[str], names: Iterable[str] = ()
) -> rbac.v1.PolicyRuleArgs:
    return rbac.v1.PolicyRuleArgs(
        api_groups=[group], resources=list(resources), verbs=list(verbs), resource_names=list(names) or None
    )


_READ: Final = ("get", "list", "watch")
_WRITE: Final = ("create", "delete", "get", "list", "patch", "update", "watch")

# In every namespace, because jobs run in those of teams too.
OPERATOR_RIGHTS: Final = (
    _may("kubeflow.org", ("pytorchjobs",), _WRITE),
    _may("kubeflow.org", ("pytorchjobs/finalizers", "pytorchjobs/status"), ("get", "patch", "update")),
    _may("", ("pods", "services", "events"), _WRITE),
    _may("autoscaling", ("horizontalpodautoscalers",), _WRITE),  # of elastic jobs
    _may("scheduling.volcano.sh", ("podgroups",), _WRITE),
    _may("admissionregistration.k8s.io", ("validatingwebhookconfigurations",), _READ),
    _may("admissionregistration.k8s.io", ("validatingwebhookconfigurations",), ("update",), (_WEBHOOK,)),
)
"""What the Training Operator may do; less than what is published, because it runs one kind of job."""


def operator_source(site: Site) -> Source:
    """The Training Operator, for PyTorchJobs on Volcano."""
    other = (f"{plural}.kubeflow.org" for plural in _OTHER_JOBS)
    return Source(
        path="manifests/overlays/standalone",
        patches=(
            # Declared by this program, with less.
            *removed("Namespace"),
            *removed("Secret"),
            *removed("ServiceAccount"),
            *removed("ClusterRole", group=_RBAC),
            *removed("ClusterRoleBinding", group=_RBAC),
            *removed("ValidatingWebhookConfiguration", group="admissionregistration.k8s.io"),
            *removed("CustomResourceDefinition", *other, group="apiextensions.k8s.io"),
            definition(_DEFINITION),
            deployment(
                _OPERATOR_NAME,
                wave=0,
                spec={
                    # The API server calls its webhook, and has no identity in the mesh.
                    "metadata": {"labels": {"istio.io/dataplane-mode": "none"}},
                    "nodeSelector": site.system_nodes,
                    "enableServiceLinks": False,
                    "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532},
                    "containers": [
                        {
                            "name": _OPERATOR_NAME,
                            "args": [f"--gang-scheduler-name={SCHEDULER}", "--enable-scheme=pytorchjob"],
                            "resources": {
                                "requests": {"cpu": "50m", "memory": "96Mi"},
                                "limits": {"memory": "512Mi"},
                            },
                            "securityContext": dict(RESTRICTED),
                            "volumeMounts": [{"name": "start", "mountPath": "/etc/config", "readOnly": True}],
                        }
                    ],
                    "volumes": [{"name": "start", "configMap": {"name": f"{_OPERATOR_NAME}-start"}}],
                },
            ),
        ),
    )


def waiting_container() -> str:
    """What the operator adds to the workers of a job with a master; its own is refused by our namespaces.

    The braces are the operator's: it fills in the address of the master and the number of tries.
    """
    wait = (
        "for i in $(seq {{.MaxTries}}); do nslookup {{.MasterAddr}} && exit 0; "
        "echo waiting for the master; sleep 2; done; exit 1"
    )
    container = {
        "name": "init-pytorch",
        "image": IMAGES["alpine"],
        "command": ["sh", "-c", wait],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "32Mi"}},
        "securityContext": {**RESTRICTED, "runAsUser": 65534},
    }
    return yaml.safe_dump([container], sort_keys=False)


def jobset_values(site: Site) -> dict[str, Any]:
    """Values of the chart of job sets; it keeps the jobs of training runs, and few of them."""
    repository, _, tag = IMAGES["jobset"].rpartition(":")
    return {
        "image": {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"},
        "controller": {
            "replicas": site.replicas,
            "nodeSelector": site.system_nodes,
            "affinity": _apart(_JOBSET_PODS) if site.highly_available else {},
            "resources": _resources(cpu="20m", memory="64Mi", limit="512Mi"),
            "podDisruptionBudget": {"enabled": site.highly_available, "minAvailable": 1},
        },
    }


def trainer_values(site: Site) -> dict[str, Any]:
    """Values of the chart of Kubeflow Trainer.

    Its runtimes are ours: the chart's would be put in by a Job that fetches a client from the internet.
    """
    return {
        "jobset": {"install": False},  # a release of its own, so that definitions are there first
        "manager": {
            "replicas": site.replicas,
            "nodeSelector": site.system_nodes,
            "affinity": _apart(_TRAINER_PODS) if site.highly_available else {},
            "resources": _resources(cpu="20m", memory="64Mi", limit="512Mi"),
        },
    }


def _resources(*, cpu: str, memory: str, limit: str) -> dict[str, Any]:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": limit}}


def _apart(pods: Pods) -> dict[str, Any]:
    """Preferred, not required: two system nodes must be able to roll out a third replica."""
    term = {"labelSelector": {"matchLabels": dict(pods.labels)}, "topologyKey": "kubernetes.io/hostname"}
    preferred = [{"weight": 100, "podAffinityTerm": term}]
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
