"""Logs: where they are kept, who may write there, and what leaves a node."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from conftest import Recorder
from platform_openings import PLATFORM
from platform_site import Identities, options, site
from pydantic import ValidationError

from components.contract import AuditLog, AuditLogGrant, ObjectGrant
from components.platform.observability import alloy
from components.platform.observability.logs import ALLOY, LOKI, PUSH_URL, Logs, LogsArgs, openings
from components.platform.openings import Pods
from components.platform.quotas import PER_NODE, SHARES
from components.settings.platform import PlatformSettings, rules
from components.settings.platform.logs import LogSettings

pytestmark = pytest.mark.unit

RELEASE = "kubernetes:helm.sh/v3:Release"
AUDIT = AuditLog(
    kind="cloudwatch", place="/aws/eks/llmops-test/cluster", prefix="kube-apiserver-audit-", region="us-east-1"
)


def declared(
    recorded: Recorder,
    settings: dict[str, Any] | None = None,
    *,
    audit: bool = False,
    identities: Identities | None = None,
) -> dict[str, dict[str, Any]]:
    """Values of the releases, by release."""

    def program() -> None:
        place = site(settings or {}, identities=identities)
        if audit:
            cluster = replace(place.foundation.cluster, audit_log=AUDIT)
            place = replace(place, foundation=replace(place.foundation, cluster=cluster))
        Logs("logs", LogsArgs(site=place), options(place))

    recorded.run(program)
    return {made.inputs["name"]: made.inputs["values"] for made in recorded.of(RELEASE).values()}


def configuration(values: dict[str, Any]) -> str:
    return values["alloy"]["configMap"]["content"]


def test_loki_reads_and_writes_below_its_own_prefix_and_holds_no_credential(recorded: Recorder):
    asked = Identities()
    loki = declared(recorded, identities=asked)["loki"]

    (granted,) = asked.granted
    (grant,) = granted.grants
    assert isinstance(grant, ObjectGrant)
    storage = loki["loki"]["storage"]
    assert (grant.bucket, grant.access) == ("logs", "read-write")
    assert grant.prefix == f"{storage['object_store']['storage_prefix']}/", "what it may write is where it writes"
    assert storage["use_thanos_objstore"] is True, "its other clients know no prefix"
    assert set(storage["bucketNames"].values()) == {"logs"}
    assert (granted.namespace, granted.service_account) == ("monitoring", loki["serviceAccount"]["name"])
    assert loki["serviceAccount"]["annotations"] == {"test/identity": "logs"}
    assert not re.search(r"access_?key|secret", str(storage), re.IGNORECASE)


def test_lines_are_deleted_after_the_retention_of_the_settings(recorded: Recorder):
    loki = declared(recorded, {"logs": {"retentionDays": 3}})["loki"]["loki"]

    assert loki["limits_config"]["retention_period"] == "72h"
    assert loki["compactor"]["retention_enabled"] is True, "else the period is only a word"
    assert loki["compactor"]["delete_request_store"] == loki["storage"]["type"]


def test_any_replica_may_go_and_lines_are_still_taken(recorded: Recorder):
    loki = declared(recorded)["loki"]

    copies = loki["loki"]["commonConfig"]["replication_factor"]
    replicas, gone = loki["singleBinary"]["replicas"], loki["singleBinary"]["podDisruptionBudget"]["maxUnavailable"]
    assert replicas >= copies
    assert copies - gone >= copies // 2 + 1, "a line needs a majority of its copies"


def test_a_small_platform_has_one_replica_which_can_be_moved(recorded: Recorder):
    loki = declared(recorded, {"highlyAvailable": False})["loki"]

    assert loki["singleBinary"]["replicas"] == loki["loki"]["commonConfig"]["replication_factor"] == 1
    assert loki["singleBinary"]["podDisruptionBudget"] == {"enabled": False}


def test_nothing_of_the_chart_costs_gigabytes_or_reads_secrets(recorded: Recorder):
    loki = declared(recorded)["loki"]

    for part in ("chunksCache", "resultsCache", "gateway", "lokiCanary", "test", "ruler"):
        assert loki[part]["enabled"] is False, part
    assert loki["sidecar"]["rules"]["enabled"] is False


def test_agents_reach_every_node_within_the_share_of_each(recorded: Recorder):
    agents = declared(recorded)["alloy"]

    assert agents["controller"]["type"] == "daemonset"
    assert agents["controller"]["tolerations"] == [{"operator": "Exists"}]
    requests = agents["alloy"]["resources"]["requests"]
    assert int(requests["cpu"].removesuffix("m")) <= PER_NODE["monitoring"].cpu_millicores
    assert int(requests["memory"].removesuffix("Mi")) <= PER_NODE["monitoring"].memory_mib


def test_agents_read_files_of_root_and_have_none_of_its_other_rights(recorded: Recorder):
    agents = declared(recorded)["alloy"]

    context = agents["alloy"]["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    paths = [volume["hostPath"]["path"] for volume in agents["controller"]["volumes"]["extra"] if "hostPath" in volume]
    assert paths == [agents["alloy"]["storagePath"]], "besides the log files only where it keeps its place in them"


@pytest.mark.parametrize("release", ["alloy", "alloy-cluster"])
def test_collectors_may_watch_what_they_collect_and_nothing_else(recorded: Recorder, release: str):
    rules = declared(recorded)[release]["rbac"]

    kinds = {kind for rule in rules["rules"] for kind in rule["resources"]}
    verbs = {verb for rule in rules["rules"] for verb in rule["verbs"]}
    assert kinds == ({"pods"} if release == "alloy" else {"events"})
    assert verbs == {"get", "list", "watch"}
    assert all("nonResourceURLs" in rule for rule in rules["clusterRules"])


def test_events_are_collected_once_and_not_by_every_node(recorded: Recorder):
    made = declared(recorded)

    assert "kubernetes_events" not in configuration(made["alloy"])
    assert "kubernetes_events" in configuration(made["alloy-cluster"])
    assert made["alloy-cluster"]["controller"]["replicas"] == 1


def test_nobody_watches_the_cluster_where_nothing_is_collected_there(recorded: Recorder):
    assert set(declared(recorded, {"logs": {"events": False}})) == {"loki", "alloy"}


def test_calls_of_the_api_are_read_with_a_right_to_that_record_alone(recorded: Recorder):
    asked = Identities()
    made = declared(recorded, audit=True, identities=asked)["alloy-cluster"]

    (granted,) = [one for one in asked.granted if one.service_account == "alloy-cluster"]
    assert granted.grants == (AuditLogGrant(log=AUDIT),)
    assert made["serviceAccount"] == {"name": "alloy-cluster", "annotations": {"test/identity": "logs-cluster"}}
    assert f'group_name = "{AUDIT.place}"' in configuration(made)
    assert f'prefixes   = ["{AUDIT.prefix}"]' in configuration(made)


def test_experimental_parts_of_alloy_run_only_where_they_are_needed(recorded: Recorder):
    with_audit = declared(recorded, audit=True)
    assert with_audit["alloy-cluster"]["alloy"]["stabilityLevel"] == "experimental"
    assert "stabilityLevel" not in with_audit["alloy"]["alloy"]


def test_without_a_record_of_calls_there_is_no_identity_and_nothing_experimental(recorded: Recorder):
    asked = Identities()
    made = declared(recorded, {"logs": {"audit": False}}, audit=True, identities=asked)["alloy-cluster"]

    assert {one.service_account for one in asked.granted} == {"loki"}
    assert "stabilityLevel" not in made["alloy"]
    assert "cloudwatch" not in configuration(made)


def test_agents_go_before_loki_when_the_platform_is_destroyed(recorded: Recorder):
    declared(recorded)

    for name in ("logs-agents", "logs-cluster"):
        assert "logs-release" in recorded.one(RELEASE, name).depends_on


def redacted(line: str) -> str:
    """The line as ``stage.replace`` leaves it: what the group matched is replaced, wherever the pattern matches."""
    for pattern in alloy.REDACTED.values():
        line = re.sub(
            pattern,
            lambda match: (
                match.string[match.start() : match.start(1)] + "<redacted>" + match.string[match.end(1) : match.end()]
            ),
            line,
        )
    return line


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ('{"msg":"GET /v1/models","authorization":"Bearer sk-abcdefghijklmnop"}', "sk-abcdefghijklmnop"),
        ("curl -H 'Authorization: bearer dGhpcyBpcyBhIHRva2Vu'", "dGhpcyBpcyBhIHRva2Vu"),
        ("key sk-proj-0123456789abcdefABCDEF was refused", "sk-proj-0123456789abcdefABCDEF"),
        ("token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl expired", "eyJhbGciOiJSUzI1NiJ9"),
        ("using AKIAIOSFODNN7EXAMPLE in us-east-1", "AKIAIOSFODNN7EXAMPLE"),
        ("postgresql://mlflow:hunter2hunter2@db.internal:5432/mlflow", "hunter2hunter2"),
        ('{"config":"{\\"password\\": \\"correct-horse\\"}"}', "correct-horse"),
        ("login with password=correct-horse&user=me", "correct-horse"),
        ("HF_TOKEN hf_abcdefghijklmnopqrstuvwxyz012345", "hf_abcdefghijklmnopqrstuvwxyz012345"),
        ("OPENAI_API_KEY='abcdef0123456789'", "abcdef0123456789"),
    ],
)
def test_credentials_do_not_leave_the_node(line: str, secret: str):
    assert secret not in redacted(line)
    assert "<redacted>" in redacted(line)


@pytest.mark.parametrize(
    "line",
    [
        '{"level":"info","msg":"secret synced","secret":"mlops-serving/model-gateway-keys"}',
        "max_tokens=4096 tokens: 123456, token usage 0.7",
        "pulled image docker.io/vllm/vllm-openai:v0.28.0@sha256:" + "a" * 64,
        "http://vllm.mlops-serving.svc.cluster.local:8000/v1/chat/completions 200",
        "task-1234567890-abcdefghij finished",
        "trace_id=4bf92f3577b34da6a3ce929d0e0e4736",
    ],
)
def test_what_is_no_credential_stays_readable(line: str):
    assert redacted(line) == line


def test_every_source_is_redacted_and_keeps_the_known_labels_only(recorded: Recorder):
    own = r"\b(tenant-key-[0-9a-f]{8})"
    made = declared(recorded, {"logs": {"redacted": [own]}}, audit=True)

    pipelines = {
        name: block
        for values in (made["alloy"], made["alloy-cluster"])
        for name, block in re.findall(
            r'^loki\.process "(\w+)" \{(.*?)^\}', configuration(values), re.DOTALL | re.MULTILINE
        )
    }
    assert set(pipelines) == {"pods", "journal", "events", "audit"}
    for name, block in pipelines.items():
        for pattern in (*alloy.REDACTED.values(), own):
            assert f"`{pattern}`" in block, f"{name} lets through what {pattern} would have caught"
        kept = re.findall(r"stage\.label_keep \{\s+values = \[(.*?)\]", block)
        assert kept == [", ".join(f'"{label}"' for label in alloy.LABELS)]


def test_what_has_as_many_values_as_pods_is_no_label():
    assert not {"pod", "node", "filename", "pod_uid", "job", "instance"} & set(alloy.LABELS)


@pytest.mark.parametrize(
    "pattern", ['with "quotes" (a)', "`(backquote)`", "{{(template)}}", "no group", "(two) (groups)", "(open"]
)
def test_a_pattern_that_would_break_the_configuration_is_refused(pattern: str):
    with pytest.raises(ValidationError):
        LogSettings.model_validate({"redacted": [pattern]})


def test_helm_finds_no_template_in_a_configuration(recorded: Recorder):
    """The chart reads it as a template: two braces would be an expression."""
    made = declared(recorded, audit=True)
    for release in ("alloy", "alloy-cluster"):
        assert "{{" not in configuration(made[release])


def called(verb: str, code: int, resource: str = "", subresource: str = "") -> bool:
    """Whether a call is dropped: what ``stage.drop`` does with the values that a line has, in order."""
    found = {"verb": verb, "code": str(code), "resource": resource, "subresource": subresource}
    text = alloy.cluster_configuration(LogSettings(), PUSH_URL, AUDIT)
    rules = re.findall(r'source\s+= "([a-z,]+)"\n\s+expression\s+= `(.+?)`', text)
    assert len(rules) == 3
    return any(
        re.search(expression, ";".join(found[name] for name in source.split(",") if found[name])) is not None
        for source, expression in rules
    )


@pytest.mark.parametrize(
    "call",
    [
        ("create", 201, "pods"),
        ("delete", 200, "namespaces"),
        ("patch", 200, "deployments"),
        ("create", 201, "pods", "exec"),
        ("get", 403, "pods"),
        ("list", 401, "nodes"),
        ("get", 200, "secrets"),
        ("list", 200, "secrets"),
        ("create", 403, "subjectaccessreviews"),
        ("update", 409, "leases"),
    ],
)
def test_changes_refusals_and_reads_of_credentials_are_kept(call: tuple[str, int, str]):
    assert not called(*call)


@pytest.mark.parametrize(
    "call",
    [
        ("get", 200, "pods"),
        ("watch", 200, "configmaps"),
        ("list", 200, "services"),
        ("get", 200, "serviceaccounts"),
        ("get", 200, "securitygroups"),
        ("get", 200),
        ("update", 200, "leases"),
        ("create", 201, "events"),
        ("create", 201, "tokenreviews"),
        ("patch", 200, "pods", "status"),
    ],
)
def test_what_controllers_do_all_day_is_not(call: tuple[str, int, str]):
    assert called(*call)


def test_only_collectors_grafana_and_prometheus_reach_loki(recorded: Recorder):
    def program() -> None:
        callers = {
            way.source.labels["app.kubernetes.io/name"]
            for way in openings(site())
            if way.target == LOKI and isinstance(way.source, Pods)
        }
        assert callers == {"alloy", "grafana", "prometheus", "loki"}
        assert any(way.source == ALLOY and way.target == LOKI for way in openings(site()))

    recorded.run(program)


def test_loki_and_the_one_that_watches_fit_beside_the_metrics(recorded: Recorder):
    made = declared(recorded)
    share = SHARES["monitoring"]

    loki = made["loki"]["singleBinary"]
    volumes = loki["replicas"] * int(loki["persistence"]["size"].removesuffix("Gi"))
    assert volumes <= 8, "of what the namespace may claim, this is Loki's part"
    memory = loki["replicas"] * int(loki["resources"]["requests"]["memory"].removesuffix("Mi"))
    assert memory <= share.memory_mib // 4


def test_a_retention_that_the_bucket_would_cut_short_is_refused():
    asked = PlatformSettings.model_validate({"logs": {"retentionDays": 30}, "traces": {"retentionDays": 29}})
    assert [path for path, _ in rules.retention(asked, 30)] == ["platform.logs.retentionDays"]
    off = PlatformSettings.model_validate({"logs": {"enabled": False, "retentionDays": 30}})
    assert not list(rules.retention(off, 30))


def test_the_shipped_stacks_keep_lines_and_traces_for_less_time_than_their_bucket():
    assert not list(rules.retention(PlatformSettings.model_validate(PLATFORM), 365))
