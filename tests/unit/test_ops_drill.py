"""``ops drill``, on a cluster that behaves as the controllers do, and metrics of what drills found."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ops_cluster import FakeCluster
from promql_parser import parse  # the metrics' page is read by Prometheus' own grammar in the data plane
from test_ops_restore_cluster import DAILY, backed_up, cronjob, fake
from typer.testing import CliRunner

from components.platform.drill_names import OBJECTIVES, RECORDS
from components.platform.observability.catalogue.drills import METRICS
from components.platform.pods.drill_metrics import page
from components.platform.pods.drill_report import Drill
from ops.drill import cluster as drills
from ops.drill.cli import app, problems
from ops.drill.cluster import KINDS, compare, planned, rehearse
from ops.progress import Progress
from ops.restore import cluster as velero

__all__ = ["backed_up", "fake"]

pytestmark = pytest.mark.unit

TAKEN = datetime(2026, 11, 22, 3, 0, 5, tzinfo=UTC)
BEFORE, AFTER = "2026-11-01T00:00:00Z", "2026-11-22T12:00:00Z"


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments, "--stack", "dev"])


def record(**more: Any) -> dict[str, Any]:
    drill = Drill(name="registry", time_objective_seconds=60, point_objective_seconds=60)
    drill.check("rows", "5", passed=True)
    drill.recovery_time_seconds = 30
    return {**drill.record(), **more}


# Drills that run in the cluster


@pytest.fixture
def registry(fake: FakeCluster) -> FakeCluster:
    """A cluster whose registry drill passes at once."""
    template = cronjob("registry-drill", ONLY_CLEAN="false")
    template["metadata"]["namespace"] = "mlops-system"
    fake.objects["mlops-system", "cronjob", "registry-drill"] = template
    fake.add("mlops-system", "configmap", RECORDS, data={})

    def react(made: dict[str, Any]) -> None:
        made["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
        text = json.dumps(record(pod=f"{made['metadata']['name']}-x7kd2"))
        fake.objects["mlops-system", "configmap", RECORDS]["data"]["registry.json"] = text

    fake.reacts = react
    return fake


def test_without_yes_no_drill_is_run(registry: FakeCluster):
    done = run("registry")

    assert done.exit_code == 0, done.output
    assert "would run a job of mlops-system/registry-drill" in done.output
    assert registry.done == []


def test_a_drill_that_passed_is_shown_as_json(registry: FakeCluster):
    done = run("registry", "--yes", "--json")

    assert done.exit_code == 0, done.output
    (found,) = json.loads(done.stdout)
    assert (found["drill"], found["passed"]) == ("registry", True)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"recoveryTimeSeconds": 61.0}, "recovery time 61 s, and 60 s were promised"),
        ({"recoveryPointSeconds": 90.0}, "recovery point 90 s"),
        ({"passed": False, "checks": [{"name": "rows", "passed": False, "detail": "4 of 5"}]}, "rows: 4 of 5"),
        ({"passed": False, "checks": []}, "nothing was compared"),
    ],
)
def test_a_drill_that_is_not_what_was_promised_is_no_success(more: dict[str, Any], said: str):
    assert problems(record()) == []
    assert [problem for problem in problems(record(**more)) if said in problem]


def test_a_job_that_ends_without_a_word_is_not_taken_for_the_drill_before(registry: FakeCluster):
    old = record(pod="registry-drill-29411010-x7kd2")
    registry.objects["mlops-system", "configmap", RECORDS]["data"]["registry.json"] = json.dumps(old)
    registry.reacts = lambda made: made.update(status={"conditions": [{"type": "Failed", "status": "True"}]})

    done = run("registry", "--yes")

    assert done.exit_code == 1
    assert "ended without a word" in done.output


def test_a_drill_is_not_run_beside_another_one(registry: FakeCluster):
    """One by its schedule has the same scratch database, and each would remove what the other restored."""
    labels = {"app.kubernetes.io/name": "registry-drill"}
    job = registry.add("mlops-system", "job", "registry-drill-29411010", metadata={"labels": labels})

    done = run("registry", "--yes")

    assert done.exit_code == 1
    assert "registry-drill-29411010" in done.output
    assert registry.done == []
    job["status"] = {"conditions": [{"type": "Failed", "status": "True"}]}
    assert run("registry", "--yes").exit_code == 0


def test_the_claim_of_a_drill_that_was_killed_does_not_hold_up_the_next(registry: FakeCluster):
    data = registry.objects["mlops-system", "configmap", RECORDS]["data"]
    data["registry.claim"] = json.dumps({"pod": "registry-drill-29411010-x7kd2", "until": 9e9})

    assert run("registry", "--yes").exit_code == 0

    data = registry.objects["mlops-system", "configmap", RECORDS]["data"]
    assert json.loads(data["registry.claim"]) == {"pod": "", "until": 0}, "and yet says that something was left"


def test_a_drill_that_is_interrupted_is_cleaned_up_by_another_pod(
    registry: FakeCluster, monkeypatch: pytest.MonkeyPatch
):
    """Ctrl-C while the job runs."""
    real = drills.Cluster.logs
    registry.reacts = lambda made: (
        made["metadata"]["name"].endswith("-clean")
        and made.update(status={"conditions": [{"type": "Complete", "status": "True"}]})
    )

    def interrupted(*arguments: Any, **named: Any) -> str:
        monkeypatch.setattr(drills.Cluster, "logs", real)
        raise KeyboardInterrupt

    monkeypatch.setattr(drills.Cluster, "logs", interrupted)

    done = run("registry", "--yes")

    assert done.exit_code != 0
    verbs = [one.split()[0] for one in registry.done]
    assert verbs == ["create", "delete", "create"]
    (clean,) = [one for (_, kind, name), one in registry.objects.items() if kind == "job" and name.endswith("-clean")]
    env = {one["name"]: one.get("value") for one in clean["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["ONLY_CLEAN"] == "true"


def test_one_drill_that_cannot_begin_does_not_keep_the_others_from_it(registry: FakeCluster):
    done = run("all", "--yes")

    assert done.exit_code == 1
    assert "vectors:" in done.output
    assert "cluster:" in done.output
    assert "create" in registry.done[0], "the registry was rehearsed"


def test_what_the_last_drills_found_is_shown(registry: FakeCluster):
    registry.objects["mlops-system", "configmap", RECORDS]["data"]["registry.json"] = json.dumps(record())

    assert json.loads(run("status", "--json").stdout)[0]["drill"] == "registry"
    assert "passed" in run("status").stdout


def test_steps_amounts_and_the_model_are_shown_and_a_broken_record_hides_nothing(registry: FakeCluster):
    loaded = {"model": "chat", "version": 7, "depth": "headers"}
    full = record(steps={"dump": 1.25, "load-model": 60.0}, amounts={"rows": 12}, loaded=loaded)
    data = registry.objects["mlops-system", "configmap", RECORDS]["data"]
    data |= {"registry.json": json.dumps(full), "vectors.json": "{", "vectors.claim": "{}"}

    done = run("status")

    assert "registry: dump 1.2 s, load-model 60.0 s; 12 rows" in done.stdout
    assert "registry: loaded chat version 7 (headers)" in done.stdout
    assert "vectors.json cannot be read" in done.output


# The cluster's


def thing(name: str, text: str, *, made: str = BEFORE, changed: str = "", **more: Any) -> dict[str, Any]:
    fields = [{"manager": "pulumi", "time": changed}] if changed else []
    metadata = {"name": name, "creationTimestamp": made, "managedFields": fields}
    return {"metadata": metadata, "data": {"key": text}, **more}


def compared(living: list[dict[str, Any]], restored: list[dict[str, Any]]) -> dict[str, bool]:
    drill = Drill(name="cluster")
    here, there = ({("configmaps", one["metadata"]["name"]): one for one in some} for some in (living, restored))
    compare(drill, here, there, TAKEN)
    return {check.name: check.passed for check in drill.checks}


THERE, SAME = "every object is there", "contents are the same"


@pytest.mark.parametrize(
    ("living", "restored", "there", "same"),
    [
        ([thing("a", "1")], [thing("a", "1", made=AFTER)], True, True),
        ([thing("a", "1")], [], False, False),
        ([thing("a", "1")], [thing("a", "2")], True, False),
        ([thing("a", "1"), thing("b", "2", changed=AFTER)], [thing("a", "1"), thing("b", "1")], True, True),
        ([thing("a", "1"), thing("b", "2", changed=AFTER)], [thing("a", "1")], False, True),
        ([thing("a", "1"), thing("new", "1", made=AFTER)], [thing("a", "1")], True, True),
        ([thing("kube-root-ca.crt", "1"), thing("a", "1")], [thing("a", "1")], True, True),
        ([thing("t", "1", type="kubernetes.io/service-account-token"), thing("a", "1")], [thing("a", "1")], True, True),
        ([], [], True, False),
    ],
    ids=["same", "missing", "other", "changed since", "changed, missing", "new", "made anew", "token", "nothing"],
)
def test_what_was_saved_must_be_there_again(living: Any, restored: Any, there: bool, same: bool):
    assert compared(living, restored) == {THERE: there, SAME: same}


@pytest.fixture
def furnished(backed_up: FakeCluster) -> FakeCluster:
    """A namespace with a ConfigMap and a Secret, and Velero that restores them."""
    own = [("configmaps", thing("c", "1")), ("secrets", thing("s", "hidden-value"))]
    for kind, one in own:
        backed_up.objects["mlops-serving", kind, one["metadata"]["name"]] = one
    objective = json.dumps({"timeSeconds": 60, "pointSeconds": 10**9})
    backed_up.add("mlops-system", "configmap", RECORDS, metadata={"annotations": {OBJECTIVES: objective}})

    def react(made: dict[str, Any]) -> None:
        if made["kind"] == "Restore":
            (target,) = made["spec"]["namespaceMapping"].values()
            backed_up.objects["", "namespace", target] = {}
            for kind, one in own:
                backed_up.objects[target, kind, one["metadata"]["name"]] = one
            made["status"] = {"phase": "Completed"}

    backed_up.reacts = react
    return backed_up


def left(cluster: FakeCluster) -> list[Any]:
    return [key for key in cluster.objects if key[0] == "" or key[1] == velero.RESTORES]


def test_a_namespace_is_restored_as_another_compared_recorded_and_removed(
    furnished: FakeCluster, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    done = run("cluster", "--yes", "--json")

    assert done.exit_code == 0, done.output
    (found,) = json.loads(done.stdout)
    assert found["source"] == DAILY
    kept = json.loads(furnished.objects["mlops-system", "configmap", RECORDS]["data"]["cluster.json"])
    assert kept == found
    assert left(furnished) == []
    assert "hidden-value" not in done.output


def test_nothing_that_would_run_or_give_rights_is_restored():
    assert not {"pods", "deployments.apps", "cronjobs.batch", "services", "persistentvolumeclaims"} & set(KINDS)
    assert not [kind for kind in KINDS if "role" in kind]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("broken")])
def test_a_drill_that_breaks_off_is_cleaned_up(error: BaseException, furnished: FakeCluster):
    wanted = planned(furnished.cluster, "latest", "mlops-serving", TAKEN)
    restoring = furnished.reacts

    def react(made: dict[str, Any]) -> None:
        restoring(made)
        raise error

    furnished.reacts = react

    with pytest.raises(type(error)):
        rehearse(furnished.cluster, wanted, Drill(name="cluster"), Progress())

    assert left(furnished) == []
    assert furnished.objects["velero", velero.LOCATIONS, "default"]["spec"]["accessMode"] == "ReadWrite"


def test_what_a_killed_drill_left_is_removed_by_the_next(furnished: FakeCluster, monkeypatch: pytest.MonkeyPatch):
    """Copies of Secrets, in a namespace that nobody else would remove."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def restore(name: str, target: str, made: str) -> None:
        spec = {"namespaceMapping": {"mlops-serving": target}}
        metadata = {"creationTimestamp": made}
        furnished.add("velero", velero.RESTORES, name, spec=spec, metadata=metadata)
        furnished.objects["", "namespace", target] = {}

    old, young = "drill-mlops-serving-20261101030000", "drill-mlops-serving-20261122200000"
    restore(old, old, BEFORE)
    restore(young, young, datetime.now(UTC).isoformat())  # somebody else's, under way
    restore("by-hand", "team-copy", BEFORE)

    assert old in run("cluster").output
    done = run("cluster", "--yes")

    assert done.exit_code == 0, done.output
    assert {key[2] for key in left(furnished)} == {young, "by-hand", "team-copy"}


def test_a_restore_that_does_not_end_is_a_drill_that_failed(furnished: FakeCluster, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(drills, "_PATIENCE_SECONDS", -1.0)
    furnished.reacts = lambda made: made.update(status={"phase": "InProgress"})

    done = run("cluster", "--yes")

    assert done.exit_code == 1
    kept = json.loads(furnished.objects["mlops-system", "configmap", RECORDS]["data"]["cluster.json"])
    assert not kept["passed"]


def test_the_name_of_the_target_is_one_that_a_namespace_may_have(furnished: FakeCluster):
    furnished.objects["velero", velero.BACKUPS, DAILY]["spec"]["includedNamespaces"] = ["*"]

    assert len(planned(furnished.cluster, "latest", "team-" + "x" * 58, TAKEN).target) <= 63


# Metrics


def test_metrics_are_those_of_the_catalogue(tmp_path: Path):
    full = record(recoveryPointSeconds=5.0, steps={"dump": 1.5}, amounts={"rows": 12})
    (tmp_path / "registry.json").write_text(json.dumps(full))

    text = page(tmp_path)

    shown = {line.partition("{")[0]: line for line in text.splitlines() if not line.startswith("#")}
    assert set(shown) == {metric.name for metric in METRICS}
    for metric in METRICS:
        labels = shown[metric.name].partition("{")[2].partition("}")[0]
        assert {pair.partition("=")[0] for pair in labels.split(",")} == set(metric.labels), metric.name
        assert parse(shown[metric.name].rpartition(" ")[0])


def test_a_record_of_before_steps_were_measured_still_has_its_metrics(tmp_path: Path):
    old = record()
    del old["steps"], old["amounts"]
    (tmp_path / "registry.json").write_text(json.dumps(old))

    assert 'recovery_drill_passed{drill="registry"} 1' in page(tmp_path)


def test_what_was_not_measured_has_no_sample_and_a_broken_record_hides_no_other(tmp_path: Path):
    (tmp_path / "registry.json").write_text(json.dumps(record(lastPassedAt=0)))
    (tmp_path / "vectors.json").write_text("{")

    text = page(tmp_path)

    assert 'recovery_drill_seconds{drill="registry",objective="time"} 30' in text
    assert 'recovery_drill_seconds{drill="registry",objective="point"}' not in text
    assert "recovery_drill_last_success_timestamp_seconds{" not in text, "it has never passed"


def test_a_failed_drill_keeps_when_one_last_passed_and_the_digests_to_compare_with():
    passed = record()
    drill = Drill(name="registry")
    drill.check("rows", "4", passed=False)
    found = drill.record({**passed, "files": {"m/1": "abc"}})

    assert found["lastPassedAt"] == passed["lastPassedAt"]
    assert found["files"] == {"m/1": "abc"}
