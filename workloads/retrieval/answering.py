"""The servers that answer: what they are told, how they run, who may reach them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pulumi
from pulumi_kubernetes import apps, autoscaling, core, policy
from pulumi_kubernetes.meta import v1 as meta

from components.platform import telemetry
from components.platform.confinement import container_security, from_secret, mount, plain, pod_security, scratch
from components.platform.model_gateway.names import NAME as GATEWAY_ACCOUNT
from components.platform.model_gateway.names import NAMESPACE as GATEWAY_NAMESPACE
from components.platform.model_gateway.names import SERVICE_URL
from components.platform.names import name_of
from components.platform.placement import spread_args
from components.platform.site import Site
from components.settings.retrieval import RetrievalSettings
from workloads.images import reference
from workloads.retrieval.ingestion import CREDENTIALS, MILVUS_URL
from workloads.retrieval.names import DATABASE, LABEL, PART, PORT, SECRET, SERVING, labels, title

GUARD: Final = "retrieval"
"""The AuthorizationPolicy of all answering pods."""

_USER: Final = 1000
_CONTAINER: Final = "answers"
_BUSY_PERCENT: Final = 70
# The way out of the endpoints is longer than the pod takes to stop listening.
_LEAVING_SECONDS: Final = 10


def url(retrieval: RetrievalSettings) -> str:
    """Where the model gateway reaches it."""
    return f"http://{title(retrieval)}.{SERVING}.svc.cluster.local:{PORT}"


def configuration(retrieval: RetrievalSettings, site: Site) -> dict[str, Any]:
    """What the service is told."""
    answer, search, service = retrieval.answer, retrieval.search, retrieval.service
    return {
        "name": retrieval.name,
        "collection": retrieval.collection,
        "model": answer.model,
        "milvus": {"url": MILVUS_URL, "database": DATABASE},
        "gateway_url": SERVICE_URL,
        "search": search.model_dump(mode="json"),
        "context_tokens": answer.context_tokens,
        "answer_tokens": answer.answer_tokens,
        "instructions": answer.instructions,
        "unknown_answer": answer.unknown,
        "list_sources": answer.list_sources,
        "timeout_seconds": answer.timeout_seconds,
        "body_kib": service.body_kib,
        "concurrency": service.concurrency,
        "port": PORT,
        "drain_seconds": answer.timeout_seconds,
        "traces_url": telemetry.OTLP_HTTP_URL if telemetry.traced(site) else "",
    }


def guard_spec() -> dict[str, Any]:
    """Specification of the AuthorizationPolicy: between pods of the mesh, network policies see the tunnel's port only.

    Clients come through the model gateway, which knows their keys and budgets.
    """
    gateway = {"principals": [f"cluster.local/ns/{GATEWAY_NAMESPACE}/sa/{GATEWAY_ACCOUNT}"]}
    return {
        "selector": {"matchLabels": dict(PART)},
        "action": "ALLOW",
        "rules": [
            {
                "from": [{"source": gateway}, {"source": {"namespaces": ["monitoring"]}}],
                "to": [{"operation": {"ports": [str(PORT)]}}],
            }
        ],
    }


def answering(
    retrieval: RetrievalSettings, *, site: Site, parent: pulumi.Resource, after: Sequence[pulumi.Resource]
) -> tuple[pulumi.Resource, ...]:
    """Declare the servers of one retrieval.

    Args:
        retrieval: The retrieval.
        site: Where they run.
        parent: The component.
        after: What they need: their Secret, the users that are in it, and who may reach them.
    """
    name, settings = title(retrieval), retrieval.service
    selected = {**PART, LABEL: retrieval.name}
    labelled = {**labels(retrieval), **PART}
    room = pulumi.ResourceOptions(parent=parent, depends_on=list(site.namespaces[SERVING]))
    metadata = meta.ObjectMetaArgs(name=name, namespace=SERVING, labels=labelled)
    selector = meta.LabelSelectorArgs(match_labels=selected)
    account = core.v1.ServiceAccount(name, metadata=metadata, automount_service_account_token=False, opts=room)
    service = core.v1.Service(
        name,
        # The Deployment is awaited: a Service of pods that still wait for their Secret would be given up sooner.
        metadata=meta.ObjectMetaArgs(
            name=name, namespace=SERVING, labels=labelled, annotations={"pulumi.com/skipAwait": "true"}
        ),
        spec=core.v1.ServiceSpecArgs(
            selector=selected,
            ports=[core.v1.ServicePortArgs(name="http", app_protocol="http", port=PORT, target_port="http")],
        ),
        opts=room,
    )
    least = max(settings.min_replicas, site.replicas)
    deployment = apps.v1.Deployment(
        name,
        metadata=metadata,
        spec=apps.v1.DeploymentSpecArgs(
            # How many there are is the autoscaler's.
            selector=selector,
            strategy=apps.v1.DeploymentStrategyArgs(
                type="RollingUpdate",
                rolling_update=apps.v1.RollingUpdateDeploymentArgs(max_surge=1, max_unavailable=0),
            ),
            template=core.v1.PodTemplateSpecArgs(
                metadata=meta.ObjectMetaArgs(labels=labelled), spec=_pod(retrieval, site, account, selected)
            ),
        ),
        opts=pulumi.ResourceOptions(parent=parent, depends_on=[*site.namespaces[SERVING], *after]),
    )
    scaler = autoscaling.v2.HorizontalPodAutoscaler(
        name,
        metadata=metadata,
        spec=autoscaling.v2.HorizontalPodAutoscalerSpecArgs(
            scale_target_ref=autoscaling.v2.CrossVersionObjectReferenceArgs(
                api_version="apps/v1", kind="Deployment", name=name_of(deployment)
            ),
            min_replicas=least,
            max_replicas=max(settings.max_replicas, least),
            metrics=[
                autoscaling.v2.MetricSpecArgs(
                    type="Resource",
                    resource=autoscaling.v2.ResourceMetricSourceArgs(
                        name="cpu",
                        target=autoscaling.v2.MetricTargetArgs(type="Utilization", average_utilization=_BUSY_PERCENT),
                    ),
                )
            ],
        ),
        opts=room,
    )
    if least < 2:
        return (service, deployment, scaler)
    budget = policy.v1.PodDisruptionBudget(
        name,
        metadata=metadata,
        spec=policy.v1.PodDisruptionBudgetSpecArgs(max_unavailable=1, selector=selector),
        opts=room,
    )
    return (service, deployment, scaler, budget)


def _pod(
    retrieval: RetrievalSettings, site: Site, account: core.v1.ServiceAccount, selected: Mapping[str, str]
) -> core.v1.PodSpecArgs:
    settings = retrieval.service
    told = json.dumps(configuration(retrieval, site), separators=(",", ":"))
    return core.v1.PodSpecArgs(
        service_account_name=name_of(account),
        automount_service_account_token=False,
        enable_service_links=False,  # MILVUS_PORT of a service would be taken for a setting
        priority_class_name="serving",
        node_selector=site.system_nodes,
        topology_spread_constraints=spread_args(selected) if site.highly_available else [],
        termination_grace_period_seconds=_LEAVING_SECONDS + retrieval.answer.timeout_seconds + 10,
        security_context=pod_security(_USER, reads_mounts=False),
        containers=[
            core.v1.ContainerArgs(
                name=_CONTAINER,
                image=reference(site, "retrieval"),
                # Kubernetes would read $(…) in it as a variable.
                command=["python", "-m", "retrieval.serve", "--config", told.replace("$(", "$$(")],
                env=[
                    *plain({"HOME": "/tmp"}),
                    *(from_secret(variable, SECRET, key) for variable, key in CREDENTIALS.items()),
                ],
                ports=[core.v1.ContainerPortArgs(name="http", container_port=PORT)],
                startup_probe=_probe("/healthz", period_seconds=3, failure_threshold=40),
                readiness_probe=_probe("/readyz", period_seconds=10, failure_threshold=3),
                liveness_probe=_probe("/healthz", period_seconds=15, failure_threshold=4),
                lifecycle=core.v1.LifecycleArgs(
                    pre_stop=core.v1.LifecycleHandlerArgs(sleep=core.v1.SleepActionArgs(seconds=_LEAVING_SECONDS))
                ),
                resources=core.v1.ResourceRequirementsArgs(
                    requests={"cpu": f"{settings.cpu_millicores}m", "memory": f"{settings.memory_mib}Mi"},
                    limits={"memory": f"{settings.memory_limit_mib}Mi"},
                ),
                security_context=container_security(),
                volume_mounts=[mount("tmp", "/tmp")],
            )
        ],
        volumes=[scratch("tmp", "256Mi")],
    )


def _probe(path: str, *, period_seconds: int, failure_threshold: int) -> core.v1.ProbeArgs:
    return core.v1.ProbeArgs(
        http_get=core.v1.HTTPGetActionArgs(path=path, port="http"),
        period_seconds=period_seconds,
        timeout_seconds=8,  # it asks two others in turn
        failure_threshold=failure_threshold,
    )
