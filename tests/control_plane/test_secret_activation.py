"""``ops secrets rotate`` to its end on a real API server; the test does what External Secrets' controller does."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from components.onprem.names import SECRETS
from ops.secrets import activation, cli, edit
from ops.stack import StackError, kubectl
from sandbox.toolchain.control_plane import ControlPlaneBinaries
from tests.control_plane.declared import definitions
from tests.control_plane.own_cluster import OwnCluster, namespace, own_cluster, until, workload

pytestmark = pytest.mark.control_plane

PLACE = "mlops-system"
ONE, TWO = "mlflow-database", "cache-auth"
PULUMI = """#!/bin/sh
# Tells a stack's outputs, its way to the cluster and its state, as the engine does.
here="$(dirname "$0")"
case "$*" in
  *"output kubeconfig"*) cat "$here/kubeconfig" ;;
  *"stack output"*) cat "$here/outputs.json" ;;
  *"stack export"*) cat "$here/state.json" ;;
  *) echo "no $*" >&2; exit 1 ;;
esac
"""
RANDOM = "random:index/randomPassword:RandomPassword"


def value(purpose: str, generation: int) -> dict[str, str]:
    """What the store has; nobody else may ever show it."""
    name, user = ("token", {}) if purpose == TWO else ("password", {"username": "mlflow"})
    return {**user, name: f"unmistakable-{purpose}-{generation}"}


def external(name: str, purpose: str, data: dict[str, str], template: dict[str, Any] | None = None) -> dict[str, Any]:
    """As the program declares one: every property by its name."""
    read = [
        {"secretKey": key, "remoteRef": {"key": f"store-{purpose}", "property": named}} for key, named in data.items()
    ]
    target = {"name": name, **({"template": template} if template else {})}
    return {
        "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
        "metadata": {"name": name, "namespace": PLACE},
        "spec": {
            "refreshInterval": "1h", "target": target, "data": read,
            "secretStoreRef": {"kind": "ClusterSecretStore", "name": "platform"},
        },
    }  # fmt: skip


def reading(secret: str, key: str) -> dict[str, Any]:
    source = {"secretKeyRef": {"name": secret, "key": key}}
    return {"containers": [{"name": "main", "image": "x", "env": [{"name": "V", "valueFrom": source}]}]}


def job(name: str, secret: str) -> dict[str, Any]:
    pod = {**reading(secret, "password"), "restartPolicy": "Never", "tolerations": [{"operator": "Exists"}]}
    labels = {"app.kubernetes.io/name": "database-job"}
    template = {"metadata": {"labels": labels}, "spec": pod}
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": PLACE, "labels": labels},
        "spec": {"backoffLimit": 2, "template": template},
    }  # fmt: skip


@dataclass
class Controller:
    """External Secrets, as far as it matters: reads the store when it is asked to, and writes the Secret.

    Attributes:
        cluster: Its cluster.
        works: Whether it does anything.
        seconds: How long it takes.
        synced: Names of what it wrote.
    """

    cluster: OwnCluster
    works: bool = True
    seconds: float = 1.0
    synced: list[str] = field(default_factory=list)
    _seen: dict[str, str] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self._over.wait(0.3):
            for one in self.cluster.get("externalsecrets", "-n", PLACE)["items"]:
                name = one["metadata"]["name"]
                asked = one["metadata"].get("annotations", {}).get("force-sync", "")
                if self.works and self._seen.get(name, "") != asked:
                    time.sleep(self.seconds)
                    self._seen[name] = asked
                    self.sync(one)

    def sync(self, one: dict[str, Any]) -> None:
        name, spec = one["metadata"]["name"], one["spec"]
        there = {
            item["secretKey"]: self.store(item["remoteRef"]["key"])[item["remoteRef"]["property"]]
            for item in spec["data"]
        }
        template = spec["target"].get("template", {}).get("data")
        data = {"connection": f"postgresql://mlflow:{there['password']}@postgres/mlflow"} if template else there
        metadata = {"name": spec["target"]["name"], "namespace": PLACE}
        self.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})
        status = {"status": {"refreshTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}}
        patch = ["patch", "externalsecret", name, "--subresource=status", "--type=merge", f"-p={json.dumps(status)}"]
        self.cluster.run("-n", PLACE, *patch)
        self.synced.append(name)

    def store(self, key: str) -> dict[str, str]:
        data = self.cluster.get("secret", key, "-n", SECRETS)["data"]
        return {name: base64.b64decode(one).decode() for name, one in data.items()}

    def stop(self) -> None:
        self._over.set()


@dataclass
class Bench:
    """A stack on premises, whose store is in its cluster.

    Attributes:
        cluster: The cluster.
        folder: Where its file is, and what the engine tells.
        controller: External Secrets.
        said: All that the commands printed.
        commands: What kubectl was told, and what there was in the cluster at that moment.
    """

    cluster: OwnCluster
    folder: Path
    controller: Controller
    said: list[str] = field(default_factory=list)
    commands: list[tuple[tuple[str, ...], dict[str, Any]]] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "Pulumi.dev.yaml"

    def up(self, purpose: str, generation: int) -> None:
        """What ``pulumi up`` leaves: another value in the store, and its generation in the state."""
        metadata = {"name": f"store-{purpose}", "namespace": SECRETS}
        self.cluster.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": value(purpose, generation)}
        )
        path = self.folder / "state.json"
        known: dict[str, int] = json.loads(path.read_text()).get("told", {}) if path.exists() else {}
        known[purpose] = generation
        resources = [
            {
                "type": RANDOM,
                "urn": f"urn:pulumi:dev::llmops::{RANDOM}::foundation-{name}-value",
                "inputs": {"keepers": {"generation": str(one)}},
            }
            for name, one in known.items()
        ]
        path.write_text(json.dumps({"told": known, "deployment": {"resources": resources}}))

    def rotate(self, purpose: str, *arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli.app, ["rotate", purpose, "--stack", "dev", *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        self.said.append(result.output)
        return result.exit_code, " ".join(result.output.split())

    def secret(self, name: str) -> dict[str, str]:
        data = self.cluster.get("secret", name, "-n", PLACE)["data"]
        return {key: base64.b64decode(one).decode() for key, one in data.items()}

    def restarted(self) -> set[str]:
        """Readers that were restarted, by the mark that it leaves on their pods."""
        marked: set[str] = set()
        for one in self.cluster.get("deployments,statefulsets", "-n", PLACE)["items"]:
            notes = one["spec"]["template"]["metadata"].get("annotations") or {}
            if "kubectl.kubernetes.io/restartedAt" in notes:
                marked.add(one["metadata"]["name"])
        return marked

    def jobs(self) -> list[dict[str, Any]]:
        return self.cluster.get("jobs", "-n", PLACE)["items"]

    def done(self) -> set[str]:
        """Jobs that are complete."""
        return {
            one["metadata"]["name"]
            for one in self.jobs()
            if any(each["type"] == "Complete" for each in one.get("status", {}).get("conditions") or ())
        }


@pytest.fixture(scope="module")
def cluster(binaries: ControlPlaneBinaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnCluster]:
    definitions("external-secrets")
    with own_cluster(binaries, tmp_path_factory.mktemp("secret-activation")) as made:
        file = Path(os.environ["SANDBOX_CRDS"]) / "external-secrets" / "externalsecrets.external-secrets.io.yaml"
        made.apply(yaml.safe_load(file.read_text()), namespace(SECRETS), namespace(PLACE))
        made.run("wait", "--for=condition=Established", "crd/externalsecrets.external-secrets.io", "--timeout=60s")
        yield made


@pytest.fixture
def bench(cluster: OwnCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """The stack as it is after its first ``up``: every Secret has its value, every reader and its job have run."""
    cluster.run("-n", PLACE, "delete", "jobs,deployments,statefulsets,externalsecrets,secrets", "--all", "--wait")
    made = Bench(cluster, tmp_path, Controller(cluster))
    program = tmp_path / "pulumi"
    program.write_text(PULUMI)
    program.chmod(0o755)
    (tmp_path / "kubeconfig").write_text(cluster.kubeconfig.read_text())
    keys = {purpose: f"store-{purpose}" for purpose in (ONE, TWO)}
    (tmp_path / "outputs.json").write_text(json.dumps({"cloud": "onprem", "secrets": keys}))
    made.file.write_text("config:\n  llmops:owner: ml\n")
    for purpose in keys:
        made.up(purpose, 1)
    everything = {"password": "password", "username": "username"}
    template = {"data": {"connection": "postgresql://{{ .username }}:{{ .password }}@postgres/mlflow"}}
    cluster.apply(
        external("database", ONE, everything),
        external("connection", ONE, everything, template),
        external("cache", TWO, {"auth": "token"}),
    )
    syncing = threading.Thread(target=made.controller.run, daemon=True)
    for one in cluster.get("externalsecrets", "-n", PLACE)["items"]:
        made.controller.sync(one)
    made.controller.synced.clear()
    cluster.apply(
        job("database", "database"),
        workload("Deployment", "tracking", PLACE, {"app": "tracking"}, reading("connection", "connection")),
        workload("StatefulSet", "worker", PLACE, {"app": "worker"}, reading("database", "password")),
        workload("Deployment", "gateway", PLACE, {"app": "gateway"}, reading("cache", "auth")),
    )
    for name in ("deployment/tracking", "statefulset/worker", "deployment/gateway"):
        cluster.ready(name, PLACE)
    until(lambda: made.done() == {"database"}, "the first job has run")

    def watched(kubeconfig: Path, arguments: Sequence[str], *, given: str | None = None) -> str:
        told = tuple(arguments)
        if "create" in told or "restart" in told:
            there = {name: made.secret(name) for name in ("database", "connection", "cache")}
            made.commands.append((told, {"secrets": there, "done": made.done(), "restarted": made.restarted()}))
        return kubectl(kubeconfig, arguments, given=given)

    monkeypatch.setattr(activation, "kubectl", watched)
    monkeypatch.setattr(activation, "_PAUSE_SECONDS", 0.2)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    syncing.start()
    yield made
    made.controller.stop()
    syncing.join()
    assert "unmistakable" not in " ".join(made.said), "a value was shown"
    assert not [one for one, _ in made.commands if "unmistakable" in " ".join(one)], "whoever lists processes saw it"


def test_a_password_with_one_value_reaches_secrets_then_its_server_then_its_readers(bench: Bench):
    assert bench.rotate(ONE, "--yes")[0] == 0
    assert edit.rotation_of(bench.file.read_text()).generations == {ONE: 2}
    early = bench.rotate(ONE, "--activate", "--yes")
    assert (early[0], "`pulumi up` first" in early[1]) == (2, True)
    bench.up(ONE, 2)

    planned = bench.rotate(ONE, "--activate")
    assert planned[0] == 0
    assert "nothing is done" in planned[1]
    assert bench.secret("database") == value(ONE, 1)
    assert bench.controller.synced == []

    code, text = bench.rotate(ONE, "--activate", "--yes")
    assert code == 0, text
    assert "readers have the new value" in text
    new = value(ONE, 2)
    assert bench.secret("database") == new
    assert new["password"] in bench.secret("connection")["connection"]
    assert sorted(bench.controller.synced) == ["connection", "database"], "the cache's is none of its business"

    (create, at_job), (_, at_first), (_, at_second) = bench.commands
    assert "create" in create
    for name in ("database", "connection"):
        assert new["password"] in "".join(at_job["secrets"][name].values()), "the job ran with the old value"
    assert at_job["restarted"] == set()
    assert len(at_first["done"]) == 2, "a reader restarted before its server had heard of the value"
    assert at_first["restarted"] == set()
    assert at_second["restarted"] == {"tracking"}, "one after the other"
    assert bench.restarted() == {"tracking", "worker"}
    (again,) = [one for one in bench.jobs() if one["metadata"]["name"] != "database"]
    assert again["spec"]["ttlSecondsAfterFinished"] == 3600


def test_a_token_with_two_values_overlaps_until_its_readers_have_the_new_one(bench: Bench):
    assert bench.rotate(TWO, "--yes")[0] == 0
    assert edit.rotation_of(bench.file.read_text()).overlapping == (TWO,)
    bench.up(TWO, 2)
    code, text = bench.rotate(TWO, "--activate", "--yes")
    assert code == 0, text
    assert f"the one before is accepted too: secrets rotate {TWO} --stack dev --finish --yes" in text
    assert bench.secret("cache") == {"auth": value(TWO, 2)["token"]}
    assert bench.controller.synced == ["cache"]
    assert bench.restarted() == {"gateway"}
    assert bench.done() == {"database"}, "no job has to do with it"
    assert bench.rotate(TWO, "--yes")[0] == 2, "a third value while two are accepted"
    assert bench.rotate(TWO, "--finish", "--yes")[0] == 0
    assert edit.rotation_of(bench.file.read_text()).overlapping == ()


def test_a_secret_that_is_not_refreshed_in_time_stops_before_job_and_readers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(activation, "_SYNC_SECONDS", 2)
    bench.rotate(ONE, "--yes")
    bench.up(ONE, 2)
    bench.controller.works = False
    code, text = bench.rotate(ONE, "--activate", "--yes")
    assert code == 2
    assert "does not get the new value within 2 s" in text
    assert f"kubectl -n {PLACE} describe externalsecret connection" in text
    assert bench.commands == []
    assert (bench.restarted(), bench.done()) == (set(), {"database"})

    monkeypatch.setattr(activation, "_SYNC_SECONDS", 60)
    bench.controller.works = True
    code, text = bench.rotate(ONE, "--activate", "--yes")
    assert code == 0, text
    assert bench.restarted() == {"tracking", "worker"}


def test_a_job_that_fails_leaves_readers_with_what_works(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(activation, "_JOB_SECONDS", 60)
    bench.rotate(ONE, "--yes")
    bench.up(ONE, 2)

    def failing(wanted: Any) -> Any:
        made = own(wanted)
        made["spec"] = {**made["spec"], "activeDeadlineSeconds": 1}
        made["spec"]["template"]["spec"]["nodeSelector"] = {"nowhere": "there"}
        return made

    own = activation.again
    monkeypatch.setattr(activation, "again", failing)
    code, text = bench.rotate(ONE, "--activate", "--yes")
    assert code == 2
    assert "no reader was restarted" in text
    assert "Then run this command again" in text
    assert bench.restarted() == set()


@pytest.mark.parametrize("where", ["create", "restart"])
def test_after_an_interrupt_the_same_command_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch, where: str):
    """Ctrl-C while the job is made, or when the first reader restarts."""
    bench.rotate(ONE, "--yes")
    bench.up(ONE, 2)
    whole = activation.kubectl
    pressed: list[str] = []

    def interrupted(kubeconfig: Path, arguments: Sequence[str], *, given: str | None = None) -> str:
        answer = whole(kubeconfig, arguments, given=given)
        if where in arguments and not pressed:
            pressed.append(where)
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(activation, "kubectl", interrupted)
    code, text = bench.rotate(ONE, "--activate", "--yes")
    assert code == 130
    assert "the same command" in text
    assert len(bench.restarted()) < 2

    code, text = bench.rotate(ONE, "--activate", "--yes")
    assert code == 0, text
    assert bench.secret("database") == value(ONE, 2)
    assert bench.restarted() == {"tracking", "worker"}


def test_without_its_job_no_secret_is_touched(bench: Bench):
    bench.rotate(ONE, "--yes")
    bench.up(ONE, 2)
    bench.cluster.run("-n", PLACE, "delete", "job", "database")
    code, text = bench.rotate(ONE, "--activate", "--yes")
    assert code == 2
    assert "no job database-job" in text
    assert bench.controller.synced == []
    with pytest.raises(StackError):
        kubectl(bench.cluster.kubeconfig, ["-n", PLACE, "get", "job", "database"])
