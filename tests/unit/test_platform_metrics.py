"""The metrics stack: what it keeps, who may ask it, and what follows from settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest
from aws_stack import run
from conftest import Recorder
from platform_site import options, site

from components.platform.observability import alertmanager, metrics, state_metrics
from components.platform.observability.metrics import Metrics, MetricsArgs, allowance
from components.platform.observability.monitors.servers import KUBELET_SERVICE
from components.platform.openings import SCRAPER, Opening, Pods
from components.settings.platform import PlatformSettings
from components.settings.platform.metrics import PROMETHEUS_URL
from components.settings.platform.serving import ServingSettings

pytestmark = pytest.mark.unit

RELEASE = "kubernetes:helm.sh/v3:Release"
PERMISSIVE = "kubernetes:security.istio.io/v1:PeerAuthentication"
SYNCED = "kubernetes:external-secrets.io/v1:ExternalSecret"
MONITORS = ("PodMonitor", "ServiceMonitor")
OFF = {"enabled": False}
TOLD: dict[str, Any] = {"receivers": {"chat": {"slack": {"channel": "#ml"}}, "oncall": {"pagerduty": {}}}}


def install(recorded: Recorder, **settings: Any) -> Mapping[str, Any]:
    """Values of the chart."""

    def program() -> None:
        here = site(settings)
        Metrics(
            "metrics",
            MetricsArgs(site=here, grafana={"enabled": False}, secrets_ready=(), mesh_ready=(), certificates=()),
            options(here),
        )

    run(program)
    return recorded.one(RELEASE).inputs["values"]


def ways(**settings: Any) -> list[Opening]:
    found: list[Opening] = []
    run(lambda: found.extend(metrics.openings(site(settings))))
    return found


def platform(**settings: Any) -> PlatformSettings:
    return PlatformSettings.model_validate(settings)


def test_monitors_come_after_the_release_that_defines_them_and_go_before_it(recorded: Recorder):
    install(recorded)
    objects = [one for one in recorded.resources if one.type.endswith(MONITORS)]
    assert objects
    assert all("metrics-release" in one.depends_on for one in objects)


def test_of_the_chart_s_own_monitors_none_is_left(recorded: Recorder):
    """Two monitors of one pod would count everything twice."""
    values = install(recorded)
    parts = ("kubeApiServer", "kubelet", "coreDns", "kubeControllerManager", "kubeEtcd", "kubeProxy", "kubeScheduler")
    assert not any(values[part]["enabled"] for part in parts)
    assert not any(values[part]["serviceMonitor"]["selfMonitor"] for part in ("prometheus", "alertmanager"))
    for part in ("kube-state-metrics", "prometheus-node-exporter"):
        assert values[part]["prometheus"]["monitor"]["enabled"] is False


def test_the_service_that_the_operator_makes_of_all_kubelets_is_the_one_that_is_read(recorded: Recorder):
    values = install(recorded)
    assert values["prometheusOperator"]["kubeletService"]["name"] == KUBELET_SERVICE
    # The discovery that Prometheus is told to use is what the operator keeps filled.
    assert values["prometheusOperator"]["kubeletEndpointSliceEnabled"] is True
    assert values["prometheus"]["prometheusSpec"]["serviceDiscoveryRole"] == "EndpointSlice"


def test_prometheus_deletes_old_samples_before_its_volume_is_full(recorded: Recorder):
    spec = install(recorded, metrics={"volumeGib": 50})["prometheus"]["prometheusSpec"]
    claimed = spec["storageSpec"]["volumeClaimTemplate"]["spec"]["resources"]["requests"]["storage"]
    kept = int(re.fullmatch(r"(\d+)MiB", spec["retentionSize"])[1])  # type: ignore[index] a size in MiB
    assert claimed == "50Gi"
    assert 0.7 < kept / (50 * 1024) < 0.9


def test_a_monitor_of_a_team_can_read_no_file_of_prometheus_and_speak_of_no_other_namespace(recorded: Recorder):
    spec = install(recorded)["prometheus"]["prometheusSpec"]
    assert spec["arbitraryFSAccessThroughSMs"] == {"deny": True}
    assert spec["enforcedNamespaceLabel"] == "namespace"
    assert {one["namespace"] for one in spec["excludedFromEnforcement"]} == {"monitoring"}


class TestKeda:
    def test_it_may_ask_prometheus_without_an_identity_in_the_mesh(self, recorded: Recorder):
        install(recorded)
        asked = recorded.one(PERMISSIVE).inputs["spec"]
        assert asked["selector"]["matchLabels"] == SCRAPER.labels
        assert asked["mtls"]["mode"] == "STRICT"
        assert asked["portLevelMtls"] == {"9090": {"mode": "PERMISSIVE"}}

    @pytest.mark.parametrize("missing", ["mesh", "autoscaling"])
    def test_where_it_or_the_mesh_is_missing_every_port_stays_strict(self, recorded: Recorder, missing: str):
        install(recorded, **{missing: OFF})
        assert recorded.of(PERMISSIVE) == {}

    def test_models_are_scaled_by_this_prometheus_unless_another_is_named(self):
        pattern = ServingSettings.model_fields["prometheus_url"].metadata[0].pattern
        assert re.fullmatch(pattern, PROMETHEUS_URL), "what the settings would take"
        assert platform().prometheus_url == PROMETHEUS_URL
        assert platform(serving={"prometheusUrl": "http://other:9090"}).prometheus_url == "http://other:9090"
        assert platform(metrics=OFF).prometheus_url == ""


class TestTheWebhook:
    def test_it_is_called_where_something_signs_its_certificate(self, recorded: Recorder):
        operator = install(recorded)["prometheusOperator"]
        assert operator["admissionWebhooks"]["certManager"]["enabled"] is True
        (way,) = (one for one in ways() if one.source == "control-plane")
        assert way.ports == (10250,)

    def test_its_pod_is_outside_of_the_mesh_which_would_refuse_the_api_server(self, recorded: Recorder):
        assert install(recorded)["prometheusOperator"]["podLabels"] == {"istio.io/dataplane-mode": "none"}

    def test_without_cert_manager_there_is_none(self, recorded: Recorder):
        operator = install(recorded, certificates=OFF, gateway=OFF)["prometheusOperator"]
        assert operator["admissionWebhooks"]["enabled"] is False
        assert operator["tls"]["enabled"] is False
        assert [one for one in ways(certificates=OFF) if one.source == "control-plane"] == []


class TestReceivers:
    def test_each_has_its_own_secret_mounted_where_the_configuration_looks_for_it(self, recorded: Recorder):
        spec = install(recorded, alerting=TOLD)["alertmanager"]["alertmanagerSpec"]
        made = {one.inputs["metadata"]["name"]: one.inputs["spec"] for one in recorded.of(SYNCED).values()}
        assert {volume["secret"]["secretName"] for volume in spec["volumes"]} == made.keys()
        for mount in spec["volumeMounts"]:
            receiver = mount["name"].removeprefix("alerting-")
            assert mount["mountPath"] == f"{alertmanager.CREDENTIALS}/{receiver}"
            assert [one["secretKey"] for one in made[mount["name"]]["data"]] == [
                alertmanager.credentials(platform(alerting=TOLD).alerting)[receiver]
            ]

    def test_one_that_nobody_has_filled_in_keeps_no_other_from_being_told(self, recorded: Recorder):
        """A pod waits for a Secret that it must have, and the release for the pod."""
        spec = install(recorded, alerting=TOLD)["alertmanager"]["alertmanagerSpec"]
        assert all(volume["secret"]["optional"] for volume in spec["volumes"])

    def test_no_file_that_is_no_template_is_read_as_one(self, recorded: Recorder):
        values = install(recorded, alerting=TOLD)["alertmanager"]
        (pattern,) = values["config"]["templates"]
        assert pattern.endswith("/*.tmpl")
        assert all(name.endswith(".tmpl") for name in values["templateFiles"])

    def test_that_nobody_is_told_is_said_at_preview(self, recorded: Recorder, monkeypatch: pytest.MonkeyPatch):
        said: list[str] = []
        monkeypatch.setattr(pulumi.log, "warn", said.append)
        install(recorded, alerting={**TOLD, "routes": {"critical": ["oncall"], "warning": ["chat"]}})
        assert len(said) == 1
        assert "severity info" in said[0]


def test_a_single_replica_has_no_budget_that_would_keep_its_node_from_being_drained(recorded: Recorder):
    values = install(recorded, highlyAvailable=False)
    assert "podDisruptionBudget" not in values["prometheus"]
    assert "podDisruptionBudget" not in values["alertmanager"]


class TestStateOfObjects:
    def test_it_never_lists_what_is_secret(self):
        found: list[Mapping[str, Any]] = []
        run(lambda: found.append(state_metrics.values(site())))
        assert not {"secrets", "configmaps"} & set(found[0]["collectors"])

    def test_it_may_look_at_what_it_is_told_to_look_at_and_at_nothing_more(self):
        found: list[Mapping[str, Any]] = []
        run(lambda: found.append(state_metrics.values(site())))
        resources = found[0]["customResourceState"]["config"]["spec"]["resources"]
        looked_at = {(one["groupVersionKind"]["group"], one["resourcePlural"]) for one in resources}
        rules = found[0]["rbac"]["extraRules"]
        assert {(rule["apiGroups"][0], rule["resources"][0]) for rule in rules} == looked_at
        assert all(rule["verbs"] == ["list", "watch"] for rule in rules)

    def test_kinds_of_systems_that_are_switched_off_are_not_looked_at(self):
        found: list[Mapping[str, Any]] = []
        run(lambda: found.append(state_metrics.values(site({"serving": OFF, "training": OFF}))))
        assert "customResourceState" not in found[0]


class TestAllowance:
    def test_what_is_set_by_default_fits_the_share(self):
        usual = allowance(platform())
        assert (usual.volumes_gib, usual.memory_mib) == (0, 0)

    def test_larger_volumes_and_more_memory_are_allowed_for_every_replica(self):
        larger = {"metrics": {"volumeGib": 115, "memoryMib": 2240}}
        assert (allowance(platform(**larger)).volumes_gib, allowance(platform(**larger)).memory_mib) == (200, 2048)
        alone = allowance(platform(highlyAvailable=False, **larger))
        assert (alone.volumes_gib, alone.memory_mib) == (100, 1024)

    def test_smaller_ones_take_nothing_from_the_share_of_others(self):
        assert allowance(platform(metrics={"volumeGib": 5})).volumes_gib == 0


def test_pods_that_nobody_else_speaks_for_are_open_to_the_reader():
    targets = {way.target.namespace for way in ways() if way.source == SCRAPER and isinstance(way.target, Pods)}
    assert targets >= {"kube-system", "monitoring", "mlops-training"}
