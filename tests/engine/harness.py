"""The sandbox's command line, run as a user runs it, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sandbox.kubernetes.cluster import Cluster
from sandbox.store import Record, Store

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE_SECONDS = 120  # a watched condition that has not come by then never will
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Answer:
    """How a command ended, and what it said."""

    code: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        return self.stdout + self.stderr


@dataclass(frozen=True)
class Sandbox:
    """The sandbox's command line on a program.

    Attributes:
        project: Directory with Pulumi.yaml, the stack files and __main__.py.
        home: Where the sandbox keeps its state.
        variables: Further environment variables.
    """

    project: Path
    home: Path
    variables: dict[str, str] = field(default_factory=dict[str, str])
    _started: list[subprocess.Popen[str]] = field(default_factory=list[subprocess.Popen[str]])

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "SANDBOX_PROJECT": str(self.project),
            "SANDBOX_HOME": str(self.home),
            "PYTHONPATH": str(ROOT),
            "SANDBOX_SAVE": "each",  # tests look into the state while it grows, and kill what writes it
            **self.variables,
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command in a process group of its own."""
        process = subprocess.Popen(
            [sys.executable, "-m", "sandbox", *arguments], cwd=self.project, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self._started.append(process)
        return process

    def end(self) -> None:
        """Kill what a failed test left running."""
        for process in self._started:
            if process.poll() is None:
                kill_group(process)

    def run(self, *arguments: str) -> Answer:
        """Run a command of the sandbox's own."""
        process = self.start(*arguments)
        stdout, stderr = process.communicate()
        return Answer(process.returncode, stdout, stderr)

    def pulumi(self, *arguments: str) -> Answer:
        """Run an engine command, whatever comes of it."""
        return self.run("--", "pulumi", *arguments)

    def succeed(self, *arguments: str) -> str:
        """Run an engine command that must succeed, and return what it printed."""
        answer = self.pulumi(*arguments)
        assert answer.code == 0, answer.text
        assert "Traceback" not in answer.text, answer.text
        return answer.text

    def up(self, *arguments: str) -> str:
        return self.succeed("up", "--yes", "--skip-preview", *arguments)

    def destroy(self, *arguments: str) -> str:
        return self.succeed("destroy", "--yes", "--skip-preview", *arguments)

    def export(self, *arguments: str) -> dict[str, Any]:
        answer = self.run("--quiet", "--", "pulumi", "stack", "export", *arguments)
        assert answer.code == 0, answer.text
        return json.loads(answer.stdout)

    def state(self, stack: str = "dev") -> dict[str, dict[str, Any]]:
        """Resources in the engine's own file by name, components and providers too; secrets are ciphertext."""
        (checkpoint,) = (self.home / "state" / ".pulumi" / "stacks").glob(f"*/{stack}.json")
        resources = json.loads(checkpoint.read_text())["checkpoint"]["latest"].get("resources") or []
        return {resource["urn"].rsplit("::", 1)[1]: resource for resource in resources}

    def outputs(self, stack: str = "dev") -> dict[str, Any]:
        stacks = [resource for resource in self.state(stack).values() if resource["type"] == "pulumi:pulumi:Stack"]
        return stacks[0]["outputs"]

    def account(self, stack: str = "dev") -> list[Record]:
        return self._records(stack, "account.sqlite")

    def recorded_objects(self, stack: str = "dev") -> list[Record]:
        return self._records(stack, "kubernetes/recorded.sqlite")

    def _records(self, stack: str, database: str) -> list[Record]:
        path = self.home / "stacks" / stack / database
        if not path.exists():
            return []
        store = Store(path)
        try:
            return store.records()
        finally:
            store.close()

    def write(self, program: str) -> None:
        """Replace the program."""
        (self.project / "__main__.py").write_text(textwrap.dedent(program))


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for a condition that comes while a process runs."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert process.poll() is None, "".join(process.communicate())
        assert time.monotonic() < deadline, "what the test waits for never came"
        time.sleep(_POLL_SECONDS)


def engine_of(process: subprocess.Popen[str]) -> int:
    """Process id of the ``pulumi`` that a sandbox process runs; waits for it."""
    found: list[int] = []

    def search() -> bool:
        listed = subprocess.run(
            ["ps", "-ww", "-Ao", "pid=,ppid=,args="], capture_output=True, text=True, check=True
        ).stdout
        for line in listed.splitlines():
            pid, parent, command = line.split(None, 2)
            program, _, arguments = command.partition(" ")
            if int(parent) == process.pid and program.endswith("/pulumi") and arguments.split()[0] in ("up", "destroy"):
                found.append(int(pid))
        return bool(found)

    wait_until(search, process)
    return found[0]


def wait_for_end_of(pid: int) -> None:
    """Wait for a process that is not our child."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(_POLL_SECONDS)
    raise AssertionError(f"process {pid} does not end")


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill everything that a sandbox process started in its own session, as a power cut would."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _errors(events: str) -> str:
    """The errors in a stream of engine events, and what the policies refused."""
    said = [json.loads(line) for line in events.splitlines() if line.startswith("{")]
    errors = [event["message"] for one in said if (event := one.get("diagnosticEvent", {})).get("severity") == "error"]
    refused = [
        f"{event['policyName']}: {event.get('resourceUrn', '')}: {event['message']}"
        for one in said
        if (event := one.get("policyEvent", {})).get("enforcementLevel") == "mandatory"
    ]
    return "\n".join([*refused, *errors])


class FullStack:
    """A stack of the shipped program, brought up when it is first needed.

    What the engine said is kept, so that several modules can look at one run.
    """

    def __init__(self, stack: str, home: Path) -> None:
        self.stack = stack
        self.sandbox = Sandbox(ROOT, home, {"SANDBOX_SAVE": ""})  # saving each step is most of the time of an `up`

    @cached_property
    def up(self) -> Answer:
        """The first ``up``, held to the policies; its output is the stream of the engine's events."""
        pack = str(ROOT / "policies")
        answer = self.sandbox.pulumi(
            "up", "--yes", "--skip-preview", "--json", "--policy-pack", pack, "-s", self.stack
        )  # fmt: skip
        assert answer.code == 0, f"{_errors(answer.stdout)}\n{answer.stderr}"
        return answer

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Events of one kind of the first ``up``, such as ``policyEvent``."""
        lines = (json.loads(line) for line in self.up.stdout.splitlines() if line.startswith("{"))
        return [line[kind] for line in lines if kind in line]

    @cached_property
    def again(self) -> Answer:
        """The second ``up``, which shows every property."""
        assert self.up
        return self.sandbox.pulumi(
            "up", "--yes", "--skip-preview", "--diff", "--show-sames", "--expect-no-changes", "-s", self.stack
        )

    @cached_property
    def exported(self) -> dict[str, Any]:
        """The state after the first ``up``; secrets are ciphertext."""
        assert self.up
        return self.sandbox.export("-s", self.stack)

    @cached_property
    def exported_in_clear(self) -> dict[str, Any]:
        """The same with secrets in plain text."""
        assert self.up
        return self.sandbox.export("--show-secrets", "-s", self.stack)

    def stop(self) -> None:
        """Stop its control plane, if one was started."""
        Cluster(self.sandbox.home / "stacks" / self.stack / "kubernetes").down()
