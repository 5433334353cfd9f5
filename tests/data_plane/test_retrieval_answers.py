"""Chunks become answers: the service's own program, on Milvus Lite and a gateway whose answers can be foretold."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
import requests

from tests.data_plane.retrieval_world import WORDS, World, milvus, python, runner, service, text_about, world
from tests.data_plane.span_receiver import receiving

pytestmark = pytest.mark.data_plane

__all__ = ["milvus", "python", "runner", "world"]  # fixtures


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
