"""What the charts become with our values: admitted, counted, placed and pinned as we say.

Helm takes values in silence that a chart does not read, and a chart's default is not always what the table of capacity
or the level of a namespace allows. So each is rendered, and the API server judges the result.
"""

from __future__ import annotations

import re
from typing import Final

import pytest

from components.capacity import DAEMONSETS
from components.contract import GPU_TAINT
from components.settings import parse
from ops.access_matrix import ROLE_ANNOTATION, ServiceAccount, read
from sandbox.kubernetes.api import Manifest
from tests.engine.harness import FullStack
from tests.rendering.ground import Ground, Workload, cpu_and_memory
from tests.stacks import settings_of

pytestmark = pytest.mark.rendering

# Requests of what EKS puts on every node: network plugin, kube-proxy, storage drivers (components/capacity says more).
EKS_ON_EVERY_NODE: Final = (210, 200)  # millicores, MiB

ROWS: Final = {"platform": "system", "data-processing": "cpu"}
"""Rows of the table that charts' pods belong to, with the role of their nodes."""

OF_DATA: Final = {"milvus"}
"""Charts whose pods belong to the second row."""

# Containers without requests or without a memory limit, because their chart has no value for it.
SAYS_NOTHING: Final[dict[tuple[str, str, str], str]] = {}


def test_every_chart_was_rendered(ground: Ground):
    """The tests below say nothing about those that were not."""
    if ground.missing:
        pytest.skip("; ".join(f"{release}: {why}" for release, why in sorted(ground.missing.items())))


def test_the_api_server_takes_every_object(ground: Ground):
    assert ground.refused == []


def test_every_pod_is_admitted_by_its_namespace_with_all_others_at_their_most(ground: Ground):
    """Quota, LimitRange, Pod Security level and priority class are the namespace's own; the API server counts."""
    assert ground.refused_pods == []
    assert ground.unplaced == []


@pytest.mark.parametrize(("row", "nodes"), ROWS.items())
def test_pods_stay_within_their_row_of_the_capacity_table(row: str, nodes: str, ground: Ground, shipped: FullStack):
    """Without the cluster's add-ons, which are no charts of ours; DaemonSets are counted with the nodes."""
    (most,) = (one.request for one in parse(settings_of(shipped.stack)).workloads if one.name == row)
    asked = [(cpu_and_memory(one.template["spec"]), count) for one, count in ground.at_most if one.nodes == nodes]

    assert sum(one.cpu_millicores * count for one, count in asked) <= most.cpu_millicores
    assert sum(one.memory_mib * count for one, count in asked) <= most.memory_mib


def test_what_runs_on_every_node_stays_within_what_the_node_table_keeps_for_it(ground: Ground):
    landed = ground.landed
    for group in ground.groups:
        here = [workload for workload in ground.workloads if group.name in landed.get(str(workload), ())]
        asked = [cpu_and_memory(workload.template["spec"]) for workload in here]
        names = ", ".join(workload.name for workload in here)
        cpu = sum(one.cpu_millicores for one in asked) + EKS_ON_EVERY_NODE[0]
        memory = sum(one.memory_mib for one in asked) + EKS_ON_EVERY_NODE[1]
        assert cpu <= DAEMONSETS.cpu_millicores, f"{group.name}: {names}"
        assert memory <= DAEMONSETS.memory_mib, f"{group.name}: {names}"


def test_every_container_says_what_it_needs_and_how_much_memory_it_may_take(ground: Ground):
    silent: set[tuple[str, str, str]] = set()
    for workload in ground.workloads:
        for container in workload.containers:
            resources: Manifest = container.get("resources") or {}
            requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
            if not ({"cpu", "memory"} <= requests.keys() and "memory" in limits):
                silent.add((workload.chart, workload.name, container["name"]))
    of_these_charts = {key for key in SAYS_NOTHING if key[0] in {workload.chart for workload in ground.workloads}}
    assert silent - of_these_charts == set(), "give them resources, or say in SAYS_NOTHING why the chart cannot"


def test_every_image_is_pinned(ground: Ground):
    loose = [
        f"{workload}: {container['image']}"
        for workload in ground.workloads
        for container in workload.containers
        if not _is_pinned(container["image"]) and not _is_filled_in_by_the_mesh(workload, container)
    ]
    assert loose == []


def _is_pinned(image: str) -> bool:
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return bool(digest) or bool(re.search(r"\d", tag))


def _is_filled_in_by_the_mesh(workload: Workload, container: Manifest) -> bool:
    """The mesh's webhook puts its own version in place of ``auto``."""
    metadata: Manifest = workload.template.get("metadata") or {}
    injected = (metadata.get("annotations") or {}).get("inject.istio.io/templates")
    return container["image"] == "auto" and bool(injected)


def test_everything_but_what_runs_on_every_node_is_kept_on_the_nodes_of_its_row(ground: Ground):
    elsewhere = [
        f"{workload}: {workload.nodes or 'any node'}"
        for workload in ground.workloads
        if workload.kind != "DaemonSet" and workload.nodes != ("cpu" if workload.chart in OF_DATA else "system")
    ]
    assert elsewhere == []


def test_gpu_software_runs_on_every_gpu_node_and_on_no_other(ground: Ground):
    gpu_groups = {group.name for group in ground.groups if any(taint["key"] == GPU_TAINT.key for taint in group.taints)}
    for workload in ground.workloads:
        if workload.kind == "DaemonSet" and workload.chart in ("nvidia-device-plugin", "dcgm-exporter", "gpu-operator"):
            # Of the device plugin's own DaemonSets one is for another mode, and runs nowhere.
            assert set(ground.landed[str(workload)]) in (gpu_groups, set()), workload
    plugin = [workload for workload in ground.workloads if workload.chart == "nvidia-device-plugin"]
    if plugin:
        covered = {group for workload in plugin for group in ground.landed.get(str(workload), ())}
        assert covered == gpu_groups


def test_what_runs_on_every_node_runs_on_gpu_nodes_too(ground: Ground):
    """A node without the mesh's agents starts no pod of the mesh."""
    agents = [workload for workload in ground.workloads if workload.chart in ("cni", "ztunnel")]
    for workload in agents:
        assert ground.landed[str(workload)] == sorted(group.name for group in ground.groups), workload


def test_no_disruption_budget_keeps_a_node_from_being_drained(ground: Ground):
    """With one replica, or with as many required as there are, a node group's update waits until it gives up."""
    blocking: list[str] = []
    for one in ground.rendered:
        for budget in (document for document in one.documents if document["kind"] == "PodDisruptionBudget"):
            wanted: dict[str, str] = (budget["spec"].get("selector") or {}).get("matchLabels") or {}
            covered = [workload for workload in one.workloads if _selects(wanted, workload)]
            if not covered:
                blocking.append(f"{one.release}: {budget['metadata']['name']} covers no pod")
            for workload in covered:
                least = budget["spec"].get("minAvailable")
                if budget["spec"].get("maxUnavailable") == 0 or (isinstance(least, int) and least >= workload.pods > 0):
                    blocking.append(f"{workload}: {budget['spec']}")
    assert blocking == []


def _selects(labels: dict[str, str], workload: Workload) -> bool:
    metadata: Manifest = workload.template.get("metadata") or {}
    return labels.items() <= (metadata.get("labels") or {}).items()


def test_a_service_account_with_a_role_is_the_one_that_the_role_trusts(ground: Ground, shipped: FullStack):
    """A role that no service account shows, or that trusts another name, is access denied in a pod."""
    matrix = read(shipped.exported_in_clear)
    trusted = {(account, role.arn) for role in matrix.roles for account in role.trusted}
    shown = {
        (ServiceAccount(namespace=document["metadata"]["namespace"], name=document["metadata"]["name"]), arn)
        for one in ground.rendered
        for document in one.documents
        if document["kind"] == "ServiceAccount" and not _is_of_a_hook(document)
        if (arn := (document["metadata"].get("annotations") or {}).get(ROLE_ANNOTATION))
    }
    given = {use.role_arn for use in matrix.uses if use.resource in {one.release for one in ground.rendered}}

    assert shown <= trusted
    assert {arn for _, arn in shown} == given


def _is_of_a_hook(document: Manifest) -> bool:
    """Velero's job that upgrades definitions carries the annotations of its server; it calls no cloud."""
    return "helm.sh/hook" in (document["metadata"].get("annotations") or {})


def test_pods_run_under_the_service_account_that_has_the_role(ground: Ground, shipped: FullStack):
    """An annotated service account that no pod uses is a role for nobody."""
    used = {
        (workload.namespace, workload.template["spec"].get("serviceAccountName") or "default")
        for workload in ground.workloads
    }
    for one in ground.rendered:
        for document in one.documents:
            annotations: Manifest = document["metadata"].get("annotations") or {}
            if document["kind"] == "ServiceAccount" and ROLE_ANNOTATION in annotations:
                metadata = document["metadata"]
                assert (metadata["namespace"], metadata["name"]) in used
