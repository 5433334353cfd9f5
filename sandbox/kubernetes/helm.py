"""Helm releases: installed by helm where it and the chart can be had, else recorded."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sandbox.kubernetes.manifests import with_placeholders
from sandbox.provider import ProviderError
from sandbox.store import Record, Store
from sandbox.values import Properties, plain

TYPE = "kubernetes:helm.sh/v3:Release"
_TIMEOUT_SECONDS = 300  # helm's own default
_SHOW_SECONDS = 30.0  # a repository that does not answer in this time is not there
_UNREACHABLE = re.compile(
    r"dial tcp|no such host|connection refused|i/o timeout|deadline exceeded|network is unreachable|TLS handshake"
    r"|proxyconnect|repo \S+ not found",
    re.IGNORECASE,
)


# What `helm status` would say of a release that is only recorded.
_RECORDED: Properties = {"version": 1, "info": {"status": "recorded"}, "manifest": ""}


@dataclass(frozen=True)
class Installed:
    """What became of a release.

    Attributes:
        outputs: Its properties.
        warning: Why it is recorded and not installed; empty where it is installed.
    """

    outputs: Properties
    warning: str


class Releases:
    """The releases of one stack."""

    def __init__(self, program: Path | None, missing: str, kubeconfig: Path | None, store: Store) -> None:
        """Use helm at ``program`` on the cluster of ``kubeconfig``; ``missing`` says why one of them is None."""
        self._program = program
        self._missing = missing
        self._kubeconfig = kubeconfig
        self._store = store
        self._charts: dict[tuple[str, ...], str] = {}
        self._lock = threading.Lock()

    def judge(self, inputs: Properties) -> str:
        """Render the chart with its values; return why that is not possible here, or an empty text.

        Raises:
            ProviderError: The chart refuses the values.
        """
        inputs, unknown = with_placeholders(inputs)
        if warning := self._unavailable(inputs):
            return warning
        if not unknown:
            self._helm(["template", inputs["name"], *_chart(inputs), *_place(inputs), "--values", "-"], _values(inputs))
        return ""

    def install(self, inputs: Properties, urn: str, timeout_seconds: float) -> Installed:
        """Install or upgrade a release.

        Raises:
            ProviderError: Helm fails; in its words.
        """
        inputs = plain(inputs)
        warning = self._unavailable(inputs)
        if warning:
            self._record(inputs, urn)
            return Installed(_outputs(inputs, _RECORDED), warning)
        seconds = int(timeout_seconds or inputs.get("timeout") or _TIMEOUT_SECONDS)
        command = ["upgrade", "--install", inputs["name"], *_chart(inputs), *_place(inputs), "--values", "-"]
        command += ["--take-ownership", "--timeout", f"{seconds}s"]  # of definitions that were loaded on demand
        flags = {
            "createNamespace": "--create-namespace",
            "skipCrds": "--skip-crds",
            "waitForJobs": "--wait-for-jobs",
            "disableWebhooks": "--no-hooks",
            "cleanupOnFail": "--cleanup-on-fail",
            "resetValues": "--reset-values",
            "reuseValues": "--reuse-values",
            "dependencyUpdate": "--dependency-update",
            "atomic": "--atomic" if self._major() == 3 else "--rollback-on-failure",
        }
        command += [flag for name, flag in flags.items() if inputs.get(name)]
        if not inputs.get("skipAwait"):
            command.append("--wait")
        self._helm(command, _values(inputs))
        found = self.find(inputs)
        if found is None:
            raise ProviderError(f"release {inputs['name']}: helm installed it and does not list it")
        self._store.delete(TYPE, _id(inputs))  # it may have been recorded before helm was there
        return Installed(found, "")

    def find(self, inputs: Properties) -> Properties | None:
        """Return the outputs of a release, installed or recorded; None where there is none."""
        inputs = plain(inputs)
        if self._program is not None and self._kubeconfig is not None:
            answer = self._run(["status", inputs["name"], *_place(inputs), "--output", "json"])
            if answer.returncode == 0:
                return _outputs(inputs, json.loads(answer.stdout))
            if "not found" not in answer.stderr:
                raise ProviderError(f"release {inputs['name']}: {_words(answer.stderr)}")
        if self._store.find(TYPE, _id(inputs)):
            return _outputs(inputs, _RECORDED)
        return None

    def remove(self, outputs: Properties, timeout_seconds: float) -> None:
        """Uninstall a release, or forget it.

        Raises:
            ProviderError: Helm fails; in its words.
        """
        outputs = plain(outputs)
        installed = self.find(outputs)
        self._store.delete(TYPE, _id(outputs))
        if installed is None or installed["status"]["status"] == "recorded":
            return
        seconds = int(timeout_seconds or outputs.get("timeout") or _TIMEOUT_SECONDS)
        wait = ["--wait", "--timeout", f"{seconds}s", "--ignore-not-found"]
        self._helm(["uninstall", outputs["name"], *_place(outputs), *wait])

    def _unavailable(self, inputs: Properties) -> str:
        """Return why a chart cannot be installed here; asked once per chart.

        Raises:
            ProviderError: The repository answers, and has no such chart.
        """
        if self._program is None or self._kubeconfig is None:
            return self._missing
        chart = tuple(_chart(inputs))
        with self._lock:
            if chart not in self._charts:
                self._charts[chart] = self._ask(chart)
        return self._charts[chart]

    def _ask(self, chart: Sequence[str]) -> str:
        if Path(chart[0]).exists():
            return ""
        repository = chart[chart.index("--repo") + 1] if "--repo" in chart else chart[0]
        if any(why and repository in known for known, why in self._charts.items()):
            return f"{repository} cannot be reached"
        try:
            answer = self._run(["show", "chart", *chart], timeout_seconds=_SHOW_SECONDS)
        except subprocess.TimeoutExpired:
            return f"{repository} does not answer"
        if answer.returncode == 0:
            return ""
        if _UNREACHABLE.search(answer.stderr):
            return f"{repository} cannot be reached"
        raise ProviderError(f"chart {chart[0]}: {_words(answer.stderr)}")

    def _record(self, inputs: Properties, urn: str) -> None:
        record = Record(TYPE, _id(inputs), urn, "", inputs, inputs)
        if earlier := self._store.find(TYPE, _id(inputs)):
            self._store.update(Record(TYPE, earlier.id, earlier.urn, "", inputs, inputs))
        else:
            self._store.insert(record)

    def _major(self) -> int:
        match = re.match(r"v(\d+)", self._run(["version", "--short"]).stdout)
        return int(match[1]) if match else 4

    def _helm(self, arguments: Sequence[str], values: str = "") -> str:
        answer = self._run(arguments, values)
        if answer.returncode != 0:
            raise ProviderError(f"helm {arguments[0]} failed: {_words(answer.stderr)}")
        return answer.stdout

    def _run(
        self, arguments: Sequence[str], values: str = "", timeout_seconds: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = [str(self._program), *arguments, "--kubeconfig", str(self._kubeconfig)]
        return subprocess.run(
            command, input=values, capture_output=True, text=True, check=False, timeout=timeout_seconds
        )


def _chart(inputs: Properties) -> list[str]:
    repository: Properties = inputs.get("repositoryOpts") or {}
    chart = [str(inputs["chart"])]
    chart += ["--repo", str(repository["repo"])] if repository.get("repo") else []
    return chart + (["--version", str(inputs["version"])] if inputs.get("version") else [])


def _namespace(inputs: Properties) -> str:
    return str(inputs.get("namespace") or "default")


def _place(inputs: Properties) -> list[str]:
    return ["--namespace", _namespace(inputs)]


def _values(inputs: Properties) -> str:
    """Return the values as YAML; they go through a pipe, for there may be secrets among them."""
    return yaml.safe_dump(inputs.get("values") or {})


def _id(inputs: Properties) -> str:
    return f"{_namespace(inputs)}/{inputs['name']}"


def _outputs(inputs: Properties, release: Properties) -> Properties:
    status = {
        "chart": str(inputs["chart"]),
        "name": str(inputs["name"]),
        "namespace": _namespace(inputs),
        "revision": int(release["version"]),
        "status": str(release["info"]["status"]),
        "version": str(inputs.get("version") or ""),
    }
    names = _names(str(release["manifest"]), _namespace(inputs))
    return {**inputs, "namespace": _namespace(inputs), "status": status, "resourceNames": names}


def _names(manifest: str, namespace: str) -> dict[str, list[str]]:
    """Return the objects of a release by kind, as the real provider lists them."""
    names: dict[str, list[str]] = {}
    documents: list[Any] = list(yaml.load_all(manifest, Loader=yaml.CSafeLoader))
    for document in documents:
        if document:
            group, _, version = str(document["apiVersion"]).rpartition("/")
            kind = f"{document['kind']}.{group}/{group}/{version}" if group else f"{document['kind']}/{version}"
            place = document["metadata"].get("namespace", namespace)
            names.setdefault(kind, []).append(f"{place}/{document['metadata']['name']}")
    return names


def _words(stderr: str) -> str:
    """Return helm's complaint without its log lines."""
    lines = [line for line in stderr.strip().splitlines() if not line.startswith(("level=", "WARNING", "I", "W"))]
    return "\n".join(lines) or stderr.strip()
