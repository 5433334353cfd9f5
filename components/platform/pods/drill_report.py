"""What every rehearsal of a restore says: to the cluster, where metrics are made of it, and to MLflow."""

from __future__ import annotations

import base64
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

EXPERIMENT = "recovery-drills"
# As the pod was told: MLflow's own client, where a program uses it, changes the variable.
_TRACKING_URI = os.environ.get("MLFLOW_TRACKING_URI", "")
_ACCOUNT = Path(os.environ.get("SERVICE_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
_TIMEOUT_SECONDS = 60
_DETAIL_CHARACTERS = 600


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
            "checks": [asdict(check) for check in self.checks],
            "files": {**before.get("files", {}), **self.files} if not self.passed else self.files,
        }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def run(drill: Drill, steps: Callable[[Drill, Mapping[str, Any]], None], clean: Callable[[], None]) -> int:
    """Carry a drill out, clean up whatever happens, and tell of it; returns the exit code."""
    previous: dict[str, Any] = {}
    try:
        if os.environ.get("ONLY_CLEAN") == "true":
            clean()
            return 0
        previous = kept(drill.name)
        steps(drill, previous)
    except Exception as error:  # whatever it is, the drill has failed, and says why
        drill.check("the drill came to its end", f"{type(error).__name__}: {error}", passed=False)
    finally:
        clean_up(drill, clean)
    record = drill.record(previous)
    print(json.dumps(record))
    keep(drill.name, record)
    try:
        log(record)
    except (OSError, KeyError, ValueError) as error:  # the drill has its result, and MLflow is not what was rehearsed
        print(f"MLflow was not told: {error}", file=sys.stderr)
    return 0 if drill.passed else 1


def stop(signal: int, _: FrameType | None) -> None:
    """End the program by an exception, which runs through what cleans up."""
    raise SystemExit(128 + signal)


def clean_up(drill: Drill, clean: Callable[[], None]) -> None:
    """Remove what was restored; a drill that leaves something behind has failed."""
    try:
        clean()
    except Exception as error:  # as above
        drill.check("nothing is left behind", f"{type(error).__name__}: {error}", passed=False)


def kept(name: str) -> dict[str, Any]:
    """What is kept of the last drill; empty where there was none."""
    data: dict[str, str] = _asked("GET", os.environ["RECORDS_URL"], _cluster()).get("data") or {}
    try:
        return json.loads(data.get(f"{name}.json", "{}"))
    except ValueError:
        return {}


def keep(name: str, record: Mapping[str, Any]) -> None:
    """Write it into the ConfigMap that metrics are made from."""
    headers = {**_cluster(), "Content-Type": "application/merge-patch+json"}
    _asked("PATCH", os.environ["RECORDS_URL"], headers, {"data": {f"{name}.json": json.dumps(record)}})


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
    ask(
        "runs/log-batch",
        {
            "run_id": run_id,
            "metrics": [
                {"key": key, "value": value, "timestamp": ended, "step": 0}
                for key, value in numbers.items()
                if value is not None
            ],
            "tags": [
                {"key": "drill", "value": record["drill"]},
                {"key": "source", "value": record["source"]},
                *(
                    {"key": f"check.{number}", "value": f"{_word(one)}: {one['name']}: {one['detail']}"}
                    for number, one in enumerate(record["checks"], 1)
                ),
            ],
        },
    )
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
