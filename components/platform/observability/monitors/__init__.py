"""Everything that Prometheus reads: one table, and the objects and network openings that follow from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.platform.observability.monitors import learning, observers, servers, stores, systems
from components.platform.observability.monitors.model import API, NAMESPACE, Monitor
from components.platform.openings import SCRAPER, Opening, Pods
from components.platform.site import Site

__all__ = ["Monitor", "declare", "monitors", "scraped_here"]


def monitors(site: Site) -> tuple[Monitor, ...]:
    """One row for each kind of pod of the systems that the settings switch on."""
    return (
        *systems.of_cluster(site),
        *observers.of_metrics(site),
        *observers.of_others(site),
        *systems.of_platform(site),
        *learning.of_learning(site),
        *stores.of_stores(site),
    )


def scraped_here(site: Site) -> Iterator[Opening]:
    """The reader's ways to pods that no system of the platform speaks for: each system has an opening of its own."""
    runs = [one for one in learning.of_learning(site) if one.labels == learning.TRAINING_METRICS]
    for one in (*systems.of_cluster(site), *observers.of_metrics(site), *runs):
        if one.on_host:  # nodes are open to the reader, and no policy looks at a pod in the node's network
            continue
        for namespace in one.namespaces:
            target = Pods(namespace=namespace, labels=one.labels)
            yield Opening(source=SCRAPER, target=target, ports=(one.port,), why=f"Metrics: {_lower(one.why)}")
    yield from stores.ways_to_stores(site)


def _lower(sentence: str) -> str:
    """A sentence as the second half of another; names in capitals stay."""
    return sentence if sentence[:2].isupper() else sentence[0].lower() + sentence[1:]


def declare(
    name: str, wanted: Sequence[Monitor], *, parent: pulumi.Resource, after: Sequence[pulumi.Resource]
) -> tuple[CustomResource, ...]:
    """Declare the monitors.

    Args:
        name: Beginning of the Pulumi resources' names.
        wanted: What is read, besides kubelets and the API server.
        parent: The metrics stack.
        after: The release that brings the definitions.
    """
    options = pulumi.ResourceOptions(parent=parent, depends_on=list(after))
    objects = {one.name: ("PodMonitor", one.spec, one.why) for one in wanted}
    objects["kubelet"] = ("ServiceMonitor", servers.KUBELET, "Containers, volumes and probes of every node.")
    objects["apiserver"] = ("ServiceMonitor", servers.API_SERVER, "Whether the cluster answers, and webhooks do.")
    return tuple(
        CustomResource(
            f"{name}-monitor-{title}",
            api_version=API,
            kind=kind,
            metadata=meta.ObjectMetaArgs(name=title, namespace=NAMESPACE, annotations={"llmops/why": why}),
            spec=spec,
            opts=options,
        )
        for title, (kind, spec, why) in objects.items()
    )
