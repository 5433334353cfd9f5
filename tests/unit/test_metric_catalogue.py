"""The catalogue of metrics: no rule asks for a series that nobody exports."""

from __future__ import annotations

import pytest

from components.platform.gpu_counters import COUNTERS
from components.platform.observability import catalogue, rules
from components.platform.observability.catalogue import METRICS
from components.platform.observability.rules import ModelObjective, RecordingRule, SiteFacts
from components.platform.observability.rules.recorded import LABELS
from components.settings.platform import PlatformSettings
from components.versions import CHARTS, IMAGES, ISTIO
from tests.unit.conftest import Recorder
from tests.unit.platform_stores import STORES
from tests.unit.workload_alerts import groups

pytestmark = pytest.mark.unit

FACTS = SiteFacts(settings=PlatformSettings(), spot_pools=({"llmops/node-group": "spot"},), stores=STORES)
OBJECTIVES = (
    ModelObjective(name="llama", namespace="team-x", team="x", backend="vllm", cold_start_seconds=600),
    ModelObjective(name="gpt", namespace="mlops-serving", team="x", backend="triton", reserves_gpu_memory=True),
)


def expressions() -> dict[str, str]:
    return {
        f"{group.name}/{rule.record if isinstance(rule, RecordingRule) else rule.name}/{number}": rule.expression
        for group in rules.groups(FACTS, OBJECTIVES)
        for number, rule in enumerate(group.rules)
    }


@pytest.mark.parametrize("rule", expressions())
def test_a_rule_asks_for_series_that_somebody_exports_by_labels_that_they_have(rule: str):
    assert catalogue.problems(expressions()[rule]) == []


def test_so_do_the_rules_of_workloads(recorded: Recorder):
    asked = {alert.expression for group in groups(recorded).values() for alert in group.alerts}

    assert len(asked) > 4
    assert [problem for expression in asked for problem in catalogue.problems(expression)] == []


def test_a_series_that_nobody_exports_is_found_wherever_it_stands():
    hidden = "sum by (a) (rate(made_up_total[5m])) > on(a) max_over_time((up == 1)[1h:1m]) or -abs(other_one)"

    assert catalogue.unknown(hidden) == ["made_up_total", "other_one"]


def test_a_label_that_a_series_does_not_have_is_found():
    assert catalogue.problems('kube_pod_status_phase{phase="Failed",fase="x"}') == [
        "kube_pod_status_phase has no label fase"
    ]
    assert catalogue.problems('kube_node_labels{label_llmops_role="cpu"}') == []


def test_queries_of_dashboards_are_understood():
    for query in (
        'rate(vllm:prompt_tokens_total{namespace=~"$namespace"}[$__rate_interval])',
        "increase(litellm_spend_metric_total[$__range])",
        "avg_over_time(up[${window}])",
    ):
        assert catalogue.unknown(query) == []


def test_a_selector_without_a_name_is_refused():
    with pytest.raises(ValueError, match="without a name"):
        catalogue.unknown('{job="x"}')


def test_a_histogram_is_asked_for_by_its_series():
    assert catalogue.unknown("vllm:e2e_request_latency_seconds_bucket") == []
    assert catalogue.unknown("vllm:e2e_request_latency_seconds") == ["vllm:e2e_request_latency_seconds"]


def test_no_series_is_claimed_twice():
    assert catalogue.twice() == []


def test_every_recorded_series_is_recorded_and_known():
    made = {rule.record for group in rules.groups(FACTS) for rule in group.rules if isinstance(rule, RecordingRule)}

    assert made == set(LABELS)


def test_every_metric_says_where_it_is_documented_at_which_version():
    for metric in METRICS.values():
        assert metric.source.version, metric.name
        assert metric.source.documents.startswith(("https://", "docs/")), metric.name


def test_gpus_are_asked_for_what_the_exporter_is_told_to_count():
    """Its own list lacks errors of memory and how long a GPU slows itself down; ours lacks what nobody asks for."""
    asked = {name: metric.kind for name, metric in METRICS.items() if metric.source.component == "DCGM exporter"}

    assert asked == {field: kind for field, (kind, _) in COUNTERS.items()}


PINNED = {
    "LiteLLM": IMAGES["litellm"],
    "vLLM": IMAGES["vllm"],
    "MLflow": IMAGES["mlflow"],
    "Ray": IMAGES["ray"],
    "Volcano": CHARTS["volcano"].version,
    "KubeRay": CHARTS["kuberay-operator"].version,
    "JobSet": CHARTS["jobset"].version,
    "cert-manager": CHARTS["cert-manager"].version,
    "External Secrets": CHARTS["external-secrets"].version,
    "KEDA": CHARTS["keda"].version,
    "KEDA HTTP add-on": CHARTS["keda-add-ons-http"].version,
    "AWS load balancer controller": CHARTS["aws-load-balancer-controller"].version,
    "Istio gateway": ISTIO,
    "istiod": ISTIO,
    "ztunnel": ISTIO,
    "Istio CNI": ISTIO,
    "SeaweedFS": CHARTS["seaweedfs"].version,
    "redis_exporter": IMAGES["redis-exporter"],
}
"""Where the version of a component is that of its chart or image; other charts count for themselves."""


@pytest.mark.parametrize("component", PINNED)
def test_names_were_looked_up_at_the_version_that_is_installed(component: str):
    """Who moves a version looks its metrics up again, and then moves the catalogue's."""
    versions = {one.source.version for one in METRICS.values() if one.source.component == component}

    assert len(versions) == 1
    assert versions.pop() in PINNED[component]
