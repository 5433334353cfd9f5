"""Namespaces: everything that bounds them, registered, and in the right order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import pytest
from aws_stack import run
from conftest import Recorder, mocked
from platform_site import options, site

from components.platform.namespaces import ROOMS, Namespaces, NamespacesArgs, PodSecurity, label_value, security_labels
from components.platform.openings import Namespace
from components.platform.priorities import RESERVED
from components.settings.platform.isolation import IsolationSettings
from components.settings.teams import TeamSettings
from components.settings.workloads import table

pytestmark = pytest.mark.unit

NAMESPACE = "kubernetes:core/v1:Namespace"
QUOTA = "kubernetes:core/v1:ResourceQuota"
LIMITS = "kubernetes:core/v1:LimitRange"
POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy"
ACCOUNT = "kubernetes:core/v1:ServiceAccountPatch"
PRIORITY = "kubernetes:scheduling.k8s.io/v1:PriorityClass"
TEAM = TeamSettings(name="nlp", gpus=1)


@dataclass(frozen=True)
class Made:
    """What a program registered, and the component that did."""

    recorded: Recorder
    component: Namespaces

    def named(self, type_: str) -> dict[str, dict[str, Any]]:
        """Objects of a cluster-wide type by their name."""
        return {one.inputs["metadata"]["name"]: one.inputs for one in self.recorded.of(type_).values()}


def namespaces(**given: Any) -> Made:
    recorder = mocked()
    found: list[Namespaces] = []

    def program() -> None:
        place = site(teams=[TEAM])
        args: dict[str, Any] = {
            "foundation": place.foundation,
            "teams": [TEAM],
            "capacity": table(),
            "owner": "ml-platform",
            "cost_center": "ml",
            "openings": (),
            "settings": IsolationSettings(),
            "kubernetes_minor": "1.35",
        }
        found.append(Namespaces("isolation", NamespacesArgs(**{**args, **given}), options(place)))

    run(program)
    return Made(recorder, found[0])


@pytest.fixture(scope="module")
def usual() -> Made:
    """As the settings' defaults make it; once for all, because it takes seconds."""
    return namespaces()


AGENT = PodSecurity(level="privileged", why="the agent mounts volumes of other pods")
QUEUE = {"scheduling.volcano.sh/queue-name": "team-nlp"}


@pytest.fixture(scope="module")
def changed() -> Made:
    """With everything given that may be."""
    return namespaces(
        owner="Platform Team <ml@example.com>",
        cost_center="ml research",
        exceptions={"velero": AGENT},
        annotations={"team-nlp": QUEUE},
        settings=IsolationSettings.model_validate({"internet": False}),
    )


def metadata(made: Made, title: str) -> dict[str, Any]:
    return made.named(NAMESPACE)[title]["metadata"]


def test_every_namespace_of_the_platform_and_of_each_team_is_made(usual: Made):
    assert set(usual.named(NAMESPACE)) == {*get_args(Namespace), "team-nlp"}


def test_each_has_a_quota_defaults_a_closed_network_and_an_account_without_a_token(usual: Made):
    for title in (*ROOMS, "team-nlp"):
        found = {
            (one.type, one.inputs["metadata"]["name"])
            for one in usual.recorded.resources
            if one.inputs.get("metadata", {}).get("namespace") == title
        }
        wanted = {(QUOTA, "capacity"), (LIMITS, "defaults"), (POLICY, "default-deny"), (ACCOUNT, "default")}
        assert wanted <= found, title
    assert all(one.inputs["automountServiceAccountToken"] is False for one in usual.recorded.of(ACCOUNT).values())


def test_what_bounds_a_namespace_comes_after_it_and_before_whatever_runs_there(usual: Made):
    for one in usual.recorded.resources:
        if title := one.inputs.get("metadata", {}).get("namespace"):
            assert f"isolation-{title}" in one.depends_on, one.name
    bounds = {name for type_ in (QUOTA, LIMITS, POLICY, ACCOUNT, PRIORITY) for name in usual.recorded.of(type_)}
    component = usual.component
    given = [*component.resources.values(), *component.team_resources.values()]
    assert bounds <= {one._name for some in given for one in some}
    assert set(component.resources) == set(get_args(Namespace))
    assert set(component.team_resources) == {"nlp"}
    assert {one._name for one in component.ready} == {one._name for some in given for one in some}


def test_only_what_works_on_nodes_is_privileged_and_says_why(usual: Made):
    enforced = {
        name: inputs["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for name, inputs in usual.named(NAMESPACE).items()
    }
    privileged = {name for name, level in enforced.items() if level == "privileged"}
    assert privileged == {"gpu-system", "istio-system", "monitoring"}
    assert set(enforced.values()) == {"privileged", "restricted"}
    assert all(metadata(usual, name)["annotations"]["llmops/pod-security"] for name in privileged)


def test_a_setting_that_needs_more_of_the_nodes_opens_its_namespace_alone(changed: Made):
    assert metadata(changed, "velero")["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    assert metadata(changed, "velero")["annotations"]["llmops/pod-security"] == AGENT.why
    assert metadata(changed, "keda")["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_verdicts_are_pinned_to_the_clusters_version():
    labels = security_labels(None, "1.35")
    assert {labels[f"pod-security.kubernetes.io/{mode}-version"] for mode in ("enforce", "audit", "warn")} == {"v1.35"}
    baseline = security_labels(PodSecurity(level="baseline", why="test"), "1.35")
    assert baseline["pod-security.kubernetes.io/warn"] == "restricted"


def test_systems_that_the_api_server_calls_are_outside_of_the_mesh(usual: Made):
    meshed = {
        name
        for name, inputs in usual.named(NAMESPACE).items()
        if inputs["metadata"]["labels"].get("istio.io/dataplane-mode") == "ambient"
    }
    assert not meshed & {"cert-manager", "external-secrets", "keda", "volcano-system", "istio-system"}
    assert {"argocd", "mlops-serving", "mlops-training", "team-nlp"} <= meshed


def test_a_namespace_names_its_team_or_the_stacks_owner(changed: Made):
    assert metadata(changed, "keda")["labels"]["llmops/owner"] == "Platform-Team-ml-example.com"
    assert metadata(changed, "team-nlp")["labels"]["llmops/owner"] == "nlp"
    assert metadata(changed, "team-nlp")["labels"]["llmops/team"] == "nlp"


@pytest.mark.parametrize(
    ("text", "value"), [("ml", "ml"), ("@@", ""), ("a" * 70, "a" * 63), ("a" * 62 + " b", "a" * 62), ("x y/z", "x-y-z")]
)
def test_label_values_are_valid_whatever_the_text(text: str, value: str):
    assert label_value(text) == value


def test_systems_may_say_something_of_a_namespace(changed: Made):
    assert metadata(changed, "team-nlp")["annotations"].items() >= QUEUE.items()


def test_a_cluster_without_enforcement_gets_no_policies_by_setting():
    made = namespaces(settings=IsolationSettings.model_validate({"networkPolicies": False}))
    assert made.recorded.of(POLICY) == {}


def test_without_internet_training_and_teams_fetch_nothing(usual: Made, changed: Made):
    def fetching(made: Made) -> set[str]:
        return {
            one.inputs["metadata"]["namespace"]
            for one in made.recorded.of(POLICY).values()
            if "Base models" in one.inputs["metadata"]["annotations"]["llmops/why"]
        }

    assert fetching(usual) == {"mlops-data", "mlops-training", "team-nlp"}
    assert fetching(changed) == set()


def test_jobs_may_take_back_what_their_queue_is_owed_and_batch_work_stops_nobody(usual: Made):
    """Volcano skips jobs with ``Never`` when it reclaims a queue's share."""
    classes = usual.named(PRIORITY)
    assert classes["batch"]["preemptionPolicy"] == "Never"
    for name in ("serving", "training", "training-preemptible"):
        assert classes[name]["preemptionPolicy"] == "PreemptLowerPriority"
    assert not any(one.get("globalDefault") for one in classes.values())
    assert all(0 < one["value"] < 1_000_000_000 for one in classes.values())
    in_order = sorted(classes, key=lambda name: -classes[name]["value"])
    assert in_order == ["platform-critical", "serving", "training", "training-preemptible", "batch"]
    assert set(RESERVED) & set(classes) == {"platform-critical"}
