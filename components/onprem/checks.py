"""Whether an existing cluster has what the settings say: judged before anything is created, all problems at once."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

from components.contract import GPU_MODEL_LABEL, GPU_TAINT, ROLE_LABEL
from components.onprem.facts import ClusterFacts, Node
from components.onprem.files import NFS_DRIVER, SCALE_DRIVER
from components.onprem.names import OPERATORS
from components.settings import Settings
from components.settings.nodes import GPU_ROLES, NodeGroupSettings
from components.versions import KUBERNETES_SUPPORTED

_OPENSHIFT: Final = "security.openshift.io"
_TOLERANCE: Final = 0.9  # machines of a kind differ a little in what firmware and kernel keep


def problems(facts: ClusterFacts, settings: Settings) -> list[str]:
    """Everything that is wrong, one line each: the setting, what was found, what to do."""
    return [
        *_version(facts, settings),
        *_rights(facts),
        *(line for group in settings.node_groups for line in _group(group, facts, settings)),
        *_storage(facts, settings),
        *_network(facts, settings),
        *_kind(facts, settings),
        *_metrics(facts, settings),
    ]


def _version(facts: ClusterFacts, settings: Settings) -> Iterator[str]:
    wanted = settings.cluster.kubernetes_version
    if facts.version != wanted:
        yield f"cluster.kubernetesVersion: the cluster is {facts.version}; got {wanted}"
    if facts.version not in KUBERNETES_SUPPORTED:
        yield f"cluster: Kubernetes {facts.version} is none of {', '.join(KUBERNETES_SUPPORTED)}"


def _rights(facts: ClusterFacts) -> Iterator[str]:
    if not facts.may_create_namespaces:
        yield "onprem.kubeconfig: its user may not create namespaces; bind it to cluster-admin"


def _group(group: NodeGroupSettings, facts: ClusterFacts, settings: Settings) -> Iterator[str]:
    """Nodes of a group: there, labelled, tainted where they have GPUs, and as large as their machine says."""
    path = f"nodeGroups[{settings.node_groups.index(group)}]"
    shape = settings.shapes(group)[0]
    own = [node for node in facts.nodes if _belongs(node, group, shape.gpu_model)]
    if len(own) < group.min_size:
        labels = f"{ROLE_LABEL}={group.role}" + (f",{GPU_MODEL_LABEL}={shape.gpu_model}" if shape.gpus else "")
        yield (
            f"{path}.minSize: {group.min_size} nodes of {group.name}, but {len(own)} are labelled {labels}: "
            f"kubectl label node <name> {labels.replace(',', ' ')}"
        )
    for node in own:
        if not node.ready:
            yield f"{path}: node {node.name} takes no pods"
        if group.role in GPU_ROLES:
            if not node.has_gpu:
                yield f"{path}: no GPU is seen on node {node.name}"
            elif node.gpus not in (0, shape.gpus):  # none before the driver is there
                yield f"{path}: node {node.name} has {node.gpus} GPUs, the machine {shape.instance_type} {shape.gpus}"
            if GPU_TAINT.key not in node.taints:
                taint = f"{GPU_TAINT.key}={GPU_TAINT.value}:{GPU_TAINT.effect}"
                yield f"{path}: node {node.name} lacks a taint: kubectl taint node {node.name} {taint}"
        if node.cpu_millicores < shape.cpu_millicores * _TOLERANCE:
            yield f"{path}: node {node.name} offers {node.cpu_millicores}m CPU, {shape} was said"
        if node.memory_mib < shape.memory_mib * _TOLERANCE:
            yield f"{path}: node {node.name} offers {node.memory_mib} MiB of memory, {shape} was said"


def _belongs(node: Node, group: NodeGroupSettings, gpu_model: str) -> bool:
    return node.role == group.role and node.labels.get(GPU_MODEL_LABEL, "") == gpu_model


def _storage(facts: ClusterFacts, settings: Settings) -> Iterator[str]:
    storage, known = settings.onprem.storage, ", ".join(sorted(facts.storage_classes)) or "none"
    for key, name in (("blockClass", storage.block_class), ("objectClass", storage.object_class)):
        if name and name not in facts.storage_classes:
            yield f"onprem.storage.{key}: the cluster has {known}; got {name}"
    driver = storage.snapshot_driver
    if driver and driver not in facts.snapshot_drivers:
        there = ", ".join(sorted(facts.snapshot_drivers)) or "no driver"
        yield f"onprem.storage.snapshotDriver: {there} has a VolumeSnapshotClass; got {driver}"
    files = settings.onprem.files
    if files.kind == "nfs" and not files.installs_driver and NFS_DRIVER not in facts.csi_drivers:
        yield f"onprem.files.installsDriver: {NFS_DRIVER} is not in the cluster; set it to true"
    if files.kind == "spectrum-scale" and SCALE_DRIVER not in facts.csi_drivers:
        yield f"onprem.files.kind: {SCALE_DRIVER} is not in the cluster; install IBM Storage Scale CSI first"


def _network(facts: ClusterFacts, settings: Settings) -> Iterator[str]:
    networks = [ipaddress.IPv4Network(cidr) for cidr in settings.onprem.network.api_server]
    for address in facts.api_server_addresses:
        try:
            found = ipaddress.IPv4Address(address)
        except ValueError:
            continue  # IPv6: policies name IPv4 only
        if not any(found in network for network in networks):
            yield f"onprem.network.apiServer: an API server answers at {address}, which is in none of them"


def _kind(facts: ClusterFacts, settings: Settings) -> Iterator[str]:
    is_openshift = _OPENSHIFT in facts.api_groups
    if is_openshift != settings.onprem.openshift:
        yield f"onprem.openshift: the cluster is {'OpenShift' if is_openshift else 'not OpenShift'}"


_METRICS: Final = "v1beta1.metrics.k8s.io"


def _metrics(facts: ClusterFacts, settings: Settings) -> Iterator[str]:
    """Two servers of one API do not go together: the later one takes it from the other, and gives it back to nobody."""
    path, there = "onprem.metricsServer.kind", facts.metrics_api
    if settings.onprem.installs_metrics_server:
        if there is not None and there.namespace != OPERATORS:
            yield f"{path}: {there.service or 'the API server'} serves {_METRICS} already; set present"
    elif there is None:
        yield f"{path}: nobody serves {_METRICS}; set install, or install a metrics-server"
    elif not there.available:
        yield f"{path}: {there.service} serves {_METRICS} and is not available: kubectl describe apiservice {_METRICS}"
