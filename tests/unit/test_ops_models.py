"""Promotions and the way back: which edit comes next, what is refused, and that nothing else in a file differs."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from ops.models import cli, registry, stages
from ops.models.edit import Change, EditError, edited
from ops.models.served import InRegistry, rows
from ops.models.stages import Registered, StageError
from ops.stack_file import difference
from tests.unit.test_evaluation_gate import Registry as Gate
from tests.unit.test_evaluation_gate import judged

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]

# A small Llama whose 16-bit weights fit anything, as its config.json has it.
SMALL: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
    "tie_word_embeddings": True,
}
LARGE = {**SMALL, "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64}

FILE = """\
# The stack of the chat team.
config:
  aws:region: us-east-1 # not ours
  llmops:owner: ml
  llmops:costCenter: "12"
  llmops:models:
    # The one that everybody uses.
    - name: chat   # what clients say
      source: models:/chat/1 # reviewed by ana

      architecture: meta-llama/Llama-3.2-1B-Instruct
      gpu: {type: a10g, count: 1} # one
      concurrency: 2
      replicas: {min: 1, max: 1}
      objective: {p99Seconds: 10}
    # Another one.
    - name: other
      source: s3://models/other
      architecture: meta-llama/Llama-3.2-1B-Instruct
      gpu: {type: a10g, count: 1}
      concurrency: 2
  llmops:tags:
    a: b
"""


def model_in(text: str, name: str = "chat") -> dict[str, Any]:
    return next(one for one in yaml.safe_load(text)["config"]["llmops:models"] if one["name"] == name)


class TestEdit:
    def test_a_canary_is_added_below_the_source_and_every_other_line_stays(self):
        value = {"source": "models:/chat/2", "percent": 10, "baseline": {}}
        after = edited(FILE, "chat", [Change(path=("canary",), value=value)])

        kept = [line for line in after.splitlines() if line in FILE.splitlines()]
        assert kept == FILE.splitlines()
        assert difference(FILE, after, "f").count("\n+") == 5, "four lines, and the patch's own"
        assert model_in(after)["canary"] == value

    def test_taking_it_out_again_gives_the_very_same_file(self):
        value = {"source": "models:/chat/2", "percent": 10, "baseline": {}}
        after = edited(FILE, "chat", [Change(path=("canary",), value=value)])
        assert edited(after, "chat", [Change(path=("canary",), value=None)]) == FILE

    @pytest.mark.parametrize("newline", ["\n", "\r\n"])
    @pytest.mark.parametrize("ends", [True, False])
    @pytest.mark.parametrize(
        "written",
        [
            "    - {name: chat, source: 's3://models/a', concurrency: 2}",
            "    - {source: s3://models/a, name: chat, canary: {source: models:/chat/2, percent: 10}, refresh: x,}",
            "    - name: chat\n      source: s3://models/a",
            '    - source: "s3://models/a" # why\n      name: chat\n      canary: # of the week\n'
            "        source: models:/chat/2\n        percent: 10 # a tenth\n      # the end\n      refresh: x",
            "    - name: chat\n      source: s3://models/a\n      canary: {source: models:/chat/2, percent: 10} # c",
            "    - name: chat\n      source: s3://models/a\n      canary:\n      refresh:\n      smoke:\n"
            "        prompt: |\n          One word.\n          Or two.\n",
        ],
    )
    def test_however_it_is_written_only_what_is_asked_for_differs(self, written: str, ends: bool, newline: str):
        text = f"config:\n  llmops:models:\n    - name: before\n{written}{chr(10) if ends else ''}".replace(
            "\n", newline
        )
        declared = model_in(text)
        steps = [
            Change(path=("canary",), value={"source": "models:/chat/3", "percent": 5, "baseline": {}}),
            Change(path=("canary", "state"), value="promoted"),
            Change(path=("canary", "percent"), value=50),
            Change(path=("source",), value="models:/chat@production"),
            Change(path=("refresh",), value="version-3: ours"),
            Change(path=("canary",), value=None),
        ]
        comments = [word for word in ("# why", "# the end") if word in text]
        for step in steps:
            text = edited(text, "chat", [step])
            place = declared
            for key in step.path[:-1]:
                place = place[key]
            if step.value is None:
                place.pop(step.path[-1])
            else:
                place[step.path[-1]] = step.value
            assert model_in(text) == declared
            assert all(word in text for word in comments)
            assert ("\r\n" in text) == (newline == "\r\n")
            assert text.count("\n") == text.count(newline)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ('config:\n  llmops:models: \'[{"name": "chat"}]\'\n', "write it as YAML"),
            ("config:\n  llmops:models:\n    - name: other\n", "has no model chat"),
            ("nothing\n", "no stack file"),
            ("a: [", "no YAML"),
            (
                "x: &one\n  source: s3://a\n  percent: 1\nconfig:\n  llmops:models:\n"
                "    - name: chat\n      canary: *one\n    - name: b\n      canary: *one\n",
                "edit model chat: canary.percent: 7",
            ),
        ],
    )
    def test_what_cannot_be_edited_safely_is_left_to_a_person(self, text: str, said: str):
        with pytest.raises(EditError, match=said):
            edited(text, "chat", [Change(path=("canary", "percent"), value=7)])

    @pytest.mark.parametrize("name", ["canary", "tensor-parallel", "triton", "vllm"])
    def test_the_examples_can_be_edited(self, name: str):
        text = (ROOT / "examples" / f"{name}.yaml").read_text()
        model = yaml.safe_load(text)["config"]["llmops:models"][0]["name"]
        after = edited(text, model, [Change(path=("refresh",), value="version-7")])
        assert difference(text, after, "f").count("\n+") == 2


def of(aliases: dict[str, str] | None = None) -> Registered:
    return Registered(name="chat", resolve=lambda alias: (aliases or {}).get(alias, ""))


def written(step: stages.Step) -> dict[str, Any]:
    return {".".join(one.path): one.value for one in step.changes}


class TestSteps:
    def test_from_a_canary_to_the_model_in_three_edits(self):
        declared: dict[str, Any] = {"name": "chat", "source": "models:/chat/1"}
        first = stages.canary(declared, of(), "2", 10)
        assert written(first) == {"canary": {"source": "models:/chat/2", "percent": 10, "baseline": {}}}
        declared["canary"] = written(first)["canary"]
        assert written(stages.canary(declared, of(), "2", 30)) == {"canary.percent": 30}

        assert written(stages.full(declared, of(), "2", alias="production")) == {"canary.state": "promoted"}
        declared["canary"] = {**declared["canary"], "state": "promoted"}
        last = stages.full(declared, of(), "2", alias="production")
        assert written(last) == {"source": "models:/chat/2", "canary": None}
        assert not stages.full({"source": "models:/chat/2"}, of(), "2", alias="production").changes

    def test_a_source_that_names_the_alias_keeps_it_and_is_looked_up_again(self):
        declared = {"source": "models:/chat@production", "canary": {"source": "models:/chat/2", "state": "promoted"}}
        found = stages.full(declared, of({"production": "2"}), "2", alias="production")
        assert written(found) == {"refresh": "version-2", "canary": None}

    @pytest.mark.parametrize(
        "canary",
        [
            None,
            {"source": "models:/chat/3"},
            {"source": "models:/chat/2", "state": "rolled-back"},
            {"source": "s3://m/a"},
        ],
    )
    def test_what_was_no_canary_does_not_become_the_model_unless_a_person_says_so(self, canary: Any):
        declared = {"source": "models:/chat/1", **({"canary": canary} if canary else {})}
        with pytest.raises(StageError, match="no running canary"):
            stages.full(declared, of(), "2", alias="production")
        found = stages.full(declared, of(), "2", alias="production", at_once=True)
        assert written(found)["source"] == "models:/chat/2"

    def test_a_canary_of_what_serves_already_is_refused_and_so_is_one_in_the_middle_of_another(self):
        with pytest.raises(StageError, match="is the model already"):
            stages.canary({"source": "models:/chat@production"}, of({"production": "2"}), "2", 10)
        promoted = {"source": "models:/chat/1", "canary": {"source": "models:/chat/2", "state": "promoted"}}
        with pytest.raises(StageError, match="end that first"):
            stages.canary(promoted, of(), "3", 10)

    @pytest.mark.parametrize("state", ["running", "promoted"])
    def test_a_canary_goes_back_in_one_word_without_asking_what_was_before(self, state: str):
        def nobody() -> str:
            raise AssertionError("not needed")

        declared = {"source": "models:/chat/1", "canary": {"source": "models:/chat/2", "state": state}}
        found = stages.back(declared, of(), target=nobody, alias="production")
        assert (written(found), found.version) == ({"canary.state": "rolled-back"}, "2")

    def test_a_second_rollback_of_a_canary_does_not_take_the_model_back(self):
        declared = {"source": "models:/chat/2", "canary": {"source": "models:/chat/3", "state": "rolled-back"}}
        assert not stages.back(declared, of(), target=lambda: "1", alias="production").changes
        found = stages.back(declared, of(), target=lambda: "1", alias="production", to="1")
        assert written(found) == {"source": "models:/chat/1"}

    def test_without_a_canary_the_version_before_is_the_source_again(self):
        found = stages.back({"source": "models:/chat/2"}, of(), target=lambda: "1", alias="production")
        assert written(found) == {"source": "models:/chat/1"}
        by_alias = {"source": "models:/chat@production", "refresh": "version-2"}
        assert written(stages.back(by_alias, of(), target=lambda: "1", alias="production")) == {"refresh": "version-1"}


class Registry(Gate):
    """The same, with all that the commands ask of a registry."""

    def search_model_versions(self, *given: Any, **more: Any) -> Any:
        page = super().search_model_versions(*given, **more)
        for one in page:
            one.source, one.run_id, one.status, one.creation_timestamp = f"s3://m/{one.version}", "", "READY", 1
        return page

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        self.aliases.pop(alias, None)


class World:
    """A stack's file, its registry, and what the stack said when it was last up."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file = folder / "Pulumi.dev.yaml"
        self.file.write_text(FILE)
        self.registry = Registry(3)
        self.registry.aliases["production"] = "1"
        judged(self.registry, "2")
        judged(self.registry, "3", "refused", "heldOut.loss is 3; at most 2 is allowed")
        self.config: dict[str, Any] = SMALL
        self.serves = {"stable": "1"}
        monkeypatch.chdir(folder)
        monkeypatch.delenv("PULUMI_STACK", raising=False)
        monkeypatch.setattr(registry, "opened", lambda _: self.registry)
        monkeypatch.setattr(registry, "config_of", lambda _: self.config)
        monkeypatch.setattr(cli.Stack, "read", lambda name, **_: cli.Stack(name, False, self.outputs))

    @property
    def outputs(self) -> dict[str, Any]:
        versions = {role: {"source": "models:/chat/1", "weight": 1, "registryVersion": version}
                    for role, version in self.serves.items()}  # fmt: skip
        return {"models": {"chat": {"backend": "vllm", "fallbacks": ["other"], "versions": versions}}}

    def run(self, *arguments: str) -> Any:
        return CliRunner().invoke(cli.app, list(arguments))

    def told(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        answer = self.run(*arguments, "--json")
        assert answer.exit_code == code, answer.output
        return json.loads(answer.stdout)

    @property
    def model(self) -> dict[str, Any]:
        return model_in(self.file.read_text())


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


CANARY = ("promote", "chat", "2", "-s", "dev", "--canary", "10")
FULL = ("promote", "chat", "2", "-s", "dev", "--full")


class TestCommands:
    def test_without_yes_nothing_moves_and_the_edit_is_shown(self, world: World):
        before = world.registry.writes
        answer = world.run(*CANARY)
        assert answer.exit_code == 0, answer.output
        assert "+        percent: 10" in answer.stdout
        assert "--yes" in answer.stderr
        assert (world.registry.writes, world.file.read_text()) == (before, FILE)
        assert world.registry.aliases == {"production": "1"}

    def test_from_canary_to_model_and_back(self, world: World):
        assert world.told(*CANARY, "--why", "better answers", "--yes")["done"]
        assert world.registry.aliases == {"production": "1", "canary": "2"}
        assert world.registry.tags["2"]["llmops.alias.canary.why"] == "better answers"
        assert world.model["canary"] == {"source": "models:/chat/2", "percent": 10, "baseline": {}}

        waits = world.told(*FULL, "--yes", code=1)
        assert [one["name"] for one in waits["checks"] if one["result"] == "refused"] == ["canary"]
        assert world.registry.aliases["production"] == "1", "an edit that was never applied has shown nothing"
        world.serves["canary"] = "2"
        world.told(*FULL, "--yes")
        assert (world.model["canary"]["state"], world.registry.aliases["production"]) == ("promoted", "2")
        world.serves["stable"] = "2"
        world.told(*FULL, "--yes")
        assert (world.model["source"], "canary" in world.model) == ("models:/chat/2", False)
        assert "# reviewed by ana" in world.file.read_text()

        undone = world.told("rollback", "chat", "-s", "dev", "--why", "worse after all", "--yes")
        assert undone["changes"] == [{"path": "source", "value": "models:/chat/1"}]
        assert world.file.read_text() == FILE
        assert world.registry.aliases["production"] == "1"
        again = world.run("rollback", "chat", "-s", "dev", "--yes")
        assert (again.exit_code, "--to goes further" in again.output) == (1, True)

    @pytest.mark.parametrize("state", ["running", "promoted"])
    def test_a_canary_is_taken_back_with_its_aliases(self, world: World, state: str):
        world.told(*CANARY, "--yes")
        world.serves["canary"] = "2"
        if state == "promoted":
            world.told(*FULL, "--yes")
        undone = world.told("rollback", "chat", "-s", "dev", "--yes")
        assert world.model["canary"]["state"] == "rolled-back"
        assert world.registry.aliases == {"production": "1"}
        assert undone["difference"].count("\n+") == 2, "one line, and the patch's own"
        nothing = world.told("rollback", "chat", "-s", "dev", "--yes")
        assert (nothing["changes"], nothing["aliases"]) == ([], [])

    def test_a_canary_is_taken_back_while_the_registry_is_away(self, world: World, monkeypatch: pytest.MonkeyPatch):
        world.told(*CANARY, "--yes")

        def away(_: Any) -> Any:
            raise registry.RegistryError("nobody there")

        monkeypatch.setattr(registry, "opened", away)
        failed = world.run("rollback", "chat", "-s", "dev", "--yes")
        assert (failed.exit_code, "nobody there" in failed.output) == (2, True)
        world.told("rollback", "chat", "-s", "dev", "--without-registry", "--yes")
        assert world.model["canary"]["state"] == "rolled-back"

    def test_everything_that_speaks_against_it_is_said_at_once(self, world: World):
        world.config = LARGE
        world.file.write_text(FILE.replace("concurrency: 2", "concurrency: 2\n      budget: {monthlyUsd: 900}", 1))
        told = world.told("promote", "chat", "3", "-s", "dev", "--canary", "10", "--yes", code=1)
        found = {one["name"]: one["detail"] for one in told["checks"] if one["result"] == "refused"}
        assert set(found) == {"evaluation", "fit", "settings"}
        assert "heldOut.loss is 3" in found["evaluation"]
        assert "budget.monthlyUsd" in found["settings"]
        assert not told["done"]
        assert world.registry.aliases == {"production": "1"}

    def test_weights_that_are_stored_otherwise_than_declared_do_not_fit(self, world: World):
        world.config = {**SMALL, "quantization_config": {"quant_method": "awq"}}
        told = world.told(*CANARY, code=1)
        (detail,) = [one["detail"] for one in told["checks"] if one["result"] == "refused"]
        assert "stored as 'awq'" in detail

    def test_more_than_the_stack_may_cost_is_refused(self, world: World):
        world.file.write_text(FILE + "  llmops:quotas: {maxMonthlyUsd: 1800}\n")
        told = world.told(*CANARY, code=1)
        (detail,) = [one["detail"] for one in told["checks"] if one["result"] == "refused"]
        assert "quotas.maxMonthlyUsd is 1,800" in detail

    def test_weights_that_cannot_be_read_need_a_config_in_a_file(self, world: World, monkeypatch: pytest.MonkeyPatch):
        def unreadable(_: str) -> Any:
            raise registry.RegistryError("access denied")

        monkeypatch.setattr(registry, "config_of", unreadable)
        assert "give the file with --config" in json.dumps(world.told(*CANARY, code=1))
        Path("config.json").write_text(json.dumps(SMALL))
        assert world.told(*CANARY, "--config", "config.json")["allowed"]

    def test_an_alias_alone_needs_no_stack_and_a_version_without_an_evaluation_needs_a_reason(self, world: World):
        assert world.run("promote", "chat", "1", "--alias", "trial", "--yes").exit_code == 1
        world.told("promote", "chat", "1", "--alias", "trial", "--unevaluated", "imported", "--yes")
        assert world.registry.aliases["trial"] == "1"
        assert world.registry.tags["1"]["llmops.alias.trial.unevaluated"] == "imported"
        world.told("promote", "chat", "2", "--yes")
        assert world.registry.aliases["production"] == "2"
        older = world.told("promote", "chat", "1", "--unevaluated", "x", "--yes", code=1)
        assert "version 2 of chat is newer" in json.dumps(older)
        world.told("rollback", "chat", "--yes")
        assert world.registry.aliases["production"] == "1"

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("promote", "chat", "2", "--canary", "10"), "name the stack"),
            (("promote", "chat", "2", "--canary", "10", "--full", "-s", "dev"), "--canary or --full"),
            (("promote", "nobody", "2", "--canary", "10", "-s", "dev"), "its models: chat, other"),
            (("promote", "other", "2", "--canary", "10", "-s", "dev"), "--registered"),
            (("promote", "chat", "2", "--canary", "10", "-s", "absent"), "--settings"),
        ],
    )
    def test_what_cannot_be_understood_ends_with_2_and_what_to_do(self, world: World, arguments: Any, said: str):
        answer = world.run(*arguments)
        assert (answer.exit_code, said in answer.output.replace("\n", " ")) == (2, True), answer.output

    def test_the_list_says_what_is_served_and_what_is_newer(self, world: World):
        world.serves["canary"] = "2"
        stable, canary = world.told("list", "-s", "dev")
        assert (stable["version"], stable["percent"], stable["fallbacks"]) == ("1", 50, ["other"])
        assert (stable["newest"], stable["newestPassed"], stable["behind"]) == ("3", "2", True)
        assert (stable["aliases"], canary["aliases"]) == (["production"], [])
        assert "behind" in world.run("list", "-s", "dev").stdout

    def test_a_failure_of_the_registry_is_no_refusal(self, world: World):
        def away() -> None:
            raise ConnectionError("nobody there")

        world.registry.step = away
        failed = world.run("promote", "chat", "2")
        assert (failed.exit_code, "nobody there" in failed.output) == (2, True)
        assert world.told("list", "-s", "dev")[0]["behind"] is None, "what is served is said all the same"


def test_outputs_of_an_older_program_say_less_and_nothing_wrong():
    told = {"chat": {"backend": "vllm", "versions": {"stable": {"source": "models:/chat@production"}}}}
    (row,) = rows(told, {"chat": InRegistry(aliases={"production": "4"})})
    assert (row.version, row.percent, row.behind) == ("", None, None)


def test_what_had_the_alias_before_is_found_without_a_record_too():
    """Versions that pipelines promoted with an older image have marks alone."""
    found = Registry(4)
    for version, state in (("1", "held"), ("2", "held"), ("3", "withdrawn"), ("4", "held")):
        found.tags[version]["llmops.alias.production"] = state
    found.aliases["production"] = "4"
    assert registry.previous(found, "chat", "production") == "2"


def test_without_an_address_the_way_to_the_registry_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(registry.RegistryError, match="port-forward service/mlflow"):
        registry.opened(None)
    up = cli.Stack("dev", False, {"modelRegistry": {"url": "http://127.0.0.1:1"}})
    with pytest.raises(registry.RegistryError, match=r"\(http://127.0.0.1:1\) cannot be reached"):
        registry.opened(up)


def test_names_of_the_registry_with_version_alias_or_neither():
    found = SimpleNamespace(
        get_registered_model=lambda _: SimpleNamespace(aliases={"production": "3", "trial": "4"}),
        search_model_versions=Registry(5).search_model_versions,
    )
    assert cli._named(found, "chat/2") == ("chat", "2")
    assert cli._named(found, "chat@trial") == ("chat", "4")
    assert cli._named(found, "chat") == ("chat", "3")
