"""The workflows: what GitHub would refuse, and what would make them unsafe."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import paths
from sandbox.toolchain import gobuild

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
ACTIONS = sorted((GITHUB / "actions").glob("*/action.yml"))
# renovate: datasource=go depName=github.com/rhysd/actionlint
ACTIONLINT_VERSION = "v1.7.12"
MAY_WRITE = {
    ("comment.yml", "pull-requests"): "the plan report",
    ("drift.yml", "issues"): "the drift issue",
}


def document(path: Path) -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as true; GitHub does not.
    return {("on" if key is True else key): value for key, value in yaml.safe_load(path.read_text()).items()}


def jobs() -> Iterator[tuple[Path, str, dict[str, Any]]]:
    for path in WORKFLOWS:
        for name, job in document(path)["jobs"].items():
            yield path, name, job


def test_actionlint_finds_nothing():
    program = shutil.which("actionlint") or _built()
    answer = subprocess.run([program, "-no-color", *map(str, WORKFLOWS)], capture_output=True, text=True, check=False)

    assert answer.stdout + answer.stderr == ""


def _built() -> str:
    name = f"actionlint-{ACTIONLINT_VERSION.removeprefix('v')}"
    module = gobuild.Module(go="1.25.0", requires={"github.com/rhysd/actionlint": ACTIONLINT_VERSION})
    try:
        folder = gobuild.build(
            name, module, ("github.com/rhysd/actionlint/cmd/actionlint",), paths.cache_dir(), lambda _line: None
        )
    except gobuild.BuildError as error:
        pytest.skip(f"no actionlint on PATH, and it cannot be built: {error}")
    return str(folder / "actionlint")


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda path: str(path.relative_to(GITHUB)))
def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it(path: Path):
    used = re.findall(r"uses: (\S+)(.*)", path.read_text())
    foreign = [(action, comment) for action, comment in used if not action.startswith("./")]

    for action, comment in foreign:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action), action
        assert re.match(r" # v\d+\.\d+\.\d+", comment), f"{action} says no version: Renovate could not move it"


def test_an_action_has_one_pin_everywhere():
    pins = {pin for path in (*WORKFLOWS, *ACTIONS) for pin in re.findall(r"uses: ([^.\s]\S+@\S+)", path.read_text())}
    names = [pin.partition("@")[0].removesuffix("/restore") for pin in pins]
    commits = {pin.partition("@")[2] for pin in pins}

    assert len(commits) == len(set(names))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_starts_with_reading_and_a_job_adds_only_what_it_needs(path: Path):
    workflow = document(path)
    assert workflow["permissions"] == {"contents": "read"}

    for name, job in workflow["jobs"].items():
        for scope, level in job.get("permissions", {}).items():
            if level != "write" or scope == "id-token":
                continue
            assert (path.name, scope) in MAY_WRITE, f"{path.name}: {name} may write {scope}"


def test_every_job_ends_by_itself_and_keeps_no_token_in_the_checkout():
    for path, name, job in jobs():
        if "uses" in job:  # a called workflow's jobs say it themselves
            continue
        assert job["timeout-minutes"] <= 120, f"{path.name}: {name}"
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, f"{path.name}: {name}"


def test_no_pull_request_runs_with_a_token_that_writes_or_with_credentials_of_a_fork():
    """The code of a pull request runs in preview.yml and ci.yml alone, and comment.yml runs none of it."""
    for path in WORKFLOWS:
        workflow = document(path)
        events = workflow["on"] if isinstance(workflow["on"], dict) else {workflow["on"]: None}
        assert "pull_request_target" not in events, path.name
        if "pull_request" in events:
            for name, job in workflow["jobs"].items():
                granted = job.get("permissions", {})
                writes = {scope for scope, level in granted.items() if level == "write"}
                assert writes <= {"id-token"}, f"{path.name}: {name}"
                if writes:
                    assert "head.repo.full_name == github.repository" in job["if"], f"{path.name}: {name}"
        if "workflow_run" in events:
            for job in workflow["jobs"].values():
                checkouts = [one for one in job["steps"] if one.get("uses", "").startswith("actions/checkout@")]
                assert all("ref" not in one["with"] for one in checkouts), "only the default branch's code"


def test_no_shell_line_holds_what_somebody_else_chose():
    """``${{ }}`` in a script is text that the shell then reads: a branch's name could be a command."""
    for path, name, job in jobs():
        for step in job.get("steps", []):
            assert "${{" not in step.get("run", ""), f"{path.name}: {name}: {step.get('name')}"
    for path in ACTIONS:
        for step in document(path)["runs"]["steps"]:
            assert "${{" not in step.get("run", ""), path.name


def test_who_changes_an_environment_waits_for_who_else_does():
    up = document(GITHUB / "workflows" / "up-stack.yml")["jobs"]

    assert up["up"]["needs"] == "plan"
    assert up["up"]["environment"] == "${{ inputs.stack }}"
    assert up["up"]["concurrency"] == {"group": "up-${{ inputs.stack }}", "cancel-in-progress": False}
    assert up["plan"]["environment"] != up["up"]["environment"]


@pytest.mark.parametrize("file", [*(path.name for path in WORKFLOWS)])
def test_whatever_plans_or_changes_a_stack_asks_the_policies(file: str):
    text = (GITHUB / "workflows" / file).read_text()
    for line in re.findall(r"pulumi (?:up|preview)\b.*", text):
        assert "--policy-pack policies" in line, line
    assert "--policy-pack policies" in (ROOT / "scripts" / "plan-report").read_text()


def test_the_engine_of_the_workflows_is_the_one_that_is_pinned():
    from sandbox.engine import VERSION

    found = [
        version for path in (*WORKFLOWS, *ACTIONS) for version in re.findall(r"pulumi-version: (\S+)", path.read_text())
    ]
    assert found == [VERSION]


def test_the_scripts_have_no_error_that_bash_can_see():
    for script in (ROOT / "scripts").iterdir():
        answer = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
        assert answer.stderr == "", script.name
        assert script.stat().st_mode & 0o111, f"{script.name} cannot be run"
