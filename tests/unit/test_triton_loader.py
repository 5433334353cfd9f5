"""The loader: a release is loaded, tried, and only then served; what served before stays until then."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.unit.triton_stand_in import Server, serving
from workloads.triton import loader, sync
from workloads.triton.config import pbtxt
from workloads.triton.loader import Loader, LoadError, Release, run
from workloads.triton.pipeline import Pipeline, front, parts

pytestmark = pytest.mark.unit

SERVED = "chat"


def told(name: str, source: str = "s3://models/chat/1/", **check: Any) -> str:
    """What the program writes for a release."""
    pipeline = Pipeline(name=SERVED, release=name, folder=f"/cache/{name}", max_batch_size=8, max_queue_size=64)
    made = parts(pipeline)
    fronts = (front(pipeline, pipeline.candidate), front(pipeline, SERVED))
    return json.dumps(
        {
            "release": name,
            "source": source,
            "digest": "",
            "gpu": "a10g",
            "shared": False,
            "served": SERVED,
            "candidate": pipeline.candidate,
            "code": {config.name: role for role, config in made.items() if config.backend == "python"},
            "configs": {config.name: pbtxt(config) for config in (*made.values(), *fronts)},
            "check": {"prompt": "Hello", "tokens": 4, "seconds": 1.0, "firstSeconds": 5, **check},
        }
    )


def files(_: str, folder: str) -> None:
    """The smallest release there is."""
    (Path(folder) / "manifest.json").write_text('{"gpu": "a10g", "files": {}}')


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    for role in ("preprocessing", "postprocessing"):  # as the server's container copies it from its image
        code = tmp_path / "code" / role / "1"
        code.mkdir(parents=True)
        (code / "model.py").write_text("# of the image\n")
    return tmp_path


@pytest.fixture
def server(cache: Path) -> Iterator[Server]:
    with serving(cache / "repository", sync.make_key(cache)) as running:
        yield running


Make = Callable[[], Loader]


@pytest.fixture
def make(server: Server, cache: Path) -> Make:
    def fresh() -> Loader:
        pod = loader.Server(control=server.url, frontend=server.url, key=(cache / sync.KEY).read_text(), patience=10)
        return Loader(server=pod, cache=cache, download=files)

    return fresh


def answers(server: Server) -> str:
    """What a client gets under the model's name."""
    body = {"text_input": "Hello", "max_tokens": 4}
    answer = requests.post(f"{server.url}/v2/models/{SERVED}/generate", json=body, timeout=5)
    return answer.json().get("text_output", "") if answer.status_code == 200 else ""


def ready(cache: Path) -> bool:
    return (cache / loader.SERVING).exists()


def test_a_release_is_tried_under_another_name_before_clients_can_reach_it(server: Server, make: Make, cache: Path):
    make().serve(Release.of(told("r1")))

    assert server.calls == ["load chat-r1", "announce chat"]
    assert answers(server) == " from tensorrt_llm-r1"
    assert ready(cache)


def test_the_next_release_takes_over_and_the_one_before_leaves_memory_and_disk(server: Server, make: Make, cache: Path):
    running = make()
    running.serve(Release.of(told("r1")))
    running.serve(Release.of(told("r2")))

    assert answers(server) == " from tensorrt_llm-r2"
    assert not [name for name in server.loaded if "r1" in name]
    assert {one.name for one in (cache / "releases").iterdir()} == {"r2"}
    assert not [one for one in (cache / "repository").iterdir() if "r1" in one.name]


def test_the_release_before_is_unloaded_only_after_the_new_one_answered(server: Server, make: Make):
    running = make()
    running.serve(Release.of(told("r1")))
    server.calls.clear()

    running.serve(Release.of(told("r2")))

    assert server.calls == ["load chat-r2", "load chat", "unload chat-r1"]


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ({"unloadable": "tensorrt_llm-r2"}, "out of memory"),
        ({"unloadable": "postprocessing-r2"}, "out of memory"),
        ({"mute": "r2"}, "answered nothing"),
        ({"pause": 0.4}, "0.2 s are allowed"),
    ],
)
def test_a_release_that_fails_leaves_the_one_before_as_it_was(
    failure: dict[str, Any], said: str, server: Server, make: Make, cache: Path
):
    running = make()
    running.serve(Release.of(told("r1")))
    before = dict(server.loaded)
    for name, value in failure.items():
        setattr(server.behaviour, name, value)

    with pytest.raises(LoadError, match=said):
        running.serve(Release.of(told("r2", seconds=0.2)))

    assert answers(server) == " from tensorrt_llm-r1"
    assert server.loaded == before
    assert running.serving
    assert running.serving.name == "r1"
    assert ready(cache)


def test_a_release_that_stops_answering_under_the_clients_name_is_rolled_back(
    server: Server, make: Make, monkeypatch: pytest.MonkeyPatch
):
    """The switch itself goes wrong: the clients' name then means the release before again."""
    running = make()
    running.serve(Release.of(told("r1")))
    ask = loader.Server.ask

    def fails_when_served(self: loader.Server, model: str, check: Any) -> float:
        if model == SERVED and any("r2" in step for step in server.loaded[SERVED].steps):
            raise LoadError("no answer")
        return ask(self, model, check)

    monkeypatch.setattr(loader.Server, "ask", fails_when_served)
    with pytest.raises(LoadError):
        running.serve(Release.of(told("r2")))

    assert answers(server) == " from tensorrt_llm-r1"
    assert not [name for name in server.loaded if "r2" in name]


def test_a_first_release_that_fails_makes_no_pod_ready(server: Server, make: Make, cache: Path):
    server.behaviour.unloadable = "tensorrt_llm"

    with pytest.raises(LoadError):
        make().serve(Release.of(told("r1")))

    assert not ready(cache)
    assert not server.announced


def test_a_release_that_was_refused_is_not_tried_again_until_it_changes(server: Server, make: Make, cache: Path):
    file = cache / "release.json"
    file.write_text(told("r1"))
    running = make()
    run(running, file, rounds=1)
    server.behaviour.unloadable = "tensorrt_llm-r2"
    file.write_text(told("r2"))
    run(running, file, rounds=3, pause=0)
    assert server.calls.count("load chat-r2") == 1

    server.behaviour.unloadable = ""
    file.write_text(told("r3"))
    run(running, file, rounds=1)

    assert answers(server) == " from tensorrt_llm-r3"


def test_a_store_that_cannot_be_read_is_asked_again(server: Server, make: Make, cache: Path):
    file = cache / "release.json"
    file.write_text(told("r1"))
    running = make()
    run(running, file, rounds=1)
    file.write_text(told("r2"))
    tries: list[str] = []

    def flaky(source: str, folder: str) -> None:
        tries.append(source)
        if len(tries) == 1:
            raise OSError("connection reset")
        files(source, folder)

    running.download = flaky
    run(running, file, rounds=2, pause=0)

    assert answers(server) == " from tensorrt_llm-r2"


def test_a_server_that_was_restarted_gets_its_release_again(server: Server, make: Make, cache: Path):
    file = cache / "release.json"
    file.write_text(told("r1"))
    running = make()
    run(running, file, rounds=1)
    server.restart()

    run(running, file, rounds=1)

    assert answers(server) == " from tensorrt_llm-r1"
    assert ready(cache)


def test_a_way_to_the_models_that_was_lost_is_made_again(server: Server, make: Make, cache: Path):
    """Somebody unloaded it, or pointing it back failed once."""
    file = cache / "release.json"
    file.write_text(told("r1"))
    running = make()
    run(running, file, rounds=1)
    del server.loaded["chat"]
    running.mark()
    assert not ready(cache)

    run(running, file, rounds=1)

    assert answers(server) == " from tensorrt_llm-r1"
    assert ready(cache)


def test_a_loader_that_was_restarted_touches_nothing_that_serves(server: Server, make: Make, cache: Path):
    file = cache / "release.json"
    file.write_text(told("r1"))
    run(make(), file, rounds=1)
    server.calls.clear()
    again = make()
    again.resume()

    run(again, file, rounds=2, pause=0)

    assert server.calls == []
    assert ready(cache)


def test_the_pod_is_not_ready_while_the_model_is_away(server: Server, make: Make, cache: Path):
    running = make()
    running.serve(Release.of(told("r1")))
    server.loaded.clear()

    running.mark()

    assert not ready(cache)


def test_models_are_not_announced_without_the_pods_key(server: Server, make: Make):
    server.key = "another"

    with pytest.raises(LoadError, match="401"):
        make().serve(Release.of(told("r1")))
