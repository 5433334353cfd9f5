"""Documents become chunks: the ingestion's own program, on Milvus Lite and a gateway whose vectors can be foretold."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
import time

import pytest

from tests.data_plane.retrieval_world import (
    START_SECONDS,
    WORDS,
    World,
    milvus,
    python,
    runner,
    service,
    text_about,
    world,
)

pytestmark = pytest.mark.data_plane

__all__ = ["milvus", "python", "runner", "world"]  # fixtures


def test_a_second_run_embeds_nothing_and_changes_nothing(world: World):
    first = world.ingest()
    before, texts = world.chunks(), len(world.gateway.embedded)
    second = world.ingest()

    assert first["counts"]["embedded"] == texts == sum(map(len, before.values())) > 6
    assert set(before) == {f"{word}.md" for word in WORDS[:6]}
    assert len(world.gateway.embedded) == texts
    assert world.chunks() == before
    assert second["counts"]["unchanged"] == texts
    assert not second["switched"]
    assert world.gateway.keys == {"Bearer sk-retrieval"}


def test_a_changed_document_embeds_what_changed_and_a_deleted_one_is_gone(world: World):
    long = "\n\n".join(f"## {word}\n\n{text_about(word)}" for word in WORDS[:5])
    world.write("long.md", long)
    world.write("notes/50% of #1 ünlü?.txt", text_about("velvet"))
    world.ingest()
    before = world.chunks()
    world.write("long.md", long.replace("falcon", "heron") if "falcon" in long else long.replace("harbour", "quay"))
    (world.source / f"{WORDS[0]}.md").unlink()
    world.gateway.embedded.clear()

    done = world.ingest()

    after = world.chunks()
    assert done["gone"] == 1
    assert f"{WORDS[0]}.md" not in after
    kept = set(before["long.md"]) & set(after["long.md"])
    assert kept, "chunks whose text is the same keep their vectors"
    assert len(world.gateway.embedded) == len(after["long.md"]) - len(kept) == done["counts"]["embedded"]
    assert all("quay" in text for text in world.gateway.embedded)
    assert {key: ids for key, ids in after.items() if key != "long.md"} == {
        key: ids for key, ids in before.items() if key not in ("long.md", f"{WORDS[0]}.md")
    }


def test_a_run_that_was_killed_goes_on_where_it_was(world: World):
    world.gateway.dead_after = 9

    failed = world.ingest(ends=1)

    written = len(world.gateway.embedded)
    assert "401" in failed["reason"]
    assert world.look("store.served()") is None, "nothing half-filled is served"
    world.gateway.dead_after = None
    done = world.ingest()
    total = sum(map(len, world.chunks().values()))
    assert done["counts"]["embedded"] == total - written
    assert len(world.gateway.embedded) == total, "no text was embedded twice"


def test_a_process_that_is_shot_leaves_nothing_that_is_served(world: World):
    for word in WORDS:
        world.write(f"more/{word}.txt", text_about(word, 60))
    process = subprocess.Popen(
        [str(world.python), "-m", "retrieval.ingest", "--config", json.dumps(world.config())], env=world.environment
    )
    deadline = time.monotonic() + START_SECONDS
    while len(world.gateway.embedded) < 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert world.look("store.served()") is None

    world.ingest()

    total = sum(map(len, world.chunks().values()))
    assert total <= len(world.gateway.embedded) <= total + 4, "at most the batch that was under way is repeated"


def test_another_chunking_makes_another_collection_and_the_alias_moves_when_it_is_whole(world: World):
    world.ingest()
    before = world.served()
    world.settings["chunking"] = {"tokens": 40, "overlap": 0}
    world.gateway.dead_after = len(world.gateway.embedded) + 8

    world.ingest(ends=1)
    assert world.served() == before, "the old one answers until the new one is whole"
    world.gateway.dead_after = None
    done = world.ingest()

    assert done["switched"]
    assert world.served() == done["collection"] != before
    assert world.collections() == sorted([before, done["collection"]]), "who has just looked it up can still ask it"
    world.ingest()
    assert world.collections() == [done["collection"]]


def test_another_model_embeds_questions_as_its_own_collection_was(world: World):
    world.ingest()
    with service(world) as running:
        assert running.ask(text_about(WORDS[1])).json()["citations"][0]["document"] == f"{WORDS[1]}.md"
        world.settings["embedding"] = {"model": "embed-small", "dimension": 32, "batch": 4, "query_prefix": "find: "}
        world.ingest()
        time.sleep(11)  # as long as the service remembers the alias
        answer = running.ask(text_about(WORDS[1]))
        assert answer.json()["citations"][0]["document"] == f"{WORDS[1]}.md", "no restart, no wrong vector"
    assert world.gateway.embedded[-1].startswith("find: ")


def test_a_collection_that_outgrows_its_index_is_copied_and_nothing_is_embedded_again(world: World):
    world.settings["index"] = {"flat_below": 30, "hnsw_below": 1000, "ivf_below": 2000}
    first = world.ingest()
    assert first["collection"].endswith("_flat")
    for word in WORDS[6:]:
        world.write(f"{word}.txt", text_about(word, 20))
    texts = len(world.gateway.embedded)

    done = world.ingest()

    assert done["collection"].endswith("_hnsw")
    assert done["switched"]
    assert world.look("store.client.describe_index(str(store.served().name), 'vector')")["index_type"] == "HNSW"
    assert len(world.gateway.embedded) - texts == done["counts"]["embedded"] == done["chunks"] - first["chunks"]
    with service(world) as running:
        assert running.ask(text_about(WORDS[8])).json()["citations"][0]["document"] == f"{WORDS[8]}.txt"


def test_what_cannot_be_read_is_set_aside_with_its_reason_and_keeps_its_chunks(world: World):
    world.write("notes.jsonl", json.dumps({"id": "a", "text": text_about("velvet"), "metadata": {"tenant": "red"}}))
    world.ingest()
    before = world.chunks()
    world.write(f"{WORDS[0]}.md", b"# broken \xff\xfe")
    world.write("notes.jsonl", '{"id": "a"}\nnot json\n' + json.dumps({"id": "b", "text": text_about("marble")}))
    world.write("picture.png", b"\x89PNG")

    done = world.ingest()

    rows = [json.loads(line) for line in (world.reports()[-1].parent / "set-aside.jsonl").read_text().splitlines()]
    assert {(row["file"], row["where"]) for row in rows} == {
        (f"{WORDS[0]}.md", 0),
        ("notes.jsonl", 1),
        ("notes.jsonl", 2),
        ("picture.png", 0),
    }
    assert all(row["reason"] for row in rows)
    after = world.chunks()
    assert after[f"{WORDS[0]}.md"] == before[f"{WORDS[0]}.md"], "what cannot be read today is not gone"
    assert after["notes.jsonl#a"] == before["notes.jsonl#a"]
    assert "notes.jsonl#b" in after
    assert done["set_aside"] == 4


def test_too_many_bad_documents_or_too_many_gone_refuse_the_run(world: World):
    world.ingest()
    before = world.chunks()
    for index in range(9):
        world.write(f"bad{index}.md", b"\xff")
    refused = world.ingest(ends=3, limits={"bad_share": 0.1})
    assert "limits.bad_share" in refused["reason"]
    for file in world.source.iterdir():
        if file.name != f"{WORDS[0]}.md":
            file.unlink()

    refused = world.ingest(ends=3, limits={"deleted_share": 0.5})

    assert "limits.deleted_share" in refused["reason"]
    assert world.chunks() == before
    (world.source / f"{WORDS[0]}.md").unlink()
    assert "no file" in world.ingest(ends=3)["reason"]


def test_a_gateway_that_is_busy_is_waited_for_and_a_text_that_it_refuses_is_set_aside(world: World):
    world.gateway.failing = [503, 429]
    world.gateway.refuses = f"{WORDS[2]}3"

    done = world.ingest()

    assert done["set_aside"] == 1
    assert f"{WORDS[2]}.md" not in world.chunks()
    assert done["documents"] == 5


def test_moved_chunks_and_new_metadata_are_written_without_embedding(world: World):
    lines = [{"id": word, "text": text_about(word), "metadata": {"year": 1}} for word in WORDS[:3]]
    world.write("notes.jsonl", "\n".join(map(json.dumps, lines)))
    world.ingest()
    world.gateway.embedded.clear()
    world.write("notes.jsonl", "\n".join(json.dumps({**line, "metadata": {"year": 2}}) for line in lines))

    done = world.ingest()

    assert world.gateway.embedded == []
    assert done["counts"]["updated"] > 0
    name = world.served()
    metadata = world.look(
        f"[row['metadata'] for row in store.client.query('{name}', filter='document == \"notes.jsonl#{WORDS[0]}\"', "
        "output_fields=['metadata'])]"
    )
    assert metadata
    assert {row["year"] for row in metadata} == {2}


ON_RAY = """
import sys, ray
from retrieval import ingest
ray.init(num_cpus=2, object_store_memory=80_000_000, include_dashboard=False, _temp_dir=sys.argv[1])
sys.exit(ingest.main(sys.argv[2:]))
"""


def test_files_are_worked_on_by_ray(world: World):
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:  # a short path: sockets
        done = subprocess.run(
            [str(world.python), "-c", ON_RAY, folder, "--config", json.dumps(world.config(executor="ray"))],
            env={
                **world.environment,
                "RAY_USAGE_STATS_ENABLED": "0",
                # Its parts give up on one another on a busy machine.
                "RAY_worker_register_timeout_seconds": "420",
            },
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    if "timed out during startup" in done.stderr:
        pytest.skip("Ray's parts gave up on one another: the machine is too busy to start it")
    assert done.returncode == 0, done.stderr[-4000:]
    assert set(world.chunks()) == {f"{word}.md" for word in WORDS[:6]}
    assert len(world.gateway.embedded) == sum(map(len, world.chunks().values()))
