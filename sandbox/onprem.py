"""The existing cluster that an on-prem stack is brought up on: its servers, its storage, and how it is reached.

Such a cluster is there before the program. So the sandbox reads the stack's own settings, puts up the servers that
they name, and hands the kubeconfig over in the variable that they name.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from components.contract import GPU_MODEL_LABEL, GPU_TAINT, ROLE_LABEL
from sandbox.kubernetes.api import Client, ResourceType
from sandbox.kubernetes.nodes import GROUP_LABEL, NodeGroupSpec, condition
from sandbox.node_resources import resources_of
from sandbox.onprem_front import Appearance

_NAMESPACE: Final = "llmops:"
_KUBECONFIG: Final = "KUBECONFIG"  # the settings' own default
# Secrets of the stack that lead to a real cluster; here they would lead nowhere.
_REACHES: Final = ("onprem:kubeconfig",)
_STORAGE_CLASS: Final = ResourceType("storage.k8s.io/v1", "StorageClass", "storageclasses", namespaced=False)
_PROVISIONER: Final = "disks.sandbox.invalid"  # a CSI driver's name is a DNS subdomain
_CSI_DRIVER: Final = ResourceType("storage.k8s.io/v1", "CSIDriver", "csidrivers", namespaced=False)
_DRIVERS: Final[Mapping[str, tuple[str, ...]]] = {
    "nfs": ("nfs.csi.k8s.io",),
    "spectrum-scale": ("spectrumscale.csi.ibm.com",),
    "none": (),
}
_RACKS: Final = 3
_READY_WITHIN_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True)
class OwnCluster:
    """What an on-prem stack expects of its cluster.

    Attributes:
        variable: Environment variable that the program finds the kubeconfig's path in.
        servers: Its servers, as groups of a fixed size.
        storage_classes: Storage classes that it has; the first is the default.
        csi_drivers: Drivers that are there besides those of the storage classes.
        appearance: What it says of itself; None where the settings cannot work.
    """

    variable: str = _KUBECONFIG
    servers: Sequence[NodeGroupSpec] = ()
    storage_classes: Sequence[str] = ()
    csi_drivers: Sequence[str] = ()
    appearance: Appearance | None = None


def own_cluster(stack_file: Path) -> OwnCluster | None:
    """Return what the stack in this file expects of its cluster; None where a cloud makes one.

    Settings that cannot work count as none: the program itself says what is wrong with them.
    """
    config = _config(stack_file)
    if config.get(f"{_NAMESPACE}cloud") != "onprem":
        return None
    from components.settings import parse  # noqa: PLC0415 only such stacks need it, and it takes a second

    raw = {key.removeprefix(_NAMESPACE): value for key, value in config.items() if key.startswith(_NAMESPACE)}
    try:
        settings = parse(raw)
    except Exception:  # whatever is wrong with them, the program says it, and better
        return OwnCluster()
    there = settings.onprem
    servers = [
        _servers(group.name, group.role, group.max_size, there.shapes[group.instance_types[0]], there.site)
        for group in settings.node_groups
        if group.instance_types[0] in there.shapes
    ]
    classes = dict.fromkeys(name for name in (there.storage.block_class, there.storage.object_class) if name)
    appearance = Appearance(
        version=settings.cluster.kubernetes_version,
        api_servers=tuple(cidr.partition("/")[0] for cidr in there.network.api_server),
        snapshot_driver=there.storage.snapshot_driver,
        openshift=there.openshift,
        metrics_server=not there.installs_metrics_server,
    )
    drivers = () if there.files.kind == "nfs" and there.files.installs_driver else _DRIVERS[there.files.kind]
    return OwnCluster(there.kubeconfig.environment, servers, tuple(classes), drivers, appearance)


def _config(stack_file: Path) -> Mapping[str, Any]:
    content: dict[str, Any] | None = yaml.safe_load(stack_file.read_text())
    config: dict[str, Any] = (content or {}).get("config") or {}
    return config


def _servers(name: str, role: str, count: int, shape: Any, site: str) -> NodeGroupSpec:
    """Describe servers as their administrator labels them: by role, by GPU, by rack."""
    gpu = {GPU_MODEL_LABEL: shape.gpu_model, "nvidia.com/gpu.present": "true"} if shape.gpus else {}
    taint = {"key": GPU_TAINT.key, "value": GPU_TAINT.value, "effect": GPU_TAINT.effect}
    return NodeGroupSpec(
        name=name,
        instance_types=[shape.instance_type],
        min_size=count,
        desired=count,
        max_size=count,
        labels={ROLE_LABEL: role, **gpu},
        taints=[taint] if shape.gpus else [],
        allocatable=resources_of(shape),
        capacity=resources_of(shape),
        zones=[f"{site}-rack-{number}" for number in range(1, _RACKS + 1)],
        region=site,
    )


def furnish(client: Client, cluster: OwnCluster) -> None:
    """Put into the control plane what such a cluster has besides servers."""
    for index, name in enumerate(cluster.storage_classes):
        default = {"storageclass.kubernetes.io/is-default-class": "true"} if index == 0 else {}
        manifest = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name, "annotations": default},
            "provisioner": _PROVISIONER,
            "volumeBindingMode": "WaitForFirstConsumer",
            "allowVolumeExpansion": True,
        }
        client.apply(_STORAGE_CLASS, manifest, manager="sandbox-onprem", force=True)
    for name in cluster.csi_drivers:
        driver = {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": name}, "spec": {}}
        client.apply(_CSI_DRIVER, driver, manager="sandbox-onprem", force=True)


def await_servers(client: Client, cluster: OwnCluster) -> None:
    """Wait until every server takes pods: the program looks at them before it makes anything."""
    wanted = sum(group.desired for group in cluster.servers)
    deadline = time.monotonic() + _READY_WITHIN_SECONDS
    while time.monotonic() < deadline:
        nodes = client.items("/api/v1/nodes", labelSelector=GROUP_LABEL)
        ready = [node for node in nodes if condition(node, "Ready").get("status") == "True"]
        if len(ready) >= wanted:
            return
        time.sleep(_POLL_SECONDS)


def without_other_clusters(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stack's configuration without what leads to a cluster of its user's."""
    kept = {key: value for key, value in config.items() if key not in _REACHES}
    key = f"{_NAMESPACE}onprem"
    if kept.get(f"{_NAMESPACE}cloud") != "onprem" or key not in kept:
        return kept
    given = kept[key]
    section: dict[str, Any] = dict(json.loads(given) if isinstance(given, str) else given)
    reached: dict[str, Any] = section.get("kubeconfig") or {}
    section["kubeconfig"] = {name: value for name, value in reached.items() if name == "environment"}
    return {**kept, key: section}
