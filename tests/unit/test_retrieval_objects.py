"""Retrievals as the program declares them: what pods are told, who may reach whom, what is refused at preview."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from pydantic import TypeAdapter, ValidationError

from components.platform.openings import LITELLM, MILVUS, SCRAPER
from components.settings.hosted_models import HostedModelSettings
from components.settings.models import ModelSettings
from components.settings.platform import PlatformSettings
from components.settings.retrieval import RetrievalSettings, problems
from tests.unit.conftest import Recorder
from tests.unit.platform_site import Identities, options, site
from workloads.retrieval import alerts
from workloads.retrieval.accounts import gateway_key
from workloads.retrieval.component import Retrievals, RetrievalsArgs
from workloads.retrieval.ingestion import MILVUS_URL
from workloads.retrieval.keys_pod import keep
from workloads.retrieval.names import PORT, SERVICES
from workloads.retrieval.stack import stack_retrievals

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]

HANDBOOK: dict[str, Any] = {
    "name": "handbook",
    "source": "raw/handbook",
    "embedding": {"model": "embed", "dimension": 1024, "queryPrefix": "query: "},
    "chunking": {"tokenizer": "models/e5/tokenizer.json"},
    "answer": {"model": "writer", "instructions": "Mind the $(HOME) of 'quotes'."},
    "ingestion": {"schedule": "15 2 * * *", "workers": 2},
}
TENANT: dict[str, Any] = {
    "name": "red",
    "documentsOf": "handbook",
    "answer": {"model": "writer", "outputUsdPerMillion": 15, "inputUsdPerMillion": 3},
    "search": {"filter": {"tenant": "red", "year": [2025, 2026]}},
}
HOSTED = [
    HostedModelSettings.model_validate({"name": "embed", "model": "amazon.titan-embed", "mode": "embedding"}),
    HostedModelSettings.model_validate({"name": "writer", "model": "anthropic.claude"}),
]


def settings(*raw: dict[str, Any]) -> tuple[RetrievalSettings, ...]:
    return TypeAdapter(tuple[RetrievalSettings, ...]).validate_python(raw)


def declare(recorded: Recorder, *raw: dict[str, Any], **more: Any) -> Identities:
    identities = Identities()

    def program() -> None:
        place = site(more, identities=identities)
        args = RetrievalsArgs(
            site=place,
            retrievals=settings(*raw),
            secrets=(),
            mesh=(),
            gateway=(),
            vectors=(),
            ray=(),
            workflows=(),
            rules=(place.foundation.cluster.provider,),
        )
        Retrievals("retrievals", args, options(place))

    recorded.run(program)
    return identities


@pytest.fixture
def pods_code(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The configuration as the pods read it."""
    monkeypatch.syspath_prepend(str(ROOT / "workloads" / "retrieval" / "image"))
    import importlib

    yield importlib.import_module("retrieval.config")
    for name in [name for name in sys.modules if name.split(".")[0] == "retrieval"]:
        del sys.modules[name]


def ingested(recorded: Recorder) -> dict[str, Any]:
    template = recorded.of("kubernetes:argoproj.io/v1alpha1:WorkflowTemplate")["ingest-handbook-template"].inputs
    return json.loads(template["spec"]["templates"][0]["resource"]["manifest"])


def test_the_pods_accept_what_the_program_tells_them(recorded: Recorder, pods_code: Any):
    declare(recorded, HANDBOOK, TENANT)

    words = shlex.split(ingested(recorded)["spec"]["entrypoint"])
    told = pods_code.IngestConfig.model_validate_json(words[words.index("--config") + 1])
    assert told.source == "s3://data/raw/handbook/"
    assert told.chunking.tokenizer == "s3://models/e5/tokenizer.json"
    assert told.executor == "ray"
    assert told.parallelism == 5, "the driver has a CPU of the six to itself"
    for name in ("handbook", "red"):
        pod = recorded.of("kubernetes:apps/v1:Deployment")[f"retrieval-{name}"].inputs["spec"]["template"]["spec"]
        command = pod["containers"][0]["command"]
        # As Kubernetes hands it to the process: $$(…) is how $(…) is written.
        config = pods_code.ServeConfig.model_validate_json(command[-1].replace("$$(", "$("))
        assert config.collection == "handbook"
        assert config.milvus == told.milvus
    assert "$(HOME) of 'quotes'" in recorded.of("kubernetes:apps/v1:Deployment")["retrieval-handbook"].inputs["spec"][
        "template"
    ]["spec"]["containers"][0]["command"][-1].replace("$$(", "$(")


def test_no_credential_is_in_what_is_declared_and_only_workers_of_the_job_have_them(recorded: Recorder):
    declare(recorded, HANDBOOK)

    job = ingested(recorded)["spec"]
    (group,) = job["rayClusterSpec"]["workerGroupSpecs"]
    named = {one["name"] for one in group["template"]["spec"]["containers"][0]["env"] if "valueFrom" in one}
    assert named == {"GATEWAY_KEY", "MILVUS_USERNAME", "MILVUS_PASSWORD"}
    head = job["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["env"]
    assert not [one for one in head if "valueFrom" in one]
    assert "MILVUS_PASSWORD" not in job["runtimeEnvYAML"]


def test_services_read_in_milvus_and_only_ingestions_write(recorded: Recorder):
    declare(recorded, HANDBOOK)

    read = {
        (one.inputs["metadata"]["namespace"], one.inputs["metadata"]["name"]): {
            row["remoteRef"]["key"] for row in one.inputs["spec"]["data"]
        }
        for one in recorded.of("kubernetes:external-secrets.io/v1:ExternalSecret").values()
    }
    assert read == {
        ("mlops-serving", "retrieval"): {"test/litellm-retrieval-key", "test/milvus-retrieval-reader"},
        ("mlops-data", "retrieval"): {"test/litellm-retrieval-key", "test/milvus-retrieval-writer"},
        ("mlops-data", "retrieval-accounts"): {"test/milvus-retrieval-reader", "test/milvus-retrieval-writer"},
    }


def test_an_ingestion_may_read_its_own_documents_and_write_its_reports(recorded: Recorder):
    granted = declare(recorded, HANDBOOK, TENANT).granted

    (one,) = granted
    assert (one.namespace, one.service_account) == ("mlops-data", "ingest-handbook")
    assert {(g.bucket, g.access, g.prefix) for g in one.grants} == {  # type: ignore[union-attr] they are of objects
        ("data", "read", "raw/handbook/"),
        ("data", "read-write", "reports/retrieval/handbook/"),
        ("models", "read", "e5/tokenizer.json"),
    }


def test_a_retrieval_over_the_documents_of_another_brings_nothing_in(recorded: Recorder):
    declare(recorded, HANDBOOK, TENANT)

    assert set(recorded.of("kubernetes:argoproj.io/v1alpha1:CronWorkflow")) == {"ingest-handbook-schedule"}
    assert set(recorded.of("kubernetes:apps/v1:Deployment")) == {"retrieval-handbook", "retrieval-red"}


def test_servers_wait_for_their_users_and_for_who_keeps_others_away(recorded: Recorder):
    declare(recorded, HANDBOOK)

    waits = recorded.of("kubernetes:apps/v1:Deployment")["retrieval-handbook"].depends_on
    assert {"retrievals-key", "retrievals-accounts", "retrievals-guard"} <= waits


def test_nothing_is_declared_where_no_retrieval_is(recorded: Recorder):
    declare(recorded)

    assert {one.type for one in recorded.resources if one.type.startswith("kubernetes:")} == set()
    assert stack_retrievals((), PlatformSettings()).openings == ()


def test_only_the_model_gateway_reaches_the_servers_and_only_they_reach_milvus_from_there(recorded: Recorder):
    found = stack_retrievals(settings(HANDBOOK), PlatformSettings())

    assert [way.source for way in found.openings if way.target == SERVICES and way.ports == (PORT,)] == [
        LITELLM,
        SCRAPER,
    ]
    assert [way.source for way in found.openings if way.target == MILVUS] == [SERVICES]
    declare(recorded, HANDBOOK)
    guard = recorded.one("kubernetes:security.istio.io/v1:AuthorizationPolicy").inputs["spec"]
    sources = [one["source"] for rule in guard["rules"] for one in rule["from"]]
    assert {"principals": ["cluster.local/ns/mlops-serving/sa/model-gateway"]} in sources
    assert not any("*" in json.dumps(one) for one in sources)
    assert MILVUS_URL.endswith(":19530")


def test_the_gateway_offers_it_as_a_model_with_the_prices_that_teams_pay():
    found = {model.name: model for model in stack_retrievals(settings(HANDBOOK, TENANT), PlatformSettings()).gateway}

    assert found["red"].output_usd_per_million == 15
    (backend,) = found["handbook"].backends
    assert backend.timeout_seconds > 120, "the service gives its reason before the gateway gives up"
    assert backend.target.url == "http://retrieval-handbook.mlops-serving.svc.cluster.local:8090"  # type: ignore[union-attr] served


def test_the_key_can_call_what_answers_are_made_of_and_no_retrieval():
    key = gateway_key(settings(HANDBOOK, TENANT))

    assert key["models"] == ["embed", "writer"]
    assert key["max_budget"] == 200


def test_the_key_is_made_once_brought_to_what_is_declared_and_replaced_with_its_value():
    class Gateway:
        def __init__(self) -> None:
            self.keys: dict[str, dict[str, Any]] = {}

        def knows_key(self, key: str) -> bool:
            return key in self.keys

        def create_key(self, key: str, wanted: dict[str, Any]) -> None:
            assert wanted["key_alias"] not in [one["key_alias"] for one in self.keys.values()], "LiteLLM refuses it"
            self.keys[key] = wanted

        def update_key(self, key: str, wanted: dict[str, Any]) -> None:
            self.keys[key] |= wanted

        def delete_key(self, alias: str) -> None:
            self.keys = {key: one for key, one in self.keys.items() if one["key_alias"] != alias}

    gateway, wanted = Gateway(), {"key_alias": "retrieval", "models": ["a"], "max_budget": 1.0}
    keep(gateway, "sk-1", wanted)
    keep(gateway, "sk-1", {**wanted, "models": ["b"]})
    assert gateway.keys == {"sk-1": {**wanted, "models": ["b"]}}
    keep(gateway, "sk-2", wanted)
    assert list(gateway.keys) == ["sk-2"]


def found(raw: Sequence[dict[str, Any]], platform: dict[str, Any] | None = None) -> dict[str, str]:
    return dict(
        problems(
            settings(*raw),
            hosted=HOSTED,
            models=[ModelSettings.model_validate({"name": "own", "source": "hf://meta-llama/Llama-3.1-8B-Instruct"})],
            platform=PlatformSettings.model_validate(platform or {}),
        )
    )


def test_what_works_is_not_refused():
    assert found([HANDBOOK, TENANT]) == {}
    assert found([{**HANDBOOK, "answer": {"model": "own"}}]) == {}


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ([{**HANDBOOK, "answer": {"model": "handbook"}}], "retrievals[0].answer.model"),
        ([HANDBOOK, {**TENANT, "answer": {"model": "handbook"}}], "retrievals[1].answer.model"),
        ([{**HANDBOOK, "answer": {"model": "nobody"}}], "retrievals[0].answer.model"),
        ([{**HANDBOOK, "answer": {"model": "embed"}}], "retrievals[0].answer.model"),
        ([{**HANDBOOK, "embedding": {"model": "writer", "dimension": 8}}], "retrievals[0].embedding.model"),
        ([{**HANDBOOK, "name": "own"}], "retrievals[0].name"),
        ([HANDBOOK, HANDBOOK], "retrievals[1].name"),
        ([TENANT], "retrievals[0].documentsOf"),
        ([HANDBOOK, TENANT, {**TENANT, "name": "blue", "documentsOf": "red"}], "retrievals[2].documentsOf"),
    ],
)
def test_what_cannot_work_is_refused_with_its_path(raw: list[dict[str, Any]], path: str):
    assert set(found(raw)) == {path}


def test_systems_that_it_needs_must_be_there():
    switched = {name: {"enabled": False} for name in ("vectors", "ray", "workflows", "modelGateway")}

    told = [
        message
        for _, message in problems(
            settings(HANDBOOK), hosted=HOSTED, models=(), platform=PlatformSettings.model_validate(switched)
        )
    ]
    assert [name for name in switched if any(f"platform.{name}.enabled" in one for one in told)] == list(switched)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": None}, "needs source"),
        ({"documentsOf": "other"}, "needs source"),
        ({"embedding": None}, "needs embedding"),
        ({"source": "models/x"}, "raw/"),
        ({"chunking": {"tokens": 100, "overlap": 60}}, "half"),
        ({"chunking": {"tokenizer": "tokenizer.json"}}, "bucket models"),
        ({"index": {"flatBelow": 10, "hnswBelow": 5}}, "must not fall"),
        ({"answer": {"model": "writer", "contextTokens": 1024, "answerTokens": 1000}}, "half"),
        ({"service": {"minReplicas": 5}}, "maxReplicas"),
        ({"name": "a" * 25}, "24"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(change: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        settings({**HANDBOOK, **change})


def test_another_retrievals_documents_are_cut_and_embedded_as_that_one_says():
    with pytest.raises(ValidationError, match="set at handbook"):
        settings({**TENANT, "chunking": {"tokens": 200}})


def test_what_servers_may_ask_for_holds_all_of_them_in_a_roll_out():
    allowed = stack_retrievals(settings(HANDBOOK, TENANT), PlatformSettings()).allowances["mlops-serving"]

    servers = sum(one.service.max_replicas + 1 for one in settings(HANDBOOK, TENANT))
    assert allowed.cpu_millicores is not None
    assert allowed.memory_mib is not None
    assert allowed.cpu_millicores >= servers * 100
    assert allowed.memory_mib >= servers * 256


def test_alerts_are_expressions_over_series_that_the_service_has():
    metrics = (ROOT / "workloads" / "retrieval" / "image" / "retrieval" / "metrics.py").read_text()

    assert tuple(alert.name for alert in alerts.group().alerts) == alerts.NAMES
    for alert in alerts.group().alerts:
        promql_parser.parse(alert.expression)
        for name in re.findall(r"llmops_retrieval_[a-z_]+?(?=_total)", alert.expression):
            assert f'"{name}"' in metrics, name
