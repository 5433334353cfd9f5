"""Documents become answers: the pods' own programs, on Milvus Lite and a gateway whose vectors can be foretold."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.data_plane.environments import environment
from tests.data_plane.ports import free_port
from tests.data_plane.retrieval_backend import DIMENSION, Gateway, gateway
from tests.data_plane.span_receiver import receiving

pytestmark = pytest.mark.data_plane

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "workloads" / "retrieval" / "image"
START_SECONDS = 120
WORDS = [
    "orchard",
    "harbour",
    "lantern",
    "meadow",
    "granite",
    "falcon",
    "copper",
    "willow",
    "thunder",
    "velvet",
    "compass",
    "marble",
]


def text_about(word: str, sentences: int = 6) -> str:
    return " ".join(f"The {word} of number {word}{index} was measured twice." for index in range(sentences))


def surroundings(home: Path) -> dict[str, str]:
    """Variables as in the image: the root of its context, and the folder of its package."""
    kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    return {**kept, "HOME": str(home), "PYTHONPATH": f"{ROOT}:{IMAGE}", "GATEWAY_KEY": "sk-retrieval"}


class Runner:
    """The programs of the image, in one process for all tests."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, what: dict[str, Any]) -> dict[str, Any]:
        into, out = self._process.stdin, self._process.stdout
        assert into
        assert out
        into.write(json.dumps(what) + "\n")
        into.flush()
        line = out.readline()
        assert line, "the runner has ended"
        return json.loads(line)


@dataclass
class World:
    """Milvus, a gateway, a folder of documents, and the programs of the image."""

    folder: Path
    milvus: str
    gateway: Gateway
    python: Path
    runner: Runner
    name: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> Path:
        return self.folder / "documents"

    def write(self, path: str, text: str | bytes) -> None:
        file = self.source / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)

    def config(self, **more: Any) -> dict[str, Any]:
        return {
            "retrieval": self.name,
            "source": self.source.as_uri(),
            "milvus": {"url": self.milvus},
            "gateway_url": self.gateway.url,
            "report_url": (self.folder / "reports").as_uri(),
            "chunking": {"tokens": 64, "overlap": 8},
            "embedding": {"model": "embed", "dimension": DIMENSION, "batch": 4, "retries": 2},
            "executor": "local",
            "limits": {"bad_share": 0.5, "deleted_share": 0.6},
            **self.settings,
            **more,
        }

    @property
    def environment(self) -> dict[str, str]:
        return surroundings(self.folder)

    def ingest(self, *, ends: int = 0, **more: Any) -> dict[str, Any]:
        """Run an ingestion; what it says at the end."""
        done = self.runner.ask({"ingest": self.config(**more)})
        assert done["status"] == ends, done["said"][-4000:]
        return json.loads(done["said"].strip().splitlines()[-1])

    def look(self, code: str) -> Any:
        """Ask Milvus, by the store of the image."""
        told = self.runner.ask({"look": code, "milvus": self.milvus, "name": self.name})
        assert "found" in told, told["failed"]
        return told["found"]

    def chunks(self) -> dict[str, list[str]]:
        """Ids of the chunks that are served, by document."""
        return self.look("store.documents(store.served().name)")

    def collections(self) -> list[str]:
        return self.look("sorted(map(str, store.all()))")

    def served(self) -> str:
        return self.look("str(store.served().name)")

    def reports(self) -> list[Path]:
        return sorted((self.folder / "reports").glob("*/report.json"))


@pytest.fixture(scope="module")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Milvus Lite as a server: the programs under test are processes of their own."""
    folder, port = tmp_path_factory.mktemp("milvus"), free_port()
    program = environment("milvus") / "bin" / "milvus-lite"
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(program), "server", "--data-dir", str(folder / "data"), "--host", "127.0.0.1", "--port", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert process.poll() is None, log.read_text()[-3000:]
            try:
                import socket

                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, log.read_text()[-3000:]
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def python() -> Path:
    return environment("retrieval", IMAGE / "requirements.txt") / "bin" / "python"


@pytest.fixture(scope="module")
def runner(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    folder = tmp_path_factory.mktemp("runner")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [str(python), str(Path(__file__).with_name("retrieval_runner.py"))],
            env=surroundings(folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        yield Runner(process)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def world(milvus: str, python: Path, runner: Runner, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    digest = f"{abs(hash(request.node.name)) % 10**8:08d}"
    with gateway() as server:
        found = World(tmp_path, milvus, server, python, runner, f"r{digest}")
        for word in WORDS[:6]:
            found.write(f"{word}.md", f"# About {word}\n\n{text_about(word)}\n")
        yield found


@dataclass(frozen=True)
class Running:
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def ask(self, text: str, **more: Any) -> requests.Response:
        body = {"model": "handbook", "messages": [{"role": "user", "content": text}], **more}
        return requests.post(f"{self.url}/v1/chat/completions", json=body, timeout=30, stream=bool(more.get("stream")))


@contextmanager
def service(world: World, **more: Any) -> Iterator[Running]:
    port, log = free_port(), world.folder / "service.log"
    config = {
        "name": "handbook",
        "collection": world.name,
        "model": "writer",
        "milvus": {"url": world.milvus},
        "gateway_url": world.gateway.url,
        "host": "127.0.0.1",
        "port": port,
        "timeout_seconds": 20,
        **more,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(world.python), "-m", "retrieval.serve", "--config", json.dumps(config)],
            env=world.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    running = Running(f"http://127.0.0.1:{port}", process, log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            try:
                if requests.get(f"{running.url}/readyz", timeout=10).status_code == 200:
                    break
            except requests.RequestException:
                pass
            time.sleep(0.2)
        yield running
    finally:
        process.terminate()
        process.wait(60)


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


def test_answers_cite_what_was_brought_in_and_say_when_nothing_was(world: World):
    world.ingest()
    with service(world) as running:
        asked = f"What was measured of the {WORDS[3]}? {WORDS[3]}1 {WORDS[3]}2"
        document = running.ask(asked).json()

        text = document["choices"][0]["message"]["content"]
        assert text.startswith("The sources say so [1].")
        assert f"[1] About {WORDS[3]} ({WORDS[3]}.md)" in text
        first = document["citations"][0]
        assert (first["document"], first["number"], first["cited"]) == (f"{WORDS[3]}.md", 1, True)
        assert first["chunk"] in world.chunks()[f"{WORDS[3]}.md"], "the very chunk that was inserted"
        assert document["usage"]["total_tokens"] == 18
        (sent,) = world.gateway.asked
        assert [one["role"] for one in sent["messages"]] == ["system", "user"]
        assert text_about(WORDS[3])[:40] in sent["messages"][1]["content"]
        assert text_about(WORDS[3])[:40] not in sent["messages"][0]["content"], "what was found is no instruction"

        nothing = running.ask("zebra quixotic yonder").json()
        assert nothing["choices"][0]["message"]["content"].startswith("I do not know")
        assert nothing["citations"] == []
        assert len(world.gateway.asked) == 1, "no model was asked"

        metrics = requests.get(f"{running.url}/metrics", timeout=5).text
        assert 'llmops_retrieval_requests_total{outcome="answered"} 1.0' in metrics
        assert 'llmops_retrieval_requests_total{outcome="unknown"} 1.0' in metrics
        assert 'llmops_retrieval_stage_seconds_count{stage="generation"} 1.0' in metrics
        assert requests.get(f"{running.url}/v1/models", timeout=5).json()["data"][0]["id"] == "handbook"
    log = running.log.read_text()
    assert '"outcome": "answered"' in log
    assert WORDS[3] not in log
    assert "zebra" not in log


def events(response: requests.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    lines = [line.decode().removeprefix("data: ") for line in response.iter_lines() if line]
    assert lines[-1] == "[DONE]" or '"error"' in lines[-1]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def test_a_stream_brings_the_text_then_its_sources_then_what_was_used(world: World):
    world.ingest()
    with service(world) as running:
        found = events(running.ask(text_about(WORDS[2]), stream=True, stream_options={"include_usage": True}))
        text = "".join(one["choices"][0]["delta"].get("content", "") for one in found if one["choices"])
        assert re.match(r"The sources say so \[1\]\.\n\nSources:\n\[1\] About", text)
        assert found[-1]["usage"]["total_tokens"] == 18
        assert found[-2]["choices"][0]["finish_reason"] == "stop"
        assert found[-2]["citations"][0]["cited"]
        assert len(found) > 6, "it came in pieces"

        nothing = events(running.ask("zebra quixotic yonder", stream=True))
        assert nothing[0]["choices"][0]["delta"]["content"].startswith("I do not know")

        world.gateway.breaks = True
        broken = events(running.ask(text_about(WORDS[2]), stream=True))
        assert broken[-1]["error"]["code"] == "upstream"
        world.gateway.breaks = False
        metrics = requests.get(f"{running.url}/metrics", timeout=5).text
        assert 'llmops_retrieval_failures_total{stage="generation"} 1.0' in metrics


def test_a_filter_narrows_and_no_request_can_widen_it(world: World):
    rows = [
        {"id": f"{tenant}-{team}", "text": text_about("velvet"), "metadata": {"tenant": tenant, "team": team}}
        for tenant in ("red", "blue")
        for team in ("one", 'two" or 1 == 1')
    ]
    world.write("notes.jsonl", "\n".join(map(json.dumps, rows)))
    world.ingest()
    search = {"filter": {"tenant": "red"}, "filter_fields": ["team", "tenant"], "min_score": 0.1, "top_k": 20}

    with service(world, search=search) as running:

        def documents(**more: Any) -> set[str]:
            return {one["document"] for one in running.ask(text_about("velvet"), **more).json()["citations"]}

        assert documents() == {"notes.jsonl#red-one", 'notes.jsonl#red-two" or 1 == 1'}
        assert documents(retrieval={"filter": {"team": "one"}}) == {"notes.jsonl#red-one"}
        assert documents(retrieval={"filter": {"team": 'two" or 1 == 1'}}) == {'notes.jsonl#red-two" or 1 == 1'}
        assert running.ask("velvet", retrieval={"filter": {"tenant": "blue"}}).status_code == 403
        assert running.ask("velvet", retrieval={"filter": {"year": 1}}).status_code == 400


def test_what_goes_wrong_is_told_as_the_api_tells_it(world: World):
    with service(world, body_kib=4) as running:
        early = running.ask("velvet")
        assert (early.status_code, early.json()["error"]["code"]) == (503, "not_ingested")
        world.ingest()
        time.sleep(0.1)

        def status(**more: Any) -> tuple[int, str]:
            answer = running.ask(text_about(WORDS[1]), **more)
            return answer.status_code, answer.json()["error"]["code"]

        assert status(model="other") == (404, "model_not_found")
        assert status(tools=[{"type": "function"}])[0] == 400
        assert status(messages=[{"role": "assistant", "content": "so"}])[0] == 400
        assert status(messages=[{"role": "user", "content": "x" * 5000}]) == (413, "request_too_large")
        world.gateway.failing = [401]
        assert status() == (502, "upstream"), "that its own key is refused is no fault of who asks"
        world.gateway.failing = [503, 503]
        assert running.ask(text_about(WORDS[1])).status_code == 200, "what passes is waited for"
        assert requests.get(f"{running.url}/healthz", timeout=5).status_code == 200


def test_a_wrong_configuration_is_told_whole_and_ends_with_2(world: World):
    wrong = {**world.config(chunking={"tokens": 64, "overlap": 60}), "sources": 1, "parallelism": 0}

    done = world.runner.ask({"ingest": wrong})

    assert done["status"] == 2
    assert {line.split(":")[0] for line in done["said"].strip().splitlines()} == {"chunking", "sources", "parallelism"}


def test_the_parts_of_an_answer_are_spans_below_the_callers_and_hold_no_text(world: World):
    world.ingest()
    trace = "0af7651916cd43dd8448eb211c80319c"
    with receiving() as collector, service(world, traces_url=collector.url) as running:
        body = {"model": "handbook", "messages": [{"role": "user", "content": text_about(WORDS[1])}]}
        headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
        answer = requests.post(f"{running.url}/v1/chat/completions", json=body, headers=headers, timeout=30)
        assert answer.status_code == 200
        running.process.terminate()  # what is left of the spans is sent at the end
        running.process.wait(60)
        spans = {span.name: span for span in collector.spans()}
    assert {"answer from documents", "embed the question", "search", "generate"} <= set(spans)
    assert {span.trace for span in spans.values()} == {trace}
    assert WORDS[1] not in str(spans)
    assert any(one.split("-")[1] == trace for one in world.gateway.traceparents if one), "the gateway's part is below"


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
