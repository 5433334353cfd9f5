"""What every rehearsal of a restore says: to the cluster, where metrics are made of it, and to MLflow."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

EXPERIMENT = "recovery-drills"
# As the pod was told: MLflow's own client, where a program uses it, changes the variable.
_TRACKING_URI = os.environ.get("MLFLOW_TRACKING_URI", "")
_ACCOUNT = Path(os.environ.get("SERVICE_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
_TIMEOUT_SECONDS = 60
_TRIES, _PAUSE_SECONDS = 5, float(os.environ.get("PAUSE_SECONDS", "6"))
_DETAIL_CHARACTERS = 600
_CHECKS = 300  # of one record: all records are in one ConfigMap, which holds a mebibyte
_TAGS = 90  # of one request to MLflow, which takes 100


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was compared.

    Attributes:
        name: What.
        passed: Whether it is as it must be.
        detail: Numbers, or what differs.
    """

    name: str
    passed: bool
    detail: str


@dataclass(kw_only=True)
class Drill:
    """One rehearsal, as it goes on.

    Attributes:
        name: ``registry``, ``vectors`` or ``cluster``.
        started_at: Seconds since 1970.
        source: What was restored, such as the name of a backup.
        recovery_time_seconds: From the beginning of the restore until what was restored answers; none before it does.
        recovery_point_seconds: How old the restored state is: what would be lost. None where it cannot be seen.
        time_objective_seconds: What the first may be.
        point_objective_seconds: What the second may be.
        checks: What was compared.
        files: Digests of files that never change, by what they belong to; the next drill compares with them.
        absent: What lived and was not in the backup; what the next drill misses again was never backed up.
        steps: Seconds that each step took.
        amounts: How much there was of what was restored: rows, entities, bytes.
        loaded: The registered model that was loaded, and how far.
        pod: Who carries it out.
    """

    name: str
    started_at: float = field(default_factory=time.time)
    source: str = ""
    recovery_time_seconds: float | None = None
    recovery_point_seconds: float | None = None
    time_objective_seconds: float = 0
    point_objective_seconds: float = 0
    checks: list[Check] = field(default_factory=list[Check])
    files: dict[str, str] = field(default_factory=dict[str, str])
    absent: list[str] = field(default_factory=list[str])
    steps: dict[str, float] = field(default_factory=dict[str, float])
    amounts: dict[str, int] = field(default_factory=dict[str, int])
    loaded: dict[str, Any] = field(default_factory=dict[str, Any])
    pod: str = field(default_factory=socket.gethostname)

    @classmethod
    def of_environment(cls, name: str) -> Drill:
        """With the objectives that the pod was told."""
        return cls(
            name=name,
            time_objective_seconds=float(os.environ["TIME_OBJECTIVE_SECONDS"]),
            point_objective_seconds=float(os.environ["POINT_OBJECTIVE_SECONDS"]),
        )

    def check(self, name: str, detail: str, *, passed: bool) -> None:
        """Note one comparison."""
        self.checks.append(Check(name=name, passed=passed, detail=detail[:_DETAIL_CHARACTERS]))

    @contextlib.contextmanager
    def step(self, name: str) -> Generator[None]:
        """Measure a step; one that is done in parts has the sum of them. What fails took its time too."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.steps[name] = self.steps.get(name, 0.0) + time.monotonic() - began

    def after(self, work: Path) -> None:
        """Take over what the containers before this one wrote down: when they began, and how long each step took."""
        if (began := work / "began").exists():
            self.started_at = float(began.read_text())
        if (steps := work / "steps").exists():
            for line in steps.read_text().splitlines():
                name, seconds = line.split()
                self.steps[name] = float(seconds)

    @property
    def passed(self) -> bool:
        """Something was compared, and everything is as it must be."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    def record(self, previous: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What is kept of it; ``previous`` is what was kept of the drill before."""
        before = previous or {}
        finished = time.time()
        return {
            "drill": self.name,
            "passed": self.passed,
            "source": self.source,
            "startedAt": round(self.started_at),
            "finishedAt": round(finished),
            "lastPassedAt": round(finished) if self.passed else before.get("lastPassedAt", 0),
            "recoveryTimeSeconds": _rounded(self.recovery_time_seconds),
            "recoveryPointSeconds": _rounded(self.recovery_point_seconds),
            "objectives": {"timeSeconds": self.time_objective_seconds, "pointSeconds": self.point_objective_seconds},
            "checks": [asdict(check) for check in self._told()],
            "files": {**before.get("files", {}), **self.files} if not self.passed else self.files,
            "absent": self.absent,
            "steps": {name: round(seconds, 2) for name, seconds in self.steps.items()},
            "amounts": self.amounts,
            "loaded": self.loaded,
            "pod": self.pod,
        }

    def _told(self) -> list[Check]:
        """As many checks as a record has room for, those that failed before all others."""
        if len(self.checks) <= _CHECKS:
            return self.checks
        told = sorted(self.checks, key=lambda check: check.passed)
        left = told[_CHECKS - 1 :]
        more = f"{len(left)}, {sum(not check.passed for check in left)} of them failed"
        return [*told[: _CHECKS - 1], Check(name="further checks", passed=all(c.passed for c in left), detail=more)]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def run(
    drill: Drill,
    steps: Callable[[Drill, Mapping[str, Any]], None],
    clean: Callable[[], None],
    holds: Callable[[], bool] = lambda: True,
) -> int:
    """Carry a drill out, clean up whatever happens, and tell of it; returns the exit code.

    Args:
        drill: What is carried out.
        steps: Compares; it is given the record of the drill before.
        clean: Removes what was restored.
        holds: Whether what was restored is this drill's: what another one restored is neither judged nor removed.
    """
    previous: dict[str, Any] = {}
    only_clean = os.environ.get("ONLY_CLEAN") == "true"
    try:
        # Also of one that only cleans up: should that fail, its record must not lose when a drill last passed.
        previous = kept(drill.name)
        if not holds():
            print("another drill is under way: nothing is compared, and nothing is removed", file=sys.stderr)
            return 1
        if not only_clean:
            steps(drill, previous)
    except Exception as error:  # whatever it is, the drill has failed, and says why
        drill.check("the drill came to its end", f"{type(error).__name__}: {error}", passed=False)
    except SystemExit:  # told to stop
        clean_up(drill, clean)
        raise
    # From here on nothing is left to stop: being told so in the middle of cleaning up would leave the rest.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    clean_up(drill, clean)
    if only_clean and not drill.checks:
        return 0
    return tell(drill, previous)


def tell(drill: Drill, previous: Mapping[str, Any]) -> int:
    """Write down what was found; returns the exit code."""
    record = drill.record(previous)
    print(json.dumps(record))
    keep(drill.name, record)
    try:
        log(record)
    # The drill has its result, and MLflow is not what was rehearsed.
    except (OSError, KeyError, ValueError, http.client.HTTPException) as error:
        print(f"MLflow was not told: {error}", file=sys.stderr)
    return 0 if drill.passed else 1


def stop(number: int, _: FrameType | None) -> None:
    """End the program by an exception, which runs through what cleans up."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + number)


def clean_up(drill: Drill, clean: Callable[[], None]) -> None:
    """Remove what was restored; a drill that leaves something behind has failed."""
    try:
        with drill.step("clean-up"):
            clean()
    except Exception as error:  # as above
        drill.check("nothing is left behind", f"{type(error).__name__}: {error}", passed=False)


def kept(name: str) -> dict[str, Any]:
    """What is kept of the last drill; empty where there was none."""
    data, _ = records()
    try:
        return json.loads(data.get(f"{name}.json", "{}"))
    except ValueError:
        return {}


def keep(name: str, record: Mapping[str, Any]) -> None:
    """Write it into the ConfigMap that metrics are made from."""
    change({f"{name}.json": json.dumps(record)})


def records() -> tuple[dict[str, str], str]:
    """Keys and values of the ConfigMap, and its version."""
    found = _patiently("GET", None)
    return found.get("data") or {}, found.get("metadata", {}).get("resourceVersion", "")


def change(data: Mapping[str, str | None], version: str = "") -> None:
    """Change keys of the ConfigMap; None removes one. With a ``version`` only where nobody has written since."""
    metadata = {"metadata": {"resourceVersion": version}} if version else {}
    _patiently("PATCH", {"data": dict(data), **metadata})


def _patiently(method: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
    """Ask the API server, which may be away for a moment: the result of hours should not be lost by that."""
    for left in reversed(range(_TRIES)):
        headers = {**_cluster(), "Content-Type": "application/merge-patch+json"}
        try:
            return _asked(method, os.environ["RECORDS_URL"], headers, body)
        except (OSError, http.client.HTTPException) as error:
            lasting = isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code != 429
            if lasting or not left:
                raise
        time.sleep(_PAUSE_SECONDS)
    raise AssertionError("the last try returns or raises")


def log(record: Mapping[str, Any]) -> None:
    """A run of the experiment :data:`EXPERIMENT`."""
    api = f"{_TRACKING_URI}/api/2.0/mlflow"
    login = f"{os.environ['MLFLOW_TRACKING_USERNAME']}:{os.environ['MLFLOW_TRACKING_PASSWORD']}"
    headers = {
        "Authorization": f"Basic {base64.b64encode(login.encode()).decode()}",
        "Content-Type": "application/json",
    }

    def ask(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return _asked("POST", f"{api}/{path}", headers, body)

    try:
        found = _asked("GET", f"{api}/experiments/get-by-name?experiment_name={EXPERIMENT}", headers)
        experiment = found["experiment"]["experiment_id"]
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        experiment = ask("experiments/create", {"name": EXPERIMENT})["experiment_id"]
    began, ended = record["startedAt"] * 1000, record["finishedAt"] * 1000
    made = ask(
        "runs/create",
        {"experiment_id": experiment, "run_name": f"{record['drill']}-{record['startedAt']}", "start_time": began},
    )
    run_id = made["run"]["info"]["run_id"]
    numbers = {
        "passed": 1.0 if record["passed"] else 0.0,
        "recovery_time_seconds": record["recoveryTimeSeconds"],
        "recovery_point_seconds": record["recoveryPointSeconds"],
    }
    metrics = [
        {"key": key, "value": value, "timestamp": ended, "step": 0}
        for key, value in {
            **numbers,
            **{f"step_seconds/{name}": seconds for name, seconds in record["steps"].items()},
            **{f"amount/{name}": amount for name, amount in record["amounts"].items()},
        }.items()
        if value is not None
    ]
    tags = [
        {"key": "drill", "value": record["drill"]},
        {"key": "source", "value": record["source"]},
        *(
            {"key": f"check.{number}", "value": f"{_word(one)}: {one['name']}: {one['detail']}"}
            for number, one in enumerate(record["checks"], 1)
        ),
    ]
    for begin in range(0, len(tags), _TAGS):
        some = tags[begin : begin + _TAGS]
        ask("runs/log-batch", {"run_id": run_id, "metrics": metrics if begin == 0 else [], "tags": some})
    status = "FINISHED" if record["passed"] else "FAILED"
    ask("runs/update", {"run_id": run_id, "status": status, "end_time": ended})


def _word(check: Mapping[str, Any]) -> str:
    return "passed" if check["passed"] else "failed"


def _cluster() -> dict[str, str]:
    return {"Authorization": f"Bearer {(_ACCOUNT / 'token').read_text().strip()}"}


def _asked(method: str, url: str, headers: Mapping[str, str], body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    context = None
    if url == os.environ.get("RECORDS_URL") and url.startswith("https:"):
        context = ssl.create_default_context(cafile=str(_ACCOUNT / "ca.crt"))
    request = urllib.request.Request(
        url, method=method, data=None if body is None else json.dumps(body).encode(), headers=dict(headers)
    )
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS, context=context) as answer:
        return json.loads(answer.read() or b"{}")
