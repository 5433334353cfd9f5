"""The providers of one run, served together."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from sandbox import paths, schema
from sandbox.aws.provider import AwsProvider
from sandbox.gcp.provider import GcpProvider
from sandbox.kubernetes.cluster import Cluster
from sandbox.kubernetes.nodes import NodeGroupSpec, Nodes
from sandbox.kubernetes.provider import KubernetesProvider
from sandbox.kubernetes.session import Session
from sandbox.node_groups import node_groups
from sandbox.onprem import OwnCluster, await_servers, furnish
from sandbox.onprem_front import Front
from sandbox.provider import Provider
from sandbox.random_provider import RandomProvider
from sandbox.serving import Served, serve
from sandbox.store import Store
from sandbox.tls_provider import TlsProvider
from sandbox.toolchain import clients, control_plane
from sandbox.toolchain.control_plane import Missing
from sandbox.toolchain.gobuild import Report


def _eks() -> Provider:
    """Load the stand-in with its SDK, which takes as long as everything else together, once a program asks for it."""
    with schema.loading:
        from sandbox.eks import EksProvider  # noqa: PLC0415 see above

        return EksProvider()


class Clouds:
    """A context in which the stack's providers listen on loopback and its control plane runs."""

    def __init__(self, stack: str, store: Store, report: Report, own: OwnCluster | None = None) -> None:
        """Prepare the providers of a stack; ``own`` is the cluster that it expects to be there already."""
        self._paths = paths.StackPaths.of(stack)
        self._store = store
        self._report = report
        self._own = own
        self._kubeconfig: str | None = None
        self._open = ExitStack()
        self._nodes: Nodes | None = None
        self._groups: list[NodeGroupSpec] | None = None
        self._served: dict[str, Served] = {}

    @property
    def attachments(self) -> str:
        """Value of ``PULUMI_DEBUG_PROVIDERS``: ``aws:PORT,kubernetes:PORT,…``."""
        return ",".join(f"{name}:{served.port}" for name, served in self._served.items())

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables that lead the program to the cluster that is there already."""
        return {self._own.variable: self._kubeconfig} if self._own and self._kubeconfig else {}

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            opening.callback(self._store.close)
            session = opening.enter_context(self._session(opening))
            creators: dict[str, Callable[[], Provider]] = {
                "aws": lambda: AwsProvider(self._store),
                "eks": _eks,
                "gcp": lambda: GcpProvider(self._store),
                "kubernetes": lambda: KubernetesProvider(session),
                "random": RandomProvider,
                "tls": TlsProvider,
            }
            for name, create in creators.items():
                self._served[name] = serve(name, create)
                opening.callback(self._served[name].stop)
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _session(self, opening: ExitStack) -> Session:
        cluster = self._cluster()
        helm = clients.find_or_get("helm", paths.cache_dir(), self._report) if cluster else "there is no control plane"
        if cluster:
            self._nodes = Nodes(cluster.client())
        if self._own and not cluster:
            self._report("this stack is brought up on a cluster of one's own, and the sandbox has none for it")
        if self._own and cluster:
            self._kubeconfig = self._furnished(cluster, self._own, opening)
        return Session(
            self._paths.kubernetes,
            cluster,
            helm=helm.reason if isinstance(helm, Missing) else helm,
            autoscale=self._autoscale,
            report=self._report,
        )

    def _furnished(self, cluster: Cluster, own: OwnCluster, opening: ExitStack) -> str:
        """Make of the control plane the cluster that the stack expects, and return the kubeconfig that leads to it."""
        client = cluster.client()
        furnish(client, own)
        self._autoscale()
        await_servers(client, own)
        if own.appearance is None:
            return str(cluster.kubeconfig)
        front = Front(client, own.appearance, self._paths.kubernetes / "own-cluster.yaml")
        opening.callback(front.close)
        return str(front.open())

    def _cluster(self) -> Cluster | None:
        """Start the control plane where its programs are at hand; building them is what `make cluster` is for."""
        if os.environ.get("SANDBOX_CONTROL_PLANE") == "off":
            self._report("no Kubernetes control plane, objects are recorded only: SANDBOX_CONTROL_PLANE=off")
            return None
        binaries = control_plane.find_or_get(paths.cache_dir(), self._report, allow_build=False)
        if isinstance(binaries, Missing):
            self._report(f"no Kubernetes control plane, objects are recorded only: {binaries.reason}")
            return None
        cluster = Cluster(self._paths.kubernetes, binaries)
        cluster.up(self._report)
        self._report("Kubernetes: a real control plane judges every object; nodes are simulated")
        return cluster

    def _node_groups(self) -> list[NodeGroupSpec]:
        return node_groups(self._store, self._own.servers if self._own else ())

    def _autoscale(self) -> None:
        """Follow the account's node groups, and the pods."""
        if self._nodes is None:
            return
        groups = self._node_groups()
        if groups != self._groups:
            self._nodes.reconcile(groups)
            self._groups = groups
        self._nodes.autoscale(groups)

    def settle(self) -> None:
        """Say which pods found no node, in the scheduler's words."""
        if self._nodes is None:
            return
        for line in self._nodes.explain(self._node_groups()):
            self._report(f"pending: {line}")
