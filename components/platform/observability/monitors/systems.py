"""What is read of the systems that carry all others: nodes, mesh, gateway, certificates, secrets, delivery, scaling."""

from __future__ import annotations

from collections.abc import Iterator

from components.platform import drills, rate_limits
from components.platform.gitops import redis_is_replicated
from components.platform.observability.monitors.model import Monitor
from components.platform.site import Site

_NAME = "app.kubernetes.io/name"


def of_cluster(site: Site) -> Iterator[Monitor]:
    """Nodes, DNS, nodes on demand, load balancers.

    The kubelet and the API server are no pods: ``servers.py`` reads them. Not read: scheduler, controller manager and
    etcd, which managed clusters do not show; kube-proxy, whose metrics listen on the node's loopback address.
    """
    controllers = site.settings.controllers
    yield Monitor(
        name="node-exporter",
        namespaces=["monitoring"],
        labels={_NAME: "prometheus-node-exporter"},
        port=9100,
        on_host=True,
        node=True,
        drop=["node_scrape_collector_.*", "node_softnet_.*", "node_xfs_.*"],
        why="CPU, memory, disks and network of nodes.",
    )
    yield Monitor(
        name="coredns",
        namespaces=["kube-system"],
        labels={"k8s-app": "kube-dns"},
        port=9153,
        why="Names that are not resolved: everything fails in other words.",
    )
    if controllers.cluster_autoscaler.enabled:
        yield Monitor(
            name="cluster-autoscaler",
            namespaces=["kube-system"],
            labels={"app.kubernetes.io/instance": "cluster-autoscaler"},
            port=8085,
            drop=["rest_client_.*_bucket", "workqueue_.*_bucket"],
            why="Nodes that cannot be had.",
        )
    if controllers.load_balancer_controller.enabled:
        yield Monitor(
            name="load-balancer-controller",
            namespaces=["kube-system"],
            labels={"app.kubernetes.io/instance": "aws-load-balancer-controller"},
            port=8080,
            honor_labels=True,  # namespace is the service's
            drop=["rest_client_.*_bucket", "workqueue_.*_bucket", "controller_runtime_.*_bucket"],
            why="Targets of load balancers that are not registered.",
        )


def of_platform(site: Site) -> Iterator[Monitor]:
    """Every system that the settings switch on, but those of learning and of observation."""
    settings = site.settings
    if settings.mesh.enabled:
        yield from _mesh()
    yield from _gateway(site)
    if settings.certificates.enabled:
        yield Monitor(
            name="cert-manager",
            namespaces=["cert-manager"],
            labels={"app.kubernetes.io/instance": "cert-manager"},
            port=9402,
            honor_labels=True,  # namespace and name are the certificate's
            why="Certificates that expire.",
        )
    if settings.secrets.enabled:
        for part in ("external-secrets", "external-secrets-webhook", "external-secrets-cert-controller"):
            yield Monitor(
                name=part,
                namespaces=["external-secrets"],
                labels={_NAME: part},
                port=8080,
                honor_labels=True,  # namespace and name are the ExternalSecret's
                drop=["rest_client_.*_bucket", "workqueue_.*_bucket", "controller_runtime_.*_bucket"],
                why="Credentials that are not renewed.",
            )
    if settings.delivery.enabled:
        yield from _delivery(site)
    if settings.scheduling.enabled:
        yield from _scheduling()
    if settings.gpus.enabled and settings.gpus.metrics:
        yield _gpus(site)
    if settings.autoscaling.enabled:
        for part in ("keda-operator", "keda-operator-metrics-apiserver", "keda-admission-webhooks"):
            yield Monitor(
                name=part,
                namespaces=["keda"],
                labels={"app": part},
                port=8080,
                honor_labels=True,  # namespace is the ScaledObject's
                drop=["rest_client_.*_bucket", "workqueue_.*_bucket", "apiserver_.*_bucket"],
                why="Triggers that fail: models that are not scaled.",
            )
    if settings.backups.enabled:
        yield Monitor(
            name="velero",
            namespaces=["velero"],
            labels={_NAME: "velero"},
            port=8085,
            why="Backups that failed, or did not run.",
        )
    if settings.drills.enabled:
        yield Monitor(
            name="recovery-drills",
            namespaces=["mlops-system"],
            labels=drills.METRICS_LABELS,
            port=drills.METRICS_PORT,
            why="Restores that do not work.",
        )


def _gateway(site: Site) -> Iterator[Monitor]:
    if site.settings.gateway.enabled:
        yield Monitor(
            name="gateway",
            namespaces=["istio-ingress"],
            labels={"istio": "ingress"},
            port=15020,  # of its agent, which adds its own metrics to Envoy's; the pod declares Envoy's port alone
            container="istio-proxy",
            path="/stats/prometheus",
            drop=["envoy_.*_bucket"],
            why="Rates, errors and times of every host.",
        )
    if rate_limits.counts_globally(site):
        yield Monitor(
            name="rate-limits",
            namespaces=["istio-ingress"],
            labels={_NAME: "ratelimit"},
            port=9090,
            why="Clients at their limit; counts that cannot be kept.",
        )


def _mesh() -> Iterator[Monitor]:
    yield Monitor(
        name="istiod",
        namespaces=["istio-system"],
        labels={"app": "istiod"},
        port=15014,
        why="Configuration that proxies refuse; certificates of the mesh.",
    )
    yield Monitor(
        name="istio-cni",
        namespaces=["istio-system"],
        labels={"k8s-app": "istio-cni-node"},
        port=15014,
        node=True,
        why="Pods that could not be taken into the mesh.",
    )
    yield Monitor(
        name="ztunnel",
        namespaces=["istio-system"],
        labels={"app": "ztunnel"},
        port=15020,
        node=True,
        why="Connections between pods: how many, how much, which were refused.",
    )


def _delivery(site: Site) -> Iterator[Monitor]:
    for part, port in (
        ("application-controller", 8082),
        ("server", 8083),
        ("repo-server", 8084),
        ("applicationset-controller", 8080),
    ):
        yield Monitor(
            name=f"argocd-{part}",
            namespaces=["argocd"],
            labels={_NAME: f"argocd-{part}"},
            port=port,
            honor_labels=True,  # namespace is the application's
            drop=["rest_client_.*_bucket", "workqueue_.*_bucket", "grpc_server_.*_bucket"],
            why="Applications that are not in step with Git.",
        )
    if redis_is_replicated(site):
        yield Monitor(
            name="argocd-redis",
            namespaces=["argocd"],
            labels={"app": "redis-ha-haproxy"},
            port=9101,
            why="A Redis without a leader.",
        )


def _scheduling() -> Iterator[Monitor]:
    for part, container, port in (
        ("scheduler", "volcano-scheduler", 8080),
        ("controller", "volcano-controllers", 8081),
    ):
        yield Monitor(
            name=f"volcano-{part}",
            namespaces=["volcano-system"],
            labels={"app": f"volcano-{part}"},
            port=port,
            container=container,
            honor_labels=True,  # some of its series have a label ``namespace`` of the job
            why="Queues, and jobs that wait in them.",
        )


def _gpus(site: Site) -> Monitor:
    operated = site.foundation.cluster.gpu_software == "operator"
    return Monitor(
        name="dcgm-exporter",
        namespaces=["gpu-system"],
        labels={"app": "nvidia-dcgm-exporter"} if operated else {_NAME: "dcgm-exporter"},
        port=9400,
        honor_labels=True,  # namespace, pod and container are those that hold the GPU
        node=True,
        why="Use, memory, temperature and errors of GPUs, by the pod that holds them.",
    )
