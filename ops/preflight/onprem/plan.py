"""Everything that is asked about an existing cluster; the program asks the same before it creates anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from components.contract import ROLE_LABEL
from components.onprem.checks import problems
from components.onprem.facts import ClusterFacts, find_kubeconfig
from components.onprem.facts import read as read_facts
from components.settings import Settings
from components.settings.nodes import GPU_ROLES
from ops.preflight.model import Check, Finding, Group
from ops.preflight.target import Target

# Which kind of question a problem's path belongs to, and what is asked; the first that fits.
_SUBJECTS: Final[tuple[tuple[str, Group, str], ...]] = (
    ("cluster", "region", "Kubernetes version"),
    ("onprem.kubeconfig", "permission", "rights of the kubeconfig's user"),
    ("nodeGroups", "offer", "servers"),
    ("onprem.storage", "offer", "storage classes"),
    ("onprem.files", "offer", "shared files"),
    ("onprem.network", "region", "addresses"),
    ("onprem.openshift", "region", "kind of cluster"),
    ("onprem.metricsServer", "offer", "metrics of containers"),
)
_METALLB: Final = "metallb.io"
# Groups of the API of network plugins that hold pods to NetworkPolicies. One that has no group is not seen.
_POLICY_PLUGINS: Final = ("cilium.io", "crd.projectcalico.org", "crd.antrea.io", "k8s.ovn.org", "network.openshift.io")


def facts_of(settings: Settings) -> ClusterFacts:
    """Look at the cluster.

    Raises:
        UnreachableError: It does not answer, or there is no kubeconfig here.
    """
    kubeconfig = settings.onprem.kubeconfig
    return read_facts(find_kubeconfig(kubeconfig.path, kubeconfig.environment), kubeconfig.context)


def checks(target: Target, facts: ClusterFacts) -> Iterator[Check]:
    """All questions."""
    settings = target.settings
    found = problems(facts, settings)
    for prefix, group, subject in _SUBJECTS:
        yield _judged(group, subject, [line for line in found if line.startswith(prefix)])
    if rest := [line for line in found if not line.startswith(tuple(prefix for prefix, _, _ in _SUBJECTS))]:
        yield _judged("offer", "the cluster", rest)
    yield _asked("quota", "GPUs", lambda check: _gpus(check, facts, settings))
    yield _asked("offer", "load balancer", lambda check: _load_balancer(check, facts, settings))
    yield _asked("offer", "network policies", lambda check: _policies(check, facts))


def _asked(group: Group, subject: str, judge: Callable[[Check], Finding]) -> Check:
    check = Check(group=group, subject=subject, ask=lambda: [judge(check)])
    return check


def _judged(group: Group, subject: str, lines: list[str]) -> Check:
    def judge(check: Check) -> Finding:
        return check.finding("refused", "; ".join(lines)) if lines else check.finding("ok", "as the settings say")

    return _asked(group, subject, judge)


def _gpus(check: Check, facts: ClusterFacts, settings: Settings) -> Finding:
    """GPUs that can be given to pods; none on nodes whose driver the stack is yet to bring."""
    wanted = sum(settings.shapes(one)[0].gpus * one.max_size for one in settings.node_groups if one.role in GPU_ROLES)
    nodes = [node for node in facts.nodes if node.role in GPU_ROLES]
    there, bare = sum(node.gpus for node in nodes), [node.name for node in nodes if node.has_gpu and not node.gpus]
    figures = {"needed": float(wanted), "schedulable": float(there)}
    if there >= wanted:
        return check.finding("ok", f"{there} are schedulable, {wanted} are declared", figures=figures)
    if bare:
        message = f"{there} of {wanted} are schedulable; {', '.join(bare)} have no driver yet, which the stack brings"
        return check.finding("unknown", message, figures=figures)
    return check.finding(
        "refused", f"{there} are schedulable, {wanted} are declared", figures=figures,
        remedy=f"lower nodeGroups[].maxSize, or label the servers: kubectl label node NAME {ROLE_LABEL}=ROLE",
    )  # fmt: skip


def _load_balancer(check: Check, facts: ClusterFacts, settings: Settings) -> Finding:
    kind, installed = settings.onprem.load_balancer.kind, _METALLB in facts.api_groups
    if kind == "metallb":
        return check.finding("ok", "MetalLB is there" if installed else "the stack installs MetalLB")
    if installed:
        return check.finding("ok", "MetalLB is there")
    return check.finding(
        "unknown",
        "onprem.loadBalancer.kind is existing, and no API tells whether services get an address",
        remedy="kubectl create service loadbalancer probe --tcp=80 && kubectl get service probe --watch",
    )


def _policies(check: Check, facts: ClusterFacts) -> Finding:
    """Whether pods are held to network policies: an API server stores them whoever enforces them."""
    if plugins := [one for one in _POLICY_PLUGINS if one in facts.api_groups]:
        return check.finding("ok", f"{', '.join(plugins)} enforces them")
    return check.finding(
        "unknown",
        "no network plugin is seen that enforces policies; without one, every pod may speak to every other",
        remedy="install Cilium, Calico, Antrea or OVN-Kubernetes",
    )
