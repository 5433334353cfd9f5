"""``ops restore vectors``, ``cluster`` and ``workloads``, on a cluster that behaves as the controllers do."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ops_cluster import FakeCluster
from typer.testing import CliRunner

from ops import jobs
from ops.jobs import job_of
from ops.progress import Progress
from ops.refusals import RefusedError
from ops.restore import cluster as velero
from ops.restore import vectors, workloads
from ops.restore.cli import app
from ops.restore.cluster import Backup, RestoreRequest, chosen_of, lines, read_only
from ops.stack import Stack

pytestmark = pytest.mark.unit

DAILY = "daily-20261122030000"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    found = FakeCluster()
    for module in (jobs,):
        monkeypatch.setattr(module, "kubectl", found)
    monkeypatch.setattr(jobs, "PAUSE_SECONDS", 0)

    @contextmanager
    def kubeconfig(_: Stack) -> Iterator[Path]:
        yield Path("/nowhere")

    monkeypatch.setattr(Stack, "read", staticmethod(lambda name, sandbox=False: Stack(name, sandbox, {})))
    monkeypatch.setattr(Stack, "kubeconfig", kubeconfig)
    return found


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments, "--stack", "dev"])


# Velero


@pytest.fixture
def backed_up(fake: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    fake.add("velero", velero.LOCATIONS, "default", spec={"accessMode": "ReadWrite", "provider": "aws"})
    for name, phase, began in (
        (DAILY, "Completed", "2026-11-22T03:00:05Z"),
        ("daily-20261121030000", "PartiallyFailed", "2026-11-21T03:00:05Z"),
        ("daily-20261123030000", "Failed", "2026-11-23T03:00:05Z"),
    ):
        fake.add(
            "velero",
            velero.BACKUPS,
            name,
            spec={"includedNamespaces": ["team-research", "mlops-serving"]},
            status={"phase": phase, "startTimestamp": began},
        )
    results = {"warnings": {"namespaces": {"team-research": ["configmap c exists"]}}, "errors": {"velero": ["no"]}}
    body = gzip.compress(json.dumps(results).encode())
    monkeypatch.setattr(velero.urllib.request, "urlopen", lambda *_, **__: Answer(body))
    return fake


class Answer:
    def __init__(self, body: bytes) -> None:
        self.body = body

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def read(self) -> bytes:
        return self.body


def ending(fake: FakeCluster, phase: str) -> None:
    def react(made: dict[str, Any]) -> None:
        if made["kind"] == "Restore":
            mode = fake.objects["velero", velero.LOCATIONS, "default"]["spec"]["accessMode"]
            assert mode == "ReadOnly", "nothing in the backups may change while they are restored from"
            made["status"] = {"phase": phase, "progress": {"totalItems": 3, "itemsRestored": 3}}
        if made["kind"] == "DownloadRequest":
            made["status"] = {"downloadURL": "https://store/results"}

    fake.reacts = react


def test_without_a_name_backups_are_listed_and_nothing_is_changed(backed_up: FakeCluster):
    done = run("cluster")

    assert done.exit_code == 0, done.output
    assert [line.split()[0] for line in done.output.splitlines()] == [
        "daily-20261123030000",
        DAILY,
        "daily-20261121030000",
    ]
    assert backed_up.done == []


def test_without_yes_it_says_what_it_would_do_and_does_nothing(backed_up: FakeCluster):
    done = run("cluster", "--backup", "latest", "-n", "team-research", "--as", "team-again")

    assert done.exit_code == 0
    assert f"would restore team-research as team-again of {DAILY}" in done.output
    assert backed_up.done == []


def test_a_restore_is_made_with_its_place_read_only_and_its_warnings_are_told(backed_up: FakeCluster):
    ending(backed_up, "Completed")

    done = run("cluster", "--backup", DAILY, "-n", "team-research", "--as", "team-again", "--yes")

    assert done.exit_code == 0, done.output
    assert "warning: team-research: configmap c exists" in done.output
    (restore,) = [one for (_, kind, _), one in backed_up.objects.items() if kind == velero.RESTORES]
    assert restore["spec"]["namespaceMapping"] == {"team-research": "team-again"}
    assert restore["spec"]["existingResourcePolicy"] == "none"
    assert backed_up.objects["velero", velero.LOCATIONS, "default"]["spec"]["accessMode"] == "ReadWrite"


@pytest.mark.parametrize("phase", ["PartiallyFailed", "Failed", "FailedValidation"])
def test_a_restore_that_did_not_bring_everything_is_no_success(phase: str, backed_up: FakeCluster):
    ending(backed_up, phase)

    done = run("cluster", "--backup", DAILY, "--yes")

    assert done.exit_code == 1
    assert phase in done.output
    assert "error: velero: no" in done.output
    assert backed_up.objects["velero", velero.LOCATIONS, "default"]["spec"]["accessMode"] == "ReadWrite"


def test_a_place_that_was_read_only_before_stays_so(backed_up: FakeCluster):
    backed_up.objects["velero", velero.LOCATIONS, "default"]["spec"]["accessMode"] = "ReadOnly"
    with pytest.raises(KeyboardInterrupt), read_only(backed_up.cluster):
        raise KeyboardInterrupt

    assert backed_up.objects["velero", velero.LOCATIONS, "default"]["spec"]["accessMode"] == "ReadOnly"


@pytest.mark.parametrize(
    ("name", "spaces", "said"),
    [
        ("daily-20261123030000", (), "is Failed"),
        ("nothing", (), "there is no backup nothing"),
        (DAILY, ("argocd",), "has no argocd"),
    ],
)
def test_what_cannot_be_restored_is_refused_before_anything_is_made(
    name: str, spaces: tuple[str, ...], said: str, backed_up: FakeCluster
):
    with pytest.raises(RefusedError, match=said):
        chosen_of(velero.backups(backed_up.cluster), name, spaces)


def test_names_must_be_given_for_every_namespace_or_for_none(backed_up: FakeCluster):
    done = run("cluster", "--backup", DAILY, "-n", "a", "-n", "b", "--as", "c", "--yes")

    assert done.exit_code == 1
    assert "one for each --namespace" in done.output
    assert backed_up.done == []


def test_a_backup_of_everything_has_every_namespace():
    known = [Backup(name="b", phase="Completed", schedule="", started=datetime.now(UTC), namespaces=("*",))]
    assert chosen_of(known, "latest", ("anything",)).name == "b"


def test_objects_alone_are_restored_where_kinds_are_named():
    spec = RestoreRequest(name="r", backup="b", resources=("secrets",), volumes=False).manifest["spec"]
    assert (spec["restorePVs"], spec["includeClusterResources"], spec["includedNamespaces"]) == (False, False, ["*"])


def test_warnings_of_every_part_are_told():
    found = {"warnings": {"velero": ["v"], "cluster": ["c"], "namespaces": {"b": ["2"], "a": ["1"]}}}
    assert lines(found, "warnings") == ["velero: v", "cluster: c", "a: 1", "b: 2"]
    assert lines({"warnings": None}, "warnings") == []


# Milvus

BACKUPS = "set BACKUP to one of these:\n[INFO] x\ndaily_20261120_020000\ndaily_20261122_020000\nby_hand\n"


def cronjob(name: str, **variables: str) -> dict[str, Any]:
    """A CronJob as the cluster holds it, with a container that cleans up first."""
    env = [{"name": key, "value": value} for key, value in variables.items()]
    secret = {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    pod = {
        "initContainers": [{"name": "clean", "env": [{"name": "ONLY_CLEAN", "value": "true"}]}, {"name": "restore"}],
        "containers": [{"name": "compare", "env": [*env, secret]}],
    }
    return {
        "metadata": {"name": name, "namespace": "mlops-data"},
        "spec": {"jobTemplate": {"spec": {"template": {"spec": pod}}}},
    }


@pytest.fixture
def milvus(fake: FakeCluster) -> FakeCluster:
    fake.objects["mlops-data", "cronjob", "milvus-restore"] = cronjob(
        "milvus-restore", BACKUP="", SUFFIX="_restored", FILTER="", RBAC="false"
    )
    fake.objects["mlops-data", "cronjob", "vectors-drill"] = cronjob("vectors-drill", SUFFIX="_drill", KEEP="")
    fake.said["milvus-restore-list"] = BACKUPS
    check = {"name": "default.c: entities", "passed": True, "detail": "5 restored, 5 living"}
    fake.said["milvus-restore-check"] = "[log]\n" + json.dumps({"drill": "vectors", "checks": [check]})

    def react(made: dict[str, Any]) -> None:
        listing = made["metadata"]["name"].startswith("milvus-restore-list")
        made["status"] = {"conditions": [{"type": "Failed" if listing else "Complete", "status": "True"}]}

    fake.reacts = react
    return fake


def test_backups_of_milvus_are_listed_by_a_job_that_goes_again(milvus: FakeCluster):
    done = run("vectors")

    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-3:] == ["by_hand", "daily_20261120_020000", "daily_20261122_020000"]
    assert [one.split()[0] for one in milvus.done] == ["create", "delete"]


def test_the_last_backup_is_restored_beside_the_living_collections_and_compared(milvus: FakeCluster):
    done = run("vectors", "--backup", "latest", "--into", "_again", "--collection", "default.c", "--yes")

    assert done.exit_code == 0, done.output
    assert "as it must be: default.c: entities: 5 restored, 5 living" in done.output
    assert "alter_alias" in done.output
    (restore,) = [one for (_, kind, _), one in milvus.objects.items() if kind == "job"]
    env = {one["name"]: one.get("value") for one in restore["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["BACKUP"] == "daily_20261122_020000"
    assert (env["SUFFIX"], env["FILTER"], env["RBAC"]) == ("_again", "default.c", "false")


def test_what_was_restored_but_is_not_as_it_was_is_no_success(milvus: FakeCluster):
    check = {"name": "default.c: entities", "passed": False, "detail": "1 restored, 5 living"}
    milvus.said["milvus-restore-check"] = json.dumps({"drill": "vectors", "checks": [check]})

    done = run("vectors", "--backup", "by_hand", "--yes")

    assert done.exit_code == 1
    assert "WRONG: default.c: entities: 1 restored, 5 living" in done.output


def test_a_restore_of_milvus_that_failed_shows_the_end_of_its_log(milvus: FakeCluster):
    milvus.reacts = lambda made: made.update(status={"conditions": [{"type": "Failed", "status": "True"}]})
    milvus.said["milvus-restore-2"] = "collection c_restored exists already"

    done = run("vectors", "--backup", "by_hand", "--yes")

    assert done.exit_code == 1
    assert "c_restored exists already" in done.output


def test_without_yes_no_job_restores(milvus: FakeCluster):
    done = run("vectors", "--backup", "by_hand", "--in-place")

    assert done.exit_code == 0
    assert "would restore all collections of by_hand under their own names" in done.output
    assert milvus.done == []


@pytest.mark.parametrize("suffix", ["", "again", "_a;b", "_" + "x" * 50])
def test_a_suffix_that_milvus_would_not_take_is_refused(suffix: str, milvus: FakeCluster):
    assert run("vectors", "--backup", "by_hand", "--into", suffix, "--yes").exit_code == 1
    assert milvus.done == []


def test_a_job_keeps_its_secrets_and_what_cleans_up_first():
    found = job_of(cronjob("c", SUFFIX="a", ONLY_CLEAN="false"), "j", {"SUFFIX": "b", "ONLY_CLEAN": "other"})

    pod = found["spec"]["template"]["spec"]
    assert pod["initContainers"][0]["env"] == [{"name": "ONLY_CLEAN", "value": "true"}]
    assert pod["containers"][0]["env"][-1]["valueFrom"]
    with pytest.raises(RefusedError, match="knows nothing of NEW"):
        job_of(cronjob("c"), "j", {"NEW": ""})


# Argo CD


def application(fake: FakeCluster, name: str, sync: str = "OutOfSync", health: str = "Healthy") -> None:
    fake.add("argocd", workloads.APPLICATIONS, name, status={"sync": {"status": sync}, "health": {"status": health}})


class Delivery:
    """Takes an operation up at the second look, and ends it at the fourth."""

    def __init__(self, fake: FakeCluster, ends: dict[str, str]) -> None:
        self.fake, self.ends, self.looks = fake, ends, dict.fromkeys(ends, 0)

    def __call__(self, kubeconfig: Path, arguments: list[str], *, given: str | None = None) -> str:
        for name, end in self.ends.items():
            if name in arguments and "get" in arguments:
                self.looks[name] += 1
                one = self.fake.objects["argocd", workloads.APPLICATIONS, name]
                if self.looks[name] == 2:
                    assert one.pop("operation")["sync"]["prune"] is False
                    assert one["metadata"]["annotations"]["argocd.argoproj.io/refresh"] == "hard"
                    one["status"]["operationState"] = {"phase": "Running"}
                if self.looks[name] == 4:
                    one["status"]["operationState"] = {"phase": end, "message": "said so"}
                    one["status"]["sync"]["status"] = "Synced"
        return self.fake(kubeconfig, arguments, given=given)


def test_every_application_is_synced_and_awaited(fake: FakeCluster, monkeypatch: pytest.MonkeyPatch):
    for name in ("litellm", "models"):
        application(fake, name)
    monkeypatch.setattr(jobs, "kubectl", Delivery(fake, {"litellm": "Succeeded", "models": "Succeeded"}))

    late = workloads.synced(fake.cluster, ["litellm", "models"], Progress())

    assert late == {}


def test_an_application_that_fails_is_told_with_its_message(fake: FakeCluster, monkeypatch: pytest.MonkeyPatch):
    for name in ("litellm", "models"):
        application(fake, name)
    monkeypatch.setattr(jobs, "kubectl", Delivery(fake, {"litellm": "Succeeded", "models": "Failed"}))

    late = workloads.synced(fake.cluster, ["litellm", "models"], Progress())

    assert late == {"models": "Failed: said so"}


def test_an_application_that_never_runs_is_late(fake: FakeCluster, monkeypatch: pytest.MonkeyPatch):
    application(fake, "litellm", health="Degraded")
    monkeypatch.setattr(jobs, "kubectl", Delivery(fake, {"litellm": "Succeeded"}))

    late = workloads.synced(fake.cluster, ["litellm"], Progress(), patience_seconds=0.2)

    assert late == {"litellm": "Synced, Degraded"}


def test_an_unknown_application_is_refused_and_a_dry_run_changes_nothing(fake: FakeCluster):
    application(fake, "litellm")

    assert "Argo CD has no other" in run("workloads", "-a", "other", "--yes").output
    done = run("workloads")
    assert "would sync litellm: OutOfSync, Healthy" in done.output
    assert fake.done == []


def test_the_names_of_the_cluster_are_those_that_the_program_declares():
    from components.platform.vectors_backups import RESTORE_ACCOUNT

    assert vectors.CRONJOB == RESTORE_ACCOUNT
