"""``ops restore database`` on premises: the second Cluster that it makes, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ops_cluster import FakeCluster

from ops.progress import Progress
from ops.refusals import RefusedError
from ops.restore import onprem_database as ours
from ops.restore.onprem_database import Backup, Declared
from ops.restore.rds import Moment

pytestmark = pytest.mark.unit

STORES = "llmops-stores"
STORE = {
    "destinationPath": "s3://llmops-onprem-backups/postgresql",
    "endpointURL": "https://objects.llmops-stores.svc",
    "serverName": "database",
}
SPEC: dict[str, Any] = {
    "instances": 3,
    "enablePDB": True,
    "bootstrap": {"initdb": {"database": "platform", "owner": "platform", "secret": {"name": "database-owner"}}},
    "certificates": {"serverTLSSecret": "database-tls", "serverCASecret": "database-tls"},
    "postgresql": {"parameters": {"max_connections": "200"}, "synchronous": {"method": "any", "number": 1}},
    "storage": {"size": "200Gi"},
    "backup": {"retentionPolicy": "7d", "barmanObjectStore": STORE},
}
DECLARED = Declared("database", STORES, SPEC)
NIGHT = datetime(2026, 11, 22, 2, 35, tzinfo=UTC)
KNOWN = [Backup("nightly-1", "20261122T023000", NIGHT)]
STATE: dict[str, Any] = {
    "deployment": {
        "resources": [
            {"type": "kubernetes:core/v1:Namespace", "urn": "x"},
            {
                "type": ours.TYPE,
                "urn": "y",
                "inputs": {"metadata": {"name": "database", "namespace": STORES}, "spec": SPEC},
            },
        ]
    }
}


def made(moment: Moment, target: str = "database-again", known: list[Backup] | None = None) -> dict[str, Any]:
    return ours.recovery(DECLARED, moment, target, KNOWN if known is None else known)["spec"]


def test_the_state_says_what_to_recover_although_the_server_is_gone():
    assert ours.database_of(STATE) == DECLARED


def test_a_stack_on_a_cloud_has_none_of_it():
    cloud = {"deployment": {"resources": [{"type": "aws:rds/instance:Instance", "urn": "z"}]}}
    assert ours.database_of(cloud) is None


def test_the_second_server_reads_the_first_one_s_archive_and_writes_to_none():
    spec = made(Moment())
    (origin,) = spec["externalClusters"]
    assert origin["barmanObjectStore"] == STORE
    assert spec["bootstrap"]["recovery"]["source"] == origin["name"]
    assert "backup" not in spec, "two servers in one archive spoil it"


def test_an_archive_without_a_name_is_the_cluster_s():
    """The operator takes the Cluster's name; from outside it would take that of the source, which is another."""
    nameless = {key: value for key, value in STORE.items() if key != "serverName"}
    declared = Declared("database", STORES, {**SPEC, "backup": {"barmanObjectStore": nameless}})
    spec = ours.recovery(declared, Moment(), "copy", [])["spec"]
    assert spec["externalClusters"][0]["barmanObjectStore"]["serverName"] == "database"


def test_it_is_one_server_that_waits_for_nobody_and_has_no_other_s_certificate():
    spec = made(Moment())
    assert (spec["instances"], spec["enablePDB"]) == (1, False)
    assert "synchronous" not in spec["postgresql"]
    assert "certificates" not in spec
    assert spec["storage"] == SPEC["storage"]


def test_the_declared_specification_stays_as_it_is():
    before = json.dumps(SPEC)
    made(Moment())
    assert json.dumps(SPEC) == before


@pytest.mark.parametrize(
    ("moment", "target"),
    [
        (Moment(), None),
        (
            Moment(at=datetime.fromisoformat("2026-11-22T04:00:00+01:00")),
            {"targetTime": "2026-11-22T03:00:00Z"},
        ),
        (Moment(snapshot="nightly-1"), {"backupID": "20261122T023000", "targetImmediate": True}),
        (Moment(snapshot="20261122T023000"), {"backupID": "20261122T023000", "targetImmediate": True}),
    ],
)
def test_it_is_recovered_to_what_is_asked_for(moment: Moment, target: dict[str, Any] | None):
    assert made(moment)["bootstrap"]["recovery"].get("recoveryTarget") == target


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        (Moment(at=datetime(2026, 11, 22, 2, 34, tzinfo=UTC)), "before the oldest backup"),
        (Moment(at=datetime(2999, 1, 1, tzinfo=UTC)), "still to come"),
        (Moment(snapshot="nightly-9"), "there are nightly-1"),
    ],
)
def test_a_moment_that_no_backup_reaches_is_refused(moment: Moment, said: str):
    with pytest.raises(RefusedError, match=said):
        made(moment)


def test_the_end_of_the_oldest_backup_itself_can_be_reached():
    assert made(Moment(at=NIGHT))


@pytest.mark.parametrize("name", ["database", "Database-2", "-x", "x" * 51, ""])
def test_the_living_server_and_names_that_the_operator_refuses_are_no_targets(name: str):
    with pytest.raises(RefusedError, match="--as"):
        made(Moment(), name)


def test_a_repeated_run_for_the_same_moment_means_the_same_server():
    moment = Moment(at=NIGHT)
    assert ours.target_name(DECLARED, moment) == ours.target_name(DECLARED, moment) == "database-at-20261122-0235"
    assert len(ours.target_name(DECLARED, Moment(snapshot="n" * 80))) <= 50


def test_a_server_that_archives_to_nowhere_is_refused():
    with pytest.raises(RefusedError, match="nothing can be recovered"):
        ours.recovery(Declared("database", STORES, {**SPEC, "backup": {}}), Moment(), "copy", [])


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    fake = FakeCluster()
    monkeypatch.setattr("ops.jobs.kubectl", fake)
    return fake


def stored(fake: FakeCluster, name: str, cluster: str = "database", phase: str = "completed", hour: int = 2) -> None:
    fake.add(
        STORES,
        ours.BACKUPS,
        name,
        spec={"cluster": {"name": cluster}},
        status={"phase": phase, "backupId": f"id-{name}", "stoppedAt": f"2026-11-22T{hour:02}:35:00Z"},
    )


def test_only_backups_that_are_complete_and_of_this_server_count_oldest_first(cluster: FakeCluster):
    stored(cluster, "late", hour=3)
    stored(cluster, "early", hour=1)
    stored(cluster, "broken", phase="failed")
    stored(cluster, "other", cluster="another")
    assert [one.name for one in ours.backups(cluster.cluster, DECLARED)] == ["early", "late"]


def test_it_waits_until_the_server_says_that_it_is_ready(cluster: FakeCluster):
    found = cluster.add(STORES, ours.KIND, "copy", status={"phase": "Setting up primary"})
    assert ours.ready(cluster.cluster, STORES, "copy", Progress()) is None
    found["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    assert ours.ready(cluster.cluster, STORES, "copy", Progress()) is True


@pytest.fixture
def reached(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeCluster:
    class Up:
        @staticmethod
        def read(name: str, *, sandbox: bool) -> Up:
            del name, sandbox
            return Up()

        @contextmanager
        def kubeconfig(self) -> Generator[Path]:
            yield tmp_path / "kubeconfig"

    monkeypatch.setattr(ours, "Stack", Up)
    stored(cluster, "nightly-1")

    def recovers(one: dict[str, Any]) -> None:
        one["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}

    cluster.reacts = recovers
    return cluster


def run(*, yes: bool, called: str = "copy") -> None:
    ours.restore("onprem", DECLARED, Moment(), called, sandbox=False, json_output=True, yes=yes)


def test_without_yes_it_shows_the_backups_and_the_cluster_and_makes_nothing(
    reached: FakeCluster, capsys: pytest.CaptureFixture[str]
):
    run(yes=False)
    told = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in told["backups"]] == ["nightly-1"]
    assert told["manifest"]["metadata"]["name"] == "copy"
    assert not reached.done


def test_with_yes_it_makes_the_second_server_and_says_how_its_data_go_back(
    reached: FakeCluster, capsys: pytest.CaptureFixture[str]
):
    run(yes=True)
    told = json.loads(capsys.readouterr().out)
    assert len(reached.done) == 1
    assert any("pg_dump" in step and "copy-1" in step for step in told["steps"])
    assert any(step.endswith("delete clusters.postgresql.cnpg.io copy") for step in told["steps"])


def test_a_second_run_goes_on_with_the_server_that_is_there(reached: FakeCluster):
    run(yes=True)
    run(yes=True)
    assert len(reached.done) == 1
