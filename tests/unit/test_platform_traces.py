"""Traces: what is kept of requests, and that every part of one meets in one place."""

from __future__ import annotations

import re
from typing import Any

import pytest
from conftest import Recorder
from platform_site import Identities, options, site
from pydantic import ValidationError

from components.contract import ObjectGrant
from components.platform import telemetry
from components.platform.model_gateway import config
from components.platform.model_gateway.server import TRACING
from components.platform.observability import logs, traces
from components.platform.observability.traces import (
    TEMPO,
    Traces,
    TracesArgs,
    collector_configuration,
    openings,
)
from components.platform.openings import LITELLM, Pods
from components.platform.quotas import SHARES
from components.platform.runtimes import RUNTIMES, runtime_of
from components.settings.platform.model_gateway import ModelGatewaySettings
from components.settings.platform.traces import TraceSettings
from components.settings.teams import TeamSettings

pytestmark = pytest.mark.unit

RELEASE = "kubernetes:helm.sh/v3:Release"
SERVICE = "kubernetes:core/v1:Service"
SMALL = {"highlyAvailable": False}


def declared(
    recorded: Recorder, settings: dict[str, Any] | None = None, identities: Identities | None = None
) -> dict[str, dict[str, Any]]:
    """Values of the releases, by release."""

    def program() -> None:
        place = site(settings or {}, identities=identities)
        Traces("traces", TracesArgs(site=place), options(place))

    recorded.run(program)
    return {made.inputs["name"]: made.inputs["values"] for made in recorded.of(RELEASE).values()}


def referenced(config: dict[str, Any]) -> None:
    """Every part that a pipeline names is there, and every part that is there is used."""
    pipelines = config["service"]["pipelines"].values()
    for kind in ("receivers", "processors", "exporters"):
        assert {name for pipeline in pipelines for name in pipeline[kind]} == set(config[kind]), kind
    assert set(config["service"]["extensions"]) == set(config["extensions"])


@pytest.mark.parametrize("shared", [False, True])
def test_the_configuration_names_what_it_has_and_has_what_it_names(shared: bool):
    referenced(collector_configuration(TraceSettings(), shared=shared))


@pytest.mark.parametrize("shared", [False, True])
def test_memory_is_guarded_before_anything_else_and_batches_are_made_last(shared: bool):
    """The order in which the collector's documentation wants them."""
    for pipeline in collector_configuration(TraceSettings(), shared=shared)["service"]["pipelines"].values():
        assert pipeline["processors"][0] == "memory_limiter"
        assert pipeline["processors"][-1] == "batch"


def test_one_collector_decides_by_itself():
    pipelines = collector_configuration(TraceSettings(), shared=False)["service"]["pipelines"]
    assert set(pipelines) == {"traces"}
    assert "tail_sampling" in pipelines["traces"]["processors"]


def test_of_several_collectors_the_one_that_the_trace_id_names_decides():
    found = collector_configuration(TraceSettings(), shared=True)
    first, second = found["service"]["pipelines"]["traces"], found["service"]["pipelines"]["traces/decided"]
    assert first["exporters"] == ["load_balancing"]
    assert found["exporters"]["load_balancing"]["routing_key"] == "traceID"
    assert "tail_sampling" not in first["processors"], "it sees a part of the trace only"
    assert second["receivers"] == ["otlp/peers"]
    assert "load_balancing" not in second["exporters"], "spans would go round for ever"


def test_collectors_find_one_another_by_the_service_that_is_declared_for_it(recorded: Recorder):
    values = declared(recorded)["otel-collector"]
    peers = recorded.one(SERVICE).inputs
    balancer = values["alternateConfig"]["exporters"]["load_balancing"]["resolver"]["dns"]
    port = int(peers["spec"]["ports"][0]["port"])  # the engine's numbers have a fraction
    metadata = peers["metadata"]
    assert balancer["hostname"] == f"{metadata['name']}.{metadata['namespace']}.svc.cluster.local"
    assert balancer["port"] == str(port)
    door = values["alternateConfig"]["receivers"]["otlp/peers"]["protocols"]["grpc"]["endpoint"]
    assert door.endswith(f":{port}")
    assert peers["spec"]["clusterIP"] == "None", "behind one address they would be one collector"
    assert peers["spec"]["selector"] == dict(telemetry.COLLECTOR.labels)


def test_a_small_platform_has_one_collector_and_no_peers(recorded: Recorder):
    values = declared(recorded, SMALL)["otel-collector"]
    assert values["replicaCount"] == 1
    assert not recorded.of(SERVICE)


def test_all_that_failed_or_was_slow_is_kept_and_a_share_of_the_rest():
    settings = TraceSettings.model_validate(
        {"slowSeconds": 2.5, "samplingPercent": 1, "waitSeconds": 20, "longestSeconds": 900}
    )
    sampling = collector_configuration(settings, shared=False)["processors"]["tail_sampling"]
    policies = {one["type"]: one[one["type"]] for one in sampling["policies"]}
    assert policies["status_code"] == {"status_codes": ["ERROR"]}
    assert policies["latency"] == {"threshold_ms": 2500}
    assert policies["probabilistic"] == {"sampling_percentage": 1}
    assert (sampling["decision_wait_after_root_received"], sampling["decision_wait"]) == ("20s", "900s")


@pytest.mark.parametrize("settings", [{"samplingPercent": 101}, {"samplingPercent": -1}, {"slowSeconds": 0}])
def test_shares_and_times_that_cannot_be_are_refused(settings: dict[str, Any]):
    with pytest.raises(ValidationError):
        TraceSettings.model_validate(settings)


@pytest.mark.parametrize(
    "attribute",
    [
        "gen_ai.prompt.0.content",
        "gen_ai.completion.0.content",
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.system_instructions",
        "gen_ai.tool.call.arguments",
        "llm.prompts",
        "llm.openai.messages",
        "input.value",
        "output.value",
        "http.request.header.authorization",
        "http.request.header.x-api-key",
    ],
)
def test_what_was_said_never_reaches_tempo(attribute: str):
    assert re.search(_content_pattern(), attribute), attribute


@pytest.mark.parametrize(
    "attribute",
    [
        "gen_ai.usage.input_tokens",
        "gen_ai.request.model",
        "gen_ai.response.finish_reasons",
        "gen_ai.latency.time_to_first_token",
        "http.request.method",
        "http.response.status_code",
        "http.request.header.traceparent",
        "llm.usage.total_tokens",
    ],
)
def test_what_it_cost_and_how_long_it_took_does(attribute: str):
    assert not re.search(_content_pattern(), attribute), attribute


def _content_pattern() -> str:
    (action,) = collector_configuration(TraceSettings(), shared=True)["processors"]["attributes/content"]["actions"]
    assert action["action"] == "delete"
    return action["pattern"]


def test_helm_finds_no_template_in_the_configuration():
    for shared in (False, True):
        assert "{{" not in str(collector_configuration(TraceSettings(), shared=shared)).replace("': {'", "")


def test_tempo_reads_and_writes_below_its_own_prefix_and_holds_no_credential(recorded: Recorder):
    asked = Identities()
    tempo = declared(recorded, identities=asked)["tempo"]

    (granted,) = asked.granted
    (grant,) = granted.grants
    assert isinstance(grant, ObjectGrant)
    store = tempo["tempo"]["storage"]["trace"]
    assert (grant.bucket, grant.access) == ("logs", "read-write")
    assert store["backend"] == "s3"
    assert store["s3"]["bucket"] == "logs"
    assert grant.prefix == f"{store['s3']['prefix']}/", "what it may write is where it writes"
    assert (granted.namespace, granted.service_account) == ("monitoring", tempo["serviceAccount"]["name"])
    assert not re.search(r"access_?key|secret_", str(store))


def test_loki_and_tempo_keep_out_of_each_others_objects(recorded: Recorder):
    asked = Identities()

    def program() -> None:
        place = site(identities=asked)
        Traces("traces", TracesArgs(site=place), options(place))
        logs.Logs("logs", logs.LogsArgs(site=place), options(place))

    recorded.run(program)
    prefixes = [grant.prefix for one in asked.granted for grant in one.grants if isinstance(grant, ObjectGrant)]
    assert len(prefixes) == len(set(prefixes)) == 2


def test_traces_are_deleted_after_the_retention_of_the_settings(recorded: Recorder):
    assert declared(recorded, {"traces": {"retentionDays": 3}})["tempo"]["tempo"]["retention"] == "72h"


def test_tempo_keeps_no_memory_in_reserve_that_its_container_does_not_have(recorded: Recorder):
    """The chart's ballast is a gibibyte: it would keep the garbage collector from running before the limit."""
    tempo = declared(recorded)["tempo"]["tempo"]
    limit = _mebibytes(tempo["resources"]["limits"]["memory"])
    (soft,) = [one["value"] for one in tempo["extraEnv"] if one["name"] == "GOMEMLIMIT"]
    assert tempo["memBallastSizeMbs"] == 0
    assert _mebibytes(soft.removesuffix("B")) < limit


def test_with_loki_all_of_it_fits_what_is_left_beside_the_metrics(recorded: Recorder):
    """900 millicores, 2.25 GiB and 13 GiB of volumes; with one more collector, while a new version comes."""

    def program() -> None:
        place = site()
        Traces("traces", TracesArgs(site=place), options(place))
        logs.Logs("logs", logs.LogsArgs(site=place), options(place))

    recorded.run(program)
    made = {one.inputs["name"]: one.inputs["values"] for one in recorded.of(RELEASE).values()}
    loki, tempo, collector = made["loki"]["singleBinary"], made["tempo"]["tempo"], made["otel-collector"]
    pods = [
        (loki["replicas"], loki["resources"]),
        (1, tempo["resources"]),
        (collector["replicaCount"] + 1, collector["resources"]),
        (1, made["alloy-cluster"]["alloy"]["resources"]),
    ]
    cpu = sum(count * int(one["requests"]["cpu"].removesuffix("m")) for count, one in pods)
    memory = sum(count * _mebibytes(one["requests"]["memory"]) for count, one in pods)
    assert cpu <= 900 < SHARES["monitoring"].cpu_millicores
    assert memory <= 2.25 * 1024 < SHARES["monitoring"].memory_mib
    sizes = [(loki["replicas"], loki["persistence"]), (1, made["tempo"]["persistence"])]
    assert sum(count * int(one["size"].removesuffix("Gi")) for count, one in sizes) <= 13


def _mebibytes(text: str) -> int:
    return int(text.removesuffix("Gi")) * 1024 if text.endswith("Gi") else int(text.removesuffix("Mi"))


@pytest.mark.parametrize("settings", [{}, SMALL])
def test_every_container_meets_the_restricted_level(recorded: Recorder, settings: dict[str, Any]):
    """Their namespace admits more, for the node exporter and the log collector."""
    made = declared(recorded, settings)
    collector, tempo = made["otel-collector"], made["tempo"]
    for container in (collector["securityContext"], tempo["tempo"]["securityContext"]):
        assert container["allowPrivilegeEscalation"] is False
        assert container["capabilities"] == {"drop": ["ALL"]}
    for pod in (collector["podSecurityContext"], tempo["securityContext"]):
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert collector["podSecurityContext"]["runAsNonRoot"] is True


def test_models_of_the_platform_and_of_every_team_may_report(recorded: Recorder):
    def program() -> None:
        place = site(teams=(TeamSettings(name="research"),))
        sources = {
            way.source.namespace
            for way in openings(place)
            if way.target == telemetry.COLLECTOR and isinstance(way.source, Pods)
        }
        assert sources == {"mlops-serving", "team-research", "monitoring"}
        assert all(way.ports for way in openings(place))

    recorded.run(program)


def test_only_collectors_grafana_and_prometheus_reach_tempo(recorded: Recorder):
    def program() -> None:
        sources = [way.source for way in openings(site()) if way.target == TEMPO]
        names = {source.labels["app.kubernetes.io/name"] for source in sources if isinstance(source, Pods)}
        assert names == {"opentelemetry-collector", "grafana", "prometheus"}

    recorded.run(program)


def test_senders_have_a_way_to_the_collector_only_where_requests_are_traced(recorded: Recorder):
    def program() -> None:
        assert telemetry.spans_from(site(), LITELLM)
        assert not telemetry.spans_from(site({"traces": {"enabled": False}}), LITELLM)

    recorded.run(program)


def test_the_model_gateway_reports_and_hands_the_trace_on_only_where_requests_are_traced():
    quiet = config.configuration((), ModelGatewaySettings(), traced=False)["litellm_settings"]
    loud = config.configuration((), ModelGatewaySettings(), traced=True)["litellm_settings"]
    assert "otel" not in quiet["callbacks"]
    assert set(loud["callbacks"]) == {*quiet["callbacks"], "otel", f"{config.CACHE_KEYS}.callback"}
    assert loud["forward_traceparent_to_llm_provider"] is True
    assert loud["turn_off_message_logging"] is True
    assert TRACING["OTEL_EXPORTER_OTLP_ENDPOINT"] == telemetry.OTLP_HTTP_URL


def test_vllm_reports_only_where_requests_are_traced():
    def server(*, traced: bool) -> dict[str, Any]:
        (container,) = runtime_of(RUNTIMES["vllm"], traced=traced)["containers"]
        return container

    asked = f"--otlp-traces-endpoint={telemetry.OTLP_GRPC_URL}"
    assert asked in server(traced=True)["args"]
    assert asked not in server(traced=False)["args"]
    assert set(server(traced=False)["args"]) < set(server(traced=True)["args"])


def test_urls_name_the_services_that_the_charts_make(recorded: Recorder):
    """A chart's objects have the name of its release where that holds the chart's own name."""
    made = declared(recorded)
    assert f"http://{made['otel-collector']['fullnameOverride']}.monitoring." in traces.OTLP_ENDPOINT
    assert traces.TEMPO_URL == "http://tempo.monitoring.svc.cluster.local:3200"
    assert "tempo" in made
