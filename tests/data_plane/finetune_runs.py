"""Handles on runs of the training program: started, interrupted, waited for, and read."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import textwrap
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.data_plane.environments import environment

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "workloads" / "training" / "image"
PATIENCE_SECONDS = 600


def interpreter() -> Path:
    """Python with what the image has; several GB, once. Where they cannot be had the test is skipped."""
    return environment("training", IMAGE / "requirements.txt") / "bin" / "python"


@dataclass
class Run:
    """One process of the program."""

    number: int
    log: Path
    codes: queue.Queue[int]

    def lines(self) -> list[dict[str, Any]]:
        """What it has told so far."""
        found: list[dict[str, Any]] = []
        for line in self.log.read_text().splitlines():
            if line.startswith("{") and line.endswith("}"):
                found.append(json.loads(line))
        return found

    def losses(self) -> dict[int, float]:
        """Loss by step."""
        return {one["step"]: one["loss"] for one in self.lines() if "loss" in one}

    def until(self, message: str, **facts: Any) -> dict[str, Any]:
        """Wait for a line."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            for line in self.lines():
                if line["message"] == message and facts.items() <= line.items():
                    return line
            try:
                code = self.codes.get(timeout=0.02)
            except queue.Empty:
                continue
            self.codes.put(code)
            assert any(one["message"] == message and facts.items() <= one.items() for one in self.lines()), (
                f"ended with {code} before {message}: {self.log.read_text()[-4000:]}"
            )
        raise AssertionError(f"no {message}: {self.log.read_text()[-4000:]}")

    def stop(self, number: signal.Signals) -> int:
        """Send a signal, and wait."""
        os.kill(self.number, number)
        return self.wait()

    def wait(self) -> int:
        """Its exit code."""
        code = self.codes.get(timeout=PATIENCE_SECONDS)
        self.codes.put(code)
        return code

    def done(self) -> None:
        """Wait for a good end."""
        code = self.wait()
        assert code == 0, f"{code}: {self.log.read_text()[-4000:]}"


@dataclass
class Program:
    """The loaded program, from which runs are forked."""

    folder: Path
    server: subprocess.Popen[str]
    environment: Mapping[str, str]
    answers: queue.Queue[int] = field(default_factory=queue.Queue[int])
    codes: dict[int, queue.Queue[int]] = field(default_factory=dict[int, "queue.Queue[int]"])
    _count: int = 0

    def start(self, config: Mapping[str, Any], **variables: str) -> Run:
        """Start a run; each has a folder of its own, as a pod has."""
        return self._started({"config": config}, variables)

    def launched(self, command: Sequence[str], **variables: str) -> Run:
        """Start a command of a pod as it is, in a new process of the image's Python."""
        place = self._place()
        with (place / "log").open("w") as log:
            process = subprocess.Popen(
                [str(interpreter().with_name(command[0])), *command[1:]],
                env={**self.environment, "FINETUNE_FOLDER": str(place / "work"), **variables},
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=place,
            )
        codes = self.codes.setdefault(process.pid, queue.Queue())
        threading.Thread(target=lambda: codes.put(process.wait()), daemon=True).start()
        return Run(process.pid, place / "log", codes)

    def executed(self, source: str) -> Run:
        """A script in place of the program; it has the loaded libraries too."""
        return self._started({"source": textwrap.dedent(source)}, {})

    def said(self, source: str) -> Any:
        """What a script prints last, as JSON."""
        run = self.executed(source)
        run.done()
        return json.loads(run.log.read_text().splitlines()[-1])

    def _started(self, what: Mapping[str, Any], variables: Mapping[str, str]) -> Run:
        place = self._place()
        asked = {
            **what,
            "environment": {"FINETUNE_FOLDER": str(place / "work"), **variables},
            "log": str(place / "log"),
        }
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps(asked) + "\n")
        self.server.stdin.flush()
        number = self.answers.get(timeout=PATIENCE_SECONDS)
        return Run(number, place / "log", self.codes.setdefault(number, queue.Queue()))

    def _place(self) -> Path:
        self._count += 1
        place = self.folder / f"run-{self._count}"
        place.mkdir()
        (place / "log").touch()
        return place

    def listen(self) -> None:
        """Take the server's answers."""
        assert self.server.stdout is not None
        for line in self.server.stdout:
            if not line.startswith("{"):
                continue
            said = json.loads(line)
            if "ready" in said:
                self.answers.put(0)
            elif "started" in said:
                self.codes.setdefault(said["started"], queue.Queue())
                self.answers.put(said["started"])
            else:
                self.codes.setdefault(said["ended"], queue.Queue()).put(said["code"])


@contextmanager
def program(folder: Path, variables: Mapping[str, str]) -> Generator[Program]:
    """The program, loaded.

    Args:
        folder: Where runs write.
        variables: Environment of all runs.
    """
    python = interpreter()
    paths = [str(ROOT), str(IMAGE), *([variables["PYTHONPATH"]] if variables.get("PYTHONPATH") else [])]
    log = folder / "server.log"
    environment_of_all = {
        **os.environ,
        **variables,
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": "1",
        "DS_ACCELERATOR": "cpu",
        "HF_HUB_OFFLINE": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",  # a thread that a fork would lose
    }
    with log.open("w") as errors:
        server = subprocess.Popen(
            [str(python), str(ROOT / "tests" / "data_plane" / "finetune_server.py")],
            env=environment_of_all,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=folder,
        )
        found = Program(folder, server, environment_of_all)
        threading.Thread(target=found.listen, daemon=True).start()
        try:
            try:
                found.answers.get(timeout=PATIENCE_SECONDS)
            except queue.Empty:
                pytest.fail(f"the program does not load: {log.read_text()[-3000:]}")
            yield found
        finally:
            for number, codes in found.codes.items():
                if codes.empty():
                    os.kill(number, signal.SIGKILL)
            server.kill()
            server.wait(timeout=60)


def made(loaded: Program, folder: Path) -> dict[str, Any]:
    """A tiny model and data in a folder, as :mod:`tests.data_plane.finetune_material` makes them."""
    source = f"""
        import sys
        from pathlib import Path
        sys.path.insert(0, {str(ROOT / "tests" / "data_plane")!r})
        from finetune_material import main
        main(Path({str(folder)!r}))
    """
    return loaded.said(source)
