"""The real LiteLLM on the configuration that the program emits, between a real cache and two small backends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from components.platform.model_gateway import Backend, GatewayModel, Served
from components.platform.model_gateway.reconcile import Gateway, reconcile
from components.platform.model_gateway.teams import declared
from components.versions import IMAGES
from tests.data_plane.environments import environment
from tests.data_plane.litellm_process import (
    MASTER,
    START_SECONDS,
    TEAM,
    Emitted,
    Replica,
    answer_of,
    await_answer,
    emitted,
    events,
    eventually,
    replica,
)
from tests.data_plane.openai_backend import PIECES, Server, serving
from tests.data_plane.ports import free_port
from tests.data_plane.postgres import Postgres
from tests.data_plane.redis_server import Redis
from tests.data_plane.redis_server import running as cache_running
from tests.unit.conftest import Recorder, mocked

pytestmark = pytest.mark.data_plane


def models(one: str, other: str, doomed: str) -> tuple[GatewayModel, ...]:
    """Everything that the tests ask for, on three backends and one that is not there."""
    nobody = f"http://127.0.0.1:{free_port()}"

    def backend(name: str, url: str, **more: Any) -> Backend:
        return Backend(name=name, target=Served(url=url, model="m"), **{"timeout_seconds": 30, **more})

    return (
        GatewayModel(name="plain", backends=(backend("one", one),)),
        GatewayModel(name="pair", backends=(backend("one", one), backend("other", other))),
        GatewayModel(name="doomed-pair", backends=(backend("one", one), backend("doomed", doomed))),
        GatewayModel(name="ordered", backends=(backend("first", nobody), backend("second", other, order=2))),
        GatewayModel(name="fragile", backends=(backend("gone", nobody),), fallbacks=("plain",)),
        GatewayModel(name="limited", backends=(backend("other", other, requests_per_minute=3),)),
        GatewayModel(
            name="dear", backends=(backend("one", one),), input_usd_per_million=1e6, output_usd_per_million=1e6
        ),
        GatewayModel(name="impatient", backends=(backend("other", other, timeout_seconds=1),)),
    )


@dataclass(frozen=True)
class World:
    """Two backends that stay, one that does not, a cache, and a replica of the gateway."""

    one: Server
    other: Server
    doomed: Server
    cache: Redis
    emitted: Emitted
    gateway: Replica


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    """Mocks for the whole module: the program is run once."""
    return mocked()


@pytest.fixture(scope="module")
def world(recorder: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("gateway")
    with ExitStack() as stack:
        one, other, doomed = (stack.enter_context(serving(name)) for name in ("one", "other", "doomed"))
        cache = stack.enter_context(cache_running(folder))
        given = emitted(recorder, models(one.url, other.url, doomed.url))
        yield World(one, other, doomed, cache, given, stack.enter_context(replica(given, cache, folder)))


@pytest.fixture(autouse=True)
def _backends_are_well(world: World) -> Iterator[None]:
    yield
    for server in (world.one, world.other):
        server.status, server.pause = 200, 0.0


def reached(*servers: Server) -> int:
    return sum(server.reached for server in servers)


def test_the_release_under_test_is_the_images():
    """What is shown here is shown of what runs in the cluster."""
    pinned = Path(__file__).with_name("requirements-litellm.txt").read_text()
    (version,) = re.findall(r"^litellm==(.+)$", pinned, re.MULTILINE)
    assert IMAGES["litellm"].endswith(f":v{version}")


def test_declared_models_are_listed_and_no_others(world: World):
    answer = requests.get(f"{world.gateway.url}/v1/models", headers={"authorization": f"Bearer {MASTER}"}, timeout=10)
    listed = {one["id"] for one in answer.json()["data"]}
    assert listed == {model["model_name"] for model in world.emitted.configuration["model_list"]}


def test_a_model_is_answered_by_its_backend(world: World):
    assert answer_of(world.gateway.ask("plain")) == "one"


def test_backends_of_one_model_share_its_requests(world: World):
    assert {answer_of(world.gateway.ask("pair")) for _ in range(20)} == {"one", "other"}


@pytest.mark.parametrize("key", ["", "sk-notakey0123456789abcdefghijklmnop", MASTER[:-1]])
def test_a_request_with_another_key_or_none_reaches_no_backend(key, world: World):
    before = reached(world.one)
    refused = world.gateway.ask("plain", key=key)
    assert refused.status_code in (400, 401), refused.text  # 400 where there is no database to look the key up
    assert reached(world.one) == before


def test_a_question_asked_again_is_answered_from_the_cache(world: World):
    text = uuid.uuid4().hex
    first = world.gateway.ask("plain", text)
    before = reached(world.one)
    assert eventually(lambda: world.gateway.ask("plain", text).headers.get("x-litellm-cache-key"))
    assert answer_of(world.gateway.ask("plain", text)) == answer_of(first)
    assert reached(world.one) <= before + 1, "only while the first answer was still being written"
    before = reached(world.one)
    world.gateway.ask("plain", text)
    assert reached(world.one) == before


def test_answers_are_kept_in_the_cache_for_as_long_as_is_set_under_a_name_of_their_own(world: World):
    world.gateway.ask("plain")
    keys = eventually(lambda: re.findall(r"litellm:[0-9a-f]{64}", world.cache.command("KEYS", "litellm:*")))
    (seconds,) = re.findall(r":(-?\d+)", world.cache.command("TTL", keys[0]))
    assert 0 < int(seconds) <= world.emitted.configuration["litellm_settings"]["cache_params"]["ttl"]


def test_questions_that_differ_in_a_parameter_of_vllm_are_not_the_same_question(world: World):
    text = uuid.uuid4().hex
    before = reached(world.one)
    for choice in ("yes", "no"):
        answer_of(world.gateway.ask("plain", text, guided_choice=[choice]))
    assert reached(world.one) == before + 2


def test_a_request_can_ask_for_an_answer_of_its_own(world: World):
    text = uuid.uuid4().hex
    before = reached(world.one)
    for _ in range(3):
        answer_of(world.gateway.ask("plain", text, cache={"no-cache": True}))
    assert reached(world.one) == before + 3


def test_a_model_that_nobody_answers_for_falls_back_to_another_model(world: World):
    assert answer_of(world.gateway.ask("fragile")) == "one"


def test_a_later_order_answers_when_the_first_does_not(world: World):
    assert answer_of(world.gateway.ask("ordered")) == "other"


def test_a_backend_that_fails_is_left_for_another_within_the_same_request(world: World):
    world.other.status = 500
    assert [answer_of(world.gateway.ask("pair")) for _ in range(12)] == ["one"] * 12
    world.other.status = 200
    assert eventually(lambda: answer_of(world.gateway.ask("pair")) == "other"), "it was set aside for ever"


def test_above_its_rate_a_backend_is_not_asked(world: World):
    before = reached(world.other)
    answers = [world.gateway.ask("limited") for _ in range(8)]
    refused = [one for one in answers if one.status_code == 429]
    passed = reached(world.other) - before
    assert len(refused) + passed == len(answers)
    assert 3 <= passed <= 6, "three a minute, and the minute of the clock may have turned"


def test_a_model_that_is_too_slow_is_not_asked_twice(world: World):
    world.other.pause = 3
    before = reached(world.other)
    late = world.gateway.ask("impatient")
    assert late.status_code in (408, 504), late.text
    assert reached(world.other) == before + 1


def test_an_answer_streams_piece_by_piece(world: World):
    world.one.pause = 0.5
    times: list[float] = []
    text = ""
    for event, at in events(world.gateway.ask("plain", stream=True)):
        if content := event["choices"][0]["delta"].get("content"):
            text += content
            times.append(at)
    assert text.split() == [f"one{number}" for number in range(PIECES)]
    assert times[-1] - times[0] > 0.5, "it came at once"


def test_a_backend_that_dies_under_load_costs_no_request_but_those_it_was_busy_with(world: World):
    world.one.pause = world.doomed.pause = 0.02
    busy: list[int] = []

    def ask(number: int) -> int:
        if number == 40:
            busy.append(world.doomed.answering)
            world.doomed.die()
        return world.gateway.ask("doomed-pair").status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(ask, range(120)))
    assert world.doomed.reached > 5, "it had no part in the load"
    failed = [status for status in statuses if status != 200]
    assert len(failed) <= busy[0], f"{failed} failed, {busy[0]} were in flight"


def test_logs_are_json_and_hold_neither_keys_nor_questions(world: World):
    secret = f"confidential-{uuid.uuid4().hex}"
    world.gateway.ask("plain", secret)
    world.gateway.ask("fragile", secret)
    world.gateway.ask("plain", secret, key="sk-wrong0123456789abcdefghijkl")
    time.sleep(1)
    log = world.gateway.log.read_text()
    assert '"level": "INFO"' in log
    assert secret not in log
    assert MASTER not in log
    assert world.cache.password not in log


def test_metrics_tell_backends_apart_on_a_port_without_a_key(world: World):
    world.gateway.ask("plain")
    container = world.emitted.containers["metrics"]
    port = free_port()
    arguments = [*container["args"]]
    arguments[arguments.index("--port") + 1] = str(port)
    python = environment("litellm") / "bin" / "python"
    log = world.gateway.log.with_name("metrics.log")
    variables = {one["name"]: one["value"] for one in container["env"]}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(python), *container["command"][1:], *arguments],
            env={**os.environ, **variables, "PROMETHEUS_MULTIPROC_DIR": str(world.gateway.metrics)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            text = await_answer(f"http://127.0.0.1:{port}/metrics", process, log).text
        finally:
            process.terminate()
            process.wait(timeout=30)
    counted = [line for line in text.splitlines() if line.startswith("litellm_deployment_success_responses_total")]
    assert any('model_id="plain/one"' in line for line in counted), text[:2000]


def test_teams_are_written_in_words_that_the_api_knows(world: World):
    """A word that it does not know would be dropped without a sound, and with it a budget."""
    check = (
        "import json, sys; from litellm.proxy._types import NewTeamRequest, UpdateTeamRequest\n"
        "for team in json.load(sys.stdin):\n"
        "    for kind in (NewTeamRequest, UpdateTeamRequest):\n"
        "        unknown = set(team) - set(kind.model_fields)\n"
        "        assert not unknown, (kind, unknown)\n"
        "        kind.model_validate(team)\n"
        "from litellm.litellm_core_utils.duration_parser import duration_in_seconds\n"
        "assert 27 < duration_in_seconds(team['budget_duration']) / 86400 < 32\n"
    )
    done = subprocess.run(
        [str(environment("litellm") / "bin" / "python"), "-c", check],
        input=json.dumps(declared((TEAM,))),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def second(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    """Another replica on the same cache."""
    with replica(world.emitted, world.cache, tmp_path_factory.mktemp("second")) as found:
        yield found


def test_replicas_share_their_answers(second: Replica, world: World):
    text = uuid.uuid4().hex
    world.gateway.ask("plain", text)
    assert eventually(lambda: "x-litellm-cache-key" in world.gateway.ask("plain", text).headers)
    before = reached(world.one)
    assert answer_of(second.ask("plain", text)) == "one"
    assert reached(world.one) == before


def test_a_replica_that_must_go_finishes_its_answers(second: Replica, world: World):
    world.one.pause = 1.0
    pieces = events(second.ask("plain", stream=True))
    next(pieces)
    second.process.send_signal(signal.SIGTERM)
    rest = "".join(event["choices"][0]["delta"].get("content") or "" for event, _ in pieces)
    assert rest.split() == [f"one{number}" for number in range(1, PIECES)]
    assert second.process.wait(timeout=60) in (0, -signal.SIGTERM)


@pytest.fixture(scope="module")
def client_engine() -> None:
    """Virtual keys, teams and budgets need the database, and its client a program that only its vendor serves."""
    folder = environment("litellm")
    (schema,) = folder.glob("lib/python*/site-packages/litellm/proxy/schema.prisma")
    done = subprocess.run(
        [str(folder / "bin" / "prisma"), "generate", "--schema", str(schema)],
        env={**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:]
        pytest.skip(f"no engine for LiteLLM's database client, so no keys, teams and budgets: {''.join(reason)[-200:]}")


@pytest.fixture(scope="module")
def keeping(
    client_engine: None, world: World, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Replica]:
    """A replica with its database, migrated by the emitted job's command."""
    folder = tmp_path_factory.mktemp("keeping")
    postgres.query("CREATE ROLE litellm LOGIN PASSWORD 'litellm'")
    postgres.query("CREATE DATABASE litellm OWNER litellm")
    # The server's name is nobody's here, so that it is not verified.
    mode = "sslmode=require&sslaccept=accept_invalid_certs" if postgres.tls else "sslmode=disable"
    url = f"postgresql://litellm:litellm@127.0.0.1:{postgres.port}/litellm?{mode}"
    program, *arguments = world.emitted.migrations["command"]
    subprocess.run(
        [str(environment("litellm") / "bin" / program), *arguments],
        cwd=folder,
        env={
            "PATH": f"{environment('litellm') / 'bin'}:{os.environ['PATH']}",
            "HOME": str(folder),
            "DATABASE_URL": url,
        },
        timeout=START_SECONDS,
        check=True,
    )
    with replica(world.emitted, world.cache, folder, url) as found:
        yield found


def key_of_a_team(keeping: Replica) -> str:
    """A new key of the team, which the emitted job's program has made."""
    assert reconcile(Gateway(keeping.url, MASTER), declared((TEAM,))) in ([], [f"{TEAM.name}: created"])
    assert reconcile(Gateway(keeping.url, MASTER), declared((TEAM,))) == []
    headers = {"authorization": f"Bearer {MASTER}"}
    made = requests.post(f"{keeping.url}/key/generate", json={"team_id": TEAM.name}, headers=headers, timeout=30)
    return made.json()["key"]


def test_a_key_of_a_team_is_let_in_and_an_unknown_one_is_not(keeping: Replica):
    assert answer_of(keeping.ask("plain", key=key_of_a_team(keeping))) == "one"
    assert keeping.ask("plain", key="sk-notakey0123456789abcdefghijklmnop").status_code == 401


def test_a_team_over_its_budget_is_refused_until_the_month_is_over(keeping: Replica, world: World):
    key = key_of_a_team(keeping)
    answer_of(keeping.ask("dear", key=key))  # one answer costs more than the month's budget
    refused = eventually(lambda: keeping.ask("dear", key=key).status_code != 200 and keeping.ask("dear", key=key))
    assert "budget" in refused.text.lower()
    assert answer_of(keeping.ask("plain")) == "one", "others are let in"
