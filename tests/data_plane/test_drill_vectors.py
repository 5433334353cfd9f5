"""The vector database's drill as the program emits it, on a real engine: ingested documents, copied and restored."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from components.platform.drill_names import SUFFIX
from components.platform.drills import Drills, DrillsArgs
from tests.data_plane.drill_records import Records, measured, of_init, records
from tests.data_plane.environments import environment
from tests.data_plane.pods import Pod
from tests.data_plane.retrieval_world import World
from tests.data_plane.retrieval_world import milvus as milvus  # noqa: PLC0414 a fixture, for this module too
from tests.data_plane.retrieval_world import python as python  # noqa: PLC0414
from tests.data_plane.retrieval_world import runner as runner  # noqa: PLC0414
from tests.data_plane.retrieval_world import world as world  # noqa: PLC0414
from tests.unit.conftest import recording
from tests.unit.platform_site import options, site

pytestmark = pytest.mark.data_plane

PASSWORD = "Milvus0123456789"
REST = Path(__file__).with_name("milvus_rest.py")
AGE = timedelta(hours=5)

# As the tool: names on standard error, among lines of its log; a restore of the copy that was made.
TOOL = f"""#!/bin/sh
case "$*" in
  *" list"*) printf '[INFO] listing\\n%s\\ndaily_20200101_020000\\nby_hand\\n' "$BACKUP_NAME" >&2 ;;
  *" restore --name $BACKUP_NAME --suffix {SUFFIX} --rebuild_index"*)
    "$MILVUS_PYTHON" "$MILVUS_REST" restore "$MILVUS_ADDRESS" "$COPY" {SUFFIX} >&2 ;;
  *) echo "unexpected: $*" >&2; exit 1 ;;
esac
"""


@dataclass(frozen=True)
class Drilled:
    """Everything that a drill needs.

    Attributes:
        world: A retrieval with its documents.
        pod: The drill's.
        records: What it wrote.
    """

    world: World
    pod: Pod
    records: Records

    def back_up(self) -> None:
        """Copy every collection."""
        self._tool("copy", self.pod.environment["COPY"])

    def run(self, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the containers of the drill one after another."""
        pod = replace(self.pod, folder=folder, environment={**self.pod.environment, **environment})
        self.begin(pod)
        return pod.run("compare")

    def begin(self, pod: Pod) -> None:
        """Run what comes before the comparison."""
        for container in ("clean", "restore"):
            before = of_init(pod).run(container)
            assert before.returncode == 0, before.stdout + before.stderr

    def restore(self, suffix: str) -> None:
        """Restore the copy outside of any drill."""
        self._tool("restore", self.pod.environment["COPY"], suffix)

    def _tool(self, *arguments: str) -> None:
        what, *rest = arguments
        subprocess.run(
            [self.pod.environment["MILVUS_PYTHON"], str(REST), what, self.world.milvus, *rest],
            env={"PATH": os.environ["PATH"], "HOME": str(self.world.folder)},
            check=True,
            timeout=120,
        )

    def collections(self) -> list[str]:
        return self.world.look("sorted(store.client.list_collections())")


@pytest.fixture
def drilled(world: World, tmp_path: Path) -> Iterator[Drilled]:
    world.ingest()
    python = environment("milvus") / "bin" / "python"
    with ExitStack() as stack:
        recorder = stack.enter_context(recording())

        def program() -> None:
            place = site({"experiments": {"enabled": False}})
            Drills(
                "drills",
                DrillsArgs(site=place, databases_ready=(), experiments_ready=(), vectors_ready=()),
                options(place),
            )

        recorder.run(program)
        kept = stack.enter_context(records(tmp_path / "records"))
        front = subprocess.Popen(
            [str(python), str(REST), "serve", world.milvus, f"root:{PASSWORD}"],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(front.wait, 30)
        stack.callback(front.terminate)
        assert front.stdout
        port = front.stdout.readline().strip()
        programs = tmp_path / "bin"
        programs.mkdir()
        (programs / "milvus-backup").write_text(TOOL)
        (programs / "milvus-backup").chmod(0o755)
        spec: dict[str, Any] = recorder.of("kubernetes:batch/v1:CronJob")["drills-vectors"].inputs["spec"]
        taken = datetime.now(UTC) - AGE
        pod = Pod(
            spec=spec["jobTemplate"]["spec"]["template"]["spec"],
            namespace="mlops-data",
            secrets={("mlops-data", "milvus-root"): {"username": "root", "password": PASSWORD}},
            configuration={
                **{
                    one.inputs["metadata"]["name"]: one.inputs["data"]
                    for one in recorder.of("kubernetes:core/v1:ConfigMap").values()
                    if one.name == "drills-vectors-programs"
                },
                "milvus-backup": {"backup.yaml": ""},
            },
            folder=tmp_path / "pod",
            programs=[programs, python.parent],
            environment={
                **kept.environment,
                "MILVUS_URL": f"http://127.0.0.1:{port}",
                "MILVUS_ADDRESS": world.milvus,
                "MILVUS_PYTHON": str(python),
                "MILVUS_REST": str(REST),
                "COPY": str(tmp_path / "copy.json"),
                "BACKUP_NAME": f"daily_{taken:%Y%m%d_%H%M%S}",
            },
        )
        found = Drilled(world, pod, kept)
        before = set(found.collections())
        yield found
        assert not [name for name in set(found.collections()) - before if name.endswith(SUFFIX)]


def place(tmp_path: Path, name: str = "run") -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


def test_a_restored_copy_answers_as_the_living_one_and_is_gone_afterwards(drilled: Drilled, tmp_path: Path):
    drilled.back_up()
    there = drilled.collections()

    done = drilled.run(place(tmp_path))

    assert done.returncode == 0, done.stdout + done.stderr
    record = drilled.records.last("vectors")
    assert record["passed"], record["checks"]
    assert AGE.total_seconds() <= record["recoveryPointSeconds"] < AGE.total_seconds() + 300
    assert record["recoveryTimeSeconds"] >= 0
    name = drilled.world.served()
    checks = {one["name"]: one["detail"] for one in record["checks"]}
    assert "100.0% of the 10 nearest are the same" in checks[f"default.{name}: answers"]
    assert "0 differ [], 0 are gone" in checks[f"default.{name}: contents"]
    assert {"restore", "load", "compare", "clean-up"} == set(record["steps"])
    entities = int(checks[f"default.{name}: entities"].partition(" restored")[0])
    assert record["amounts"]["entities"] == entities > 0
    assert record["amounts"]["vectorBytes"] > 4 * entities
    measured(record)
    assert drilled.collections() == there
    assert "vectors.claim" not in drilled.records.data


def test_what_was_written_since_the_backup_is_no_loss(drilled: Drilled, tmp_path: Path):
    drilled.back_up()
    drilled.world.write("news.md", "# About news\n\nThe velvet of number velvet900 was measured twice.\n")
    drilled.world.ingest()

    done = drilled.run(place(tmp_path))

    assert done.returncode == 0, drilled.records.failed("vectors")


def test_a_backup_that_lost_entities_does_not_pass(drilled: Drilled, tmp_path: Path):
    drilled.back_up()
    spoil(drilled, lambda rows: rows[: len(rows) // 2])

    done = drilled.run(place(tmp_path))

    assert done.returncode == 1
    assert f"default.{drilled.world.served()}: entities" in drilled.records.failed("vectors")


def test_a_backup_with_another_text_does_not_pass(drilled: Drilled, tmp_path: Path):
    drilled.back_up()
    spoil(drilled, lambda rows: [{**rows[0], "text": "something else"}, *rows[1:]])

    done = drilled.run(place(tmp_path), QUESTIONS="1000")

    assert done.returncode == 1
    assert f"default.{drilled.world.served()}: contents" in drilled.records.failed("vectors")


def test_a_backup_with_other_vectors_does_not_pass(drilled: Drilled, tmp_path: Path):
    """Texts that stand beside the vectors of others: every count is right, and every answer is wrong."""
    drilled.back_up()

    def turned(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        vectors = [row["vector"] for row in rows]
        return [{**row, "vector": vector} for row, vector in zip(rows, vectors[1:] + vectors[:1], strict=True)]

    spoil(drilled, turned)

    done = drilled.run(place(tmp_path))

    assert done.returncode == 1
    assert f"default.{drilled.world.served()}: contents" in drilled.records.failed("vectors")


def spoil(drilled: Drilled, how: Any) -> None:
    file = Path(drilled.pod.environment["COPY"])
    kept = json.loads(file.read_text())
    name = drilled.world.served()
    file.write_text(json.dumps({name: how(kept[name])}))


def test_a_restore_that_fails_is_told_in_words_and_leaves_nothing(drilled: Drilled, tmp_path: Path):
    done = drilled.run(place(tmp_path))  # nothing was copied

    assert done.returncode == 1
    (detail,) = drilled.records.failed("vectors").values()
    assert "could not be restored" in detail


KILLED = {"vectors.claim": '{"pod": "vectors-drill-29411010-x7kd2", "until": 1}'}


def test_what_a_killed_drill_left_is_removed_first(drilled: Drilled, tmp_path: Path):
    drilled.back_up()
    drilled.restore(SUFFIX)
    drilled.records.put(KILLED)
    assert any(name.endswith(SUFFIX) for name in drilled.collections())

    assert drilled.run(place(tmp_path)).returncode == 0


def test_a_collection_that_only_has_such_a_name_is_not_taken_for_a_drills(drilled: Drilled, tmp_path: Path):
    """Nobody's drill was killed: whose it is is not known, and it is not removed."""
    drilled.back_up()
    drilled.restore(SUFFIX)
    pod = replace(drilled.pod, folder=place(tmp_path))
    try:
        done = of_init(pod).run("clean")
        assert done.returncode == 1
        (detail,) = drilled.records.failed("vectors").values()
        assert f"names that end with {SUFFIX}, which no drill left" in detail
        assert any(name.endswith(SUFFIX) for name in drilled.collections())
        assert "vectors.claim" not in drilled.records.data
    finally:
        drilled.records.put(KILLED)
        assert of_init(pod).run("clean").returncode == 0


def test_a_drill_beside_another_one_removes_nothing(drilled: Drilled, tmp_path: Path):
    drilled.back_up()
    drilled.restore(SUFFIX)
    pod = replace(drilled.pod, folder=place(tmp_path))
    drilled.records.put({"vectors.claim": '{"pod": "vectors-drill-29411010-x7kd2", "until": 9e9}'})
    try:
        assert of_init(pod).run("clean").returncode == 1
        assert pod.run("compare").returncode == 1
        assert any(name.endswith(SUFFIX) for name in drilled.collections())
        assert "vectors.json" not in drilled.records.data, "it is no failure of a drill"
    finally:
        drilled.records.put(KILLED)
        assert of_init(pod).run("clean").returncode == 0


def test_a_collection_that_two_backups_left_out_does_not_pass(drilled: Drilled, tmp_path: Path):
    """After the first drill it may be new; a backup that was begun later, and lacks it too, never had it."""
    drilled.back_up()
    name = drilled.world.served()
    lost = f"{name}_lost"
    drilled.world.look(f"store.client.create_collection({lost!r}, dimension=4)")
    try:
        assert drilled.run(place(tmp_path, "first")).returncode == 0, drilled.records.failed("vectors")
        record = drilled.records.last("vectors")
        assert record["absent"] == [f"default.{lost}"]
        assert drilled.run(place(tmp_path, "again")).returncode == 0, "it is the same backup"
        before = {**record, "startedAt": record["startedAt"] - 24 * 3600}
        drilled.records.put({"vectors.json": json.dumps(before)})

        done = drilled.run(place(tmp_path, "second"))

        assert done.returncode == 1
        assert (
            f"older than this backup: default.{lost}"
            in drilled.records.failed("vectors")["every collection is backed up"]
        )
    finally:
        drilled.world.look(f"store.client.drop_collection({lost!r})")


def test_a_drill_that_is_told_to_stop_cleans_up(drilled: Drilled, tmp_path: Path):
    """Where the pod is deleted, as `ops drill` does it when it is stopped."""
    drilled.back_up()
    pod = replace(drilled.pod, folder=place(tmp_path))
    drilled.begin(pod)
    drilled.records.asked.clear()
    drilled.records.answers.clear()  # it waits for the record of the last drill
    process = pod.start("compare", {}, tmp_path / "log")
    assert drilled.records.asked.wait(120)
    process.terminate()
    drilled.records.answers.set()
    assert process.wait(120) == 128 + 15, (tmp_path / "log").read_text()

    assert not [name for name in drilled.collections() if name.endswith(SUFFIX)]
    assert "vectors.claim" not in drilled.records.data, "the next drill finds nothing to remove"


def test_a_copy_that_somebody_keeps_is_compared_and_stays(drilled: Drilled, tmp_path: Path):
    drilled.back_up()
    drilled.restore("_restored")
    name = f"{drilled.world.served()}_restored"
    pod = replace(
        drilled.pod,
        folder=place(tmp_path),
        environment={**drilled.pod.environment, "KEEP": "daily_20261122_020000", "SUFFIX": "_restored"},
    )
    try:
        done = pod.run("compare")
        assert done.returncode == 0, done.stdout + done.stderr
        assert '"source": "daily_20261122_020000"' in done.stdout
        assert name in drilled.collections()
        assert not drilled.records.data, "it was no drill"
    finally:
        for one in drilled.collections():
            if one.endswith("_restored"):
                drilled.world.look(f"store.client.drop_collection({one!r})")
