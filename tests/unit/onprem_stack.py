"""What the tests of the on-prem foundation share: its stack's settings, a cluster that fits them, and the program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from components.contract import GPU_MODEL_LABEL, GPU_TAINT, ROLE_LABEL
from components.onprem.facts import ClusterFacts, MetricsApi, Node
from components.onprem.foundation import OnPremFoundation, OnPremFoundationArgs
from components.settings import Settings, parse

STACK = Path(__file__).parents[2] / "Pulumi.onprem.yaml"

KUBECONFIG = yaml.safe_dump(
    {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "dc1",
        "clusters": [{"name": "dc1", "cluster": {"server": "https://192.168.10.10:6443"}}],
        "contexts": [{"name": "dc1", "context": {"cluster": "dc1", "user": "installer"}}],
        "users": [{"name": "installer", "user": {"token": "not-a-real-token"}}],
    }
)


def raw() -> dict[str, Any]:
    """The stack's settings as its file has them."""
    config: Mapping[str, Any] = yaml.safe_load(STACK.read_text())["config"]
    found = {key.removeprefix("llmops:"): value for key, value in config.items() if key.startswith("llmops:")}
    return {**found, "protect": found["protect"] == "true"}


def settings(**onprem: Any) -> Settings:
    """The stack's settings with some of ``onprem`` replaced."""
    stack = raw()
    return parse({**stack, "onprem": {**stack["onprem"], **onprem}})


def facts(of: Settings, **changes: Any) -> ClusterFacts:
    """A cluster that has what the settings say, with some of it replaced."""
    nodes: list[Node] = []
    for group in of.node_groups:
        shape = of.shapes(group)[0]
        labels = {ROLE_LABEL: group.role, **({GPU_MODEL_LABEL: shape.gpu_model} if shape.gpus else {})}
        nodes += [
            Node(
                name=f"{group.name}-{number}",
                labels=labels,
                taints=(GPU_TAINT.key,) if shape.gpus else (),
                cpu_millicores=shape.cpu_millicores,
                memory_mib=shape.memory_mib,
                gpus=0,  # the driver comes with the operator
                has_gpu=bool(shape.gpus),
                ready=True,
            )
            for number in range(group.min_size)
        ]
    storage = of.onprem.storage
    classes = {
        storage.block_class: "block.test",
        **({storage.object_class: "local.test"} if storage.object_class else {}),
    }
    found: dict[str, Any] = {
        "version": of.cluster.kubernetes_version,
        "nodes": tuple(nodes),
        "storage_classes": classes,
        "snapshot_drivers": frozenset({storage.snapshot_driver}),
        "csi_drivers": frozenset[str](),
        "api_groups": frozenset({"security.openshift.io"} if of.onprem.openshift else ()),
        "api_server_addresses": ("192.168.10.11", "192.168.10.12"),
        "may_create_namespaces": True,
        "metrics_api": None
        if of.onprem.installs_metrics_server
        else MetricsApi(service="openshift-monitoring/metrics-server", available=True),
    }
    return ClusterFacts(**{**found, **changes})


def build(of: Settings | None = None, **changes: Any) -> OnPremFoundation:
    """The foundation of a stack on a cluster that fits it; call it inside the program under test."""
    chosen = of or settings()
    return OnPremFoundation(
        "foundation",
        OnPremFoundationArgs(
            settings=chosen,
            project="llmops",
            stack="onprem",
            kubeconfig=KUBECONFIG,
            facts=facts(chosen, **changes),
        ),
    )


_MARK = "4dabf18193072939515e22adb298388d"  # how the engine marks what is secret


def opened(value: Any) -> Any:
    """Inputs without the marks of secrets."""
    if isinstance(value, dict):
        found = cast("dict[str, Any]", value)
        return opened(found["value"]) if _MARK in found else {key: opened(inner) for key, inner in found.items()}
    return [opened(inner) for inner in cast("list[Any]", value)] if isinstance(value, list) else value


def shown(value: Any) -> Any:
    """Inputs without what is marked as secret: what a preview would print."""
    if isinstance(value, dict):
        found = cast("dict[str, Any]", value)
        return None if _MARK in found else {key: shown(inner) for key, inner in found.items()}
    return [shown(inner) for inner in cast("list[Any]", value)] if isinstance(value, list) else value
