"""``python -m ops`` as a user meets it: help, exit codes, JSON, and nothing loaded that is not needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ops.cli import COMMANDS
from ops.cost.cli import app as cost_app

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "plan" / "fixtures"
STATE = str(FIXTURES / "dev.state.json")


def ops(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    # Only what the interpreter itself needs, so that no terminal or colour setting of the caller shines through.
    environment = {"PATH": "/usr/bin:/bin", **variables}
    return subprocess.run(
        [sys.executable, "-m", "ops", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def cost(*arguments: str) -> tuple[int, str, str]:
    """``ops cost`` in this process: its code and what it printed."""
    result = CliRunner().invoke(cost_app, arguments)
    return result.exit_code, result.stdout, result.stderr


def modules_after(*arguments: str) -> set[str]:
    """Packages that a command has imported by the time it ends."""
    program = (
        "import sys\n"
        f"sys.argv = ['ops', *{list(arguments)!r}]\n"
        "import atexit\n"
        "atexit.register(lambda: print('\\n' + ' '.join(sys.modules), file=sys.__stdout__))\n"
        "from ops.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    return set(done.stdout.splitlines()[-1].split())


def test_the_list_of_commands_names_each_and_loads_none():
    answer = ops("--help")
    assert answer.returncode == 0
    assert all(name in answer.stdout for name in COMMANDS)
    loaded = modules_after("--help")
    assert not {command.module for command in COMMANDS.values()} & loaded
    assert not {"pulumi", "pulumi_aws", "boto3", "botocore", "google", "pydantic_settings"} & loaded


def test_pricing_a_stack_needs_neither_pulumi_nor_a_cloud_sdk():
    loaded = modules_after("cost", "--state", STATE, "--json")
    assert "ops.cost.estimation" in loaded
    assert not {name.split(".")[0] for name in loaded} & {"pulumi", "pulumi_aws", "pulumi_policy", "boto3", "botocore"}


def test_a_command_gets_its_own_options_and_its_own_help():
    answer = ops("cost", "--help")
    assert answer.returncode == 0
    assert "--preview" in answer.stdout
    assert "python -m ops cost" in answer.stdout


@pytest.mark.parametrize("arguments", [["nothing"], ["plan"]])
def test_what_cannot_be_understood_ends_with_2_and_no_traceback(arguments: list[str]):
    answer = ops(*arguments)
    assert answer.returncode == 2
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"steps": 1}', '{"deployment": null}'])
def test_a_file_that_is_no_state_ends_with_2_and_says_what_was_expected(tmp_path: Path, content: str):
    path = tmp_path / "state.json"
    path.write_text(content)
    code, _, complaint = cost("--state", str(path))
    assert code == 2
    assert complaint.startswith("ops cost: ")


def test_json_is_json_and_its_lines_add_up_to_its_total():
    _, output, _ = cost("--state", STATE, "--json")
    found = json.loads(output)
    for bound in ("min", "expected", "max"):
        lines = sum(line["usd"][bound] for line in found["lines"])
        assert lines == pytest.approx(found["total"][bound], abs=0.5)  # each line is rounded to cents
        assert sum(one[bound] for one in found["layers"].values()) == pytest.approx(found["total"][bound], abs=0.05)


def test_a_pipe_gets_no_colour_and_whole_names():
    answer = ops("cost", "--state", STATE, TERM="xterm-256color")
    assert answer.returncode == 0
    assert "\x1b[" not in answer.stdout
    assert "foundation-network-nat-us-east-1a" in answer.stdout


def test_above_the_budget_ends_with_1_and_below_with_0():
    assert cost("--state", STATE, "--budget", "100")[0] == 1
    assert cost("--state", STATE, "--budget", "100000")[0] == 0


def test_an_assumption_moves_the_sum_and_an_unknown_one_is_refused():
    def expected(*arguments: str) -> float:
        return json.loads(cost("--state", STATE, "--json", *arguments)[1])["total"]["expected"]

    assert expected("--assume", "nodes.cpu=1") > expected()
    assert cost("--state", STATE, "--assume", "nodes.gpus=1")[0] == 2


def test_without_a_file_and_without_an_engine_the_answer_says_what_to_give(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    code, _, complaint = cost("--stack", "dev")
    assert code == 2
    assert "--state" in complaint
