"""Documents behind the real LiteLLM: a retrieval is a model among others, and its citations arrive."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import requests
from pydantic import TypeAdapter

from components.platform.model_gateway import Served
from components.settings.platform import PlatformSettings
from components.settings.retrieval import RetrievalSettings
from tests.data_plane.environments import environment
from tests.data_plane.litellm_process import MASTER, START_SECONDS, Replica, emitted, replica
from tests.data_plane.redis_server import running as cache_running
from tests.data_plane.retrieval_world import WORDS, Running, World, milvus, python, runner, service, text_about, world
from tests.data_plane.test_litellm import recorder
from tests.unit.conftest import Recorder
from workloads.retrieval.accounts import gateway_key
from workloads.retrieval.stack import stack_retrievals

pytestmark = pytest.mark.data_plane

__all__ = ["milvus", "python", "recorder", "runner", "world"]  # fixtures

HANDBOOK = TypeAdapter(tuple[RetrievalSettings, ...]).validate_python(
    [
        {
            "name": "handbook",
            "source": "raw/handbook",
            "embedding": {"model": "embed", "dimension": 64},
            "answer": {"model": "writer"},
        }
    ]
)


@pytest.fixture
def answering(world: World) -> Iterator[Running]:
    rows = [{"id": tenant, "text": text_about("velvet"), "metadata": {"tenant": tenant}} for tenant in ("red", "blue")]
    world.write("notes.jsonl", "\n".join(map(json.dumps, rows)))
    world.ingest()
    with service(world, search={"filter_fields": ["tenant"]}) as running:
        yield running


@pytest.fixture
def gateway(answering: Running, recorder: Recorder, tmp_path: Path) -> Iterator[Replica]:
    (model,) = stack_retrievals(HANDBOOK, PlatformSettings()).gateway
    (backend,) = model.backends
    here = replace(backend, target=replace(cast("Served", backend.target), url=answering.url))
    given = emitted(recorder, (replace(model, backends=(here,)),))
    with cache_running(tmp_path) as cache, replica(given, cache, tmp_path / "gateway") as found:
        yield found


def test_clients_of_the_gateway_get_text_citations_and_streams(gateway: Replica, world: World):
    whole = gateway.ask("handbook", text_about(WORDS[1])).json()

    text = whole["choices"][0]["message"]["content"]
    assert f"[1] About {WORDS[1]} ({WORDS[1]}.md)" in text
    assert whole["citations"][0]["document"] == f"{WORDS[1]}.md"
    assert whole["usage"]["total_tokens"] == 18, "teams are charged with what the answer took"

    response = gateway.ask("handbook", text_about(WORDS[2]), stream=True)
    pieces = [
        json.loads(line.decode().removeprefix("data: "))
        for line in response.iter_lines()
        if line.startswith(b"data: {")
    ]
    streamed = "".join(one["choices"][0]["delta"].get("content") or "" for one in pieces if one["choices"])
    assert f"[1] About {WORDS[2]}" in streamed

    for _ in range(2):  # the second time from the gateway's cache
        for tenant in ("blue", "red"):
            narrowed: dict[str, Any] = {"retrieval": {"filter": {"tenant": tenant}}}
            found = gateway.ask("handbook", text_about("velvet"), **narrowed).json()
            assert {one["document"] for one in found["citations"]} == {f"notes.jsonl#{tenant}"}

    listed = requests.get(f"{gateway.url}/v1/models", headers={"authorization": f"Bearer {MASTER}"}, timeout=30).json()
    assert [one["id"] for one in listed["data"]] == ["handbook"]
    assert world.gateway.keys == {"Bearer sk-retrieval"}, "the caller's key goes no further"


def test_the_key_is_written_in_words_that_the_gateway_knows():
    """A word that it does not know would be dropped without a sound, and with it a budget."""
    check = (
        "import json, sys; from litellm.proxy._types import GenerateKeyRequest, UpdateKeyRequest\n"
        "key = json.load(sys.stdin)\n"
        "for kind in (GenerateKeyRequest, UpdateKeyRequest):\n"
        "    unknown = set(key) - set(kind.model_fields)\n"
        "    assert not unknown, (kind, unknown)\n"
        "    kind.model_validate({**key, 'key': 'sk-0123456789'})\n"
    )
    done = subprocess.run(
        [str(environment("litellm") / "bin" / "python"), "-c", check],
        input=json.dumps(gateway_key(HANDBOOK)),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
