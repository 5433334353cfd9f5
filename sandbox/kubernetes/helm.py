"""Helm releases: installed by helm where it and the chart can be had, else recorded."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sandbox.kubernetes.api import Manifest
from sandbox.kubernetes.crds import Loader
from sandbox.kubernetes.manifests import with_placeholders
from sandbox.kubernetes.objects import LiveObjects, NotReadyError
from sandbox.provider import ProviderError
from sandbox.store import Record, Store
from sandbox.values import Properties, plain

TYPE = "kubernetes:helm.sh/v3:Release"
_TIMEOUT_SECONDS = 300  # helm's own default
# What Helm waits for; load balancers and, where it is asked to, jobs as well.
_AWAITED = ("CustomResourceDefinition", "DaemonSet", "Deployment", "PersistentVolumeClaim", "Pod", "StatefulSet")
_SHOW_SECONDS = 30.0  # a repository that does not answer in this time is not there
_UNREACHABLE = re.compile(
    r"dial tcp|no such host|connection refused|i/o timeout|deadline exceeded|network is unreachable|TLS handshake"
    r"|proxyconnect|repo \S+ not found",
    re.IGNORECASE,
)


# What `helm status` would say of a release that is only recorded.
_RECORDED: Properties = {"version": 1, "info": {"status": "recorded"}, "manifest": ""}


class NotAtHandError(ProviderError):
    """Helm or a chart cannot be had here; the message says which, and why."""


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

    def __init__(
        self,
        program: Path | None,
        missing: str,
        kubeconfig: Path | None,
        store: Store,
        *,
        objects: LiveObjects | None = None,
        charts: Path | None = None,
    ) -> None:
        """Prepare a stack's releases.

        Args:
            program: Helm, or None.
            missing: Why there is no helm, or no cluster.
            kubeconfig: Of the cluster, or None.
            store: Where a release is recorded that cannot be installed.
            objects: The cluster's objects, which are awaited; None waits for nothing.
            charts: Directory with charts (default ``SANDBOX_CHARTS``), as ``<name>-<version>/`` or
                ``<name>-<version>.tgz``; what is not there comes from its repository.
        """
        configured = os.environ.get("SANDBOX_CHARTS")
        self._program = program
        self._missing = missing
        self._kubeconfig = kubeconfig
        self._store = store
        self._objects = objects
        self._folder = charts or (Path(configured) if configured else None)
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
            self._template(inputs)
        return ""

    def render(
        self, inputs: Properties, *, kubernetes_version: str, api_versions: Sequence[str] = ()
    ) -> list[Manifest]:
        """Return what a release would install: definitions and hooks too, but no tests.

        Args:
            inputs: Inputs of the release.
            kubernetes_version: Version that the chart is told.
            api_versions: Kinds that the chart is told to be served, such as ``cert-manager.io/v1/Certificate``.

        Raises:
            NotAtHandError: Helm or the chart cannot be had.
            ProviderError: The chart refuses the values.
        """
        inputs = plain(inputs)
        if why := self._unavailable(inputs):
            raise NotAtHandError(why)
        told = ["--kube-version", kubernetes_version, *(f"--api-versions={version}" for version in api_versions)]
        return documents(self._template(inputs, "--include-crds", "--skip-tests", *told))

    def install(self, inputs: Properties, urn: str, timeout_seconds: float) -> Installed:
        """Install or upgrade a release, and wait until it is ready.

        Raises:
            ProviderError: Helm fails, in its words, or an object does not become ready.
        """
        inputs = plain(inputs)
        warning = self._unavailable(inputs)
        if warning:
            self._record(inputs, urn)
            return Installed(_outputs(inputs, _RECORDED), warning)
        seconds = int(timeout_seconds or inputs.get("timeout") or _TIMEOUT_SECONDS)
        deadline = time.monotonic() + seconds
        earlier = self._status(inputs)
        command = ["upgrade", "--install", inputs["name"], *self._chart(inputs), *_place(inputs), "--values", "-"]
        # Definitions that were loaded on demand belong to their chart from now on, with every field.
        command += [
            "--take-ownership",
            *(["--force-conflicts"] if self._major() > 3 else []),
            "--timeout",
            f"{seconds}s",
        ]
        flags = {
            "createNamespace": "--create-namespace",
            "skipCrds": "--skip-crds",
            "disableWebhooks": "--no-hooks",
            "cleanupOnFail": "--cleanup-on-fail",
            "resetValues": "--reset-values",
            "reuseValues": "--reuse-values",
            "dependencyUpdate": "--dependency-update",
        }
        command += [flag for name, flag in flags.items() if inputs.get(name)]
        try:
            self._helm(command, _values(inputs))
            release = self._status(inputs)
            if release is None:
                raise ProviderError(f"release {inputs['name']}: helm installed it and does not list it")
            if not inputs.get("skipAwait"):
                self._await(inputs, str(release["manifest"]), deadline)
        except ProviderError:
            if inputs.get("atomic"):
                self._roll_back(inputs, earlier)
            raise
        self._store.delete(TYPE, _id(inputs))  # it may have been recorded before helm was there
        return Installed(_outputs(inputs, release), "")

    def _await(self, inputs: Properties, manifest: str, deadline: float) -> None:
        """Wait for what helm waits for; unlike helm, say what an object that does not become ready waits for."""
        if self._objects is None:
            return
        for document in documents(manifest):
            spec: Properties = document.get("spec") or {}
            balanced = document["kind"] == "Service" and spec.get("type") == "LoadBalancer"
            if not (
                document["kind"] in _AWAITED or balanced or (document["kind"] == "Job" and inputs.get("waitForJobs"))
            ):
                continue
            metadata = document["metadata"]
            namespace = metadata.get("namespace") or _namespace(inputs)
            live = self._objects.find(document["apiVersion"], document["kind"], namespace, metadata["name"])
            if live is None:
                continue  # what the controllers of a cloud take away again
            try:
                self._objects.wait(live, max(deadline - time.monotonic(), 1))
            except NotReadyError as error:
                place = f"{document['kind']} {namespace}/{metadata['name']}"
                raise ProviderError(f"release {inputs['name']}: {place}: {error}") from error

    def _roll_back(self, inputs: Properties, earlier: Properties | None) -> None:
        """Bring back what there was before an install or upgrade that failed."""
        now = self._status(inputs)
        if now is None or (earlier and now["version"] == earlier["version"]):
            return
        command = ["uninstall", inputs["name"]] if earlier is None else ["rollback", inputs["name"]]
        self._helm([*command, *([str(earlier["version"])] if earlier else []), *_place(inputs)])

    def find(self, inputs: Properties) -> Properties | None:
        """Return the outputs of a release, installed or recorded; None where there is none."""
        inputs = plain(inputs)
        if (release := self._status(inputs)) is not None:
            return _outputs(inputs, release)
        return _outputs(inputs, _RECORDED) if self._store.find(TYPE, _id(inputs)) else None

    def some_are_recorded(self) -> bool:
        """Whether a release of the stack is recorded only: its objects are not in the cluster."""
        return bool(self._store.records(TYPE))

    def is_recorded(self, namespace: str, name: str) -> bool:
        """Whether this release is recorded only."""
        return self._store.find(TYPE, _id({"namespace": namespace, "name": name})) is not None

    def _status(self, inputs: Properties) -> Properties | None:
        """Return what helm says of a release, or None where it is not installed."""
        if self._program is None or self._kubeconfig is None:
            return None
        answer = self._run(["status", inputs["name"], *_place(inputs), "--output", "json"])
        if answer.returncode == 0:
            return json.loads(answer.stdout)
        if "not found" in answer.stderr:
            return None
        raise ProviderError(f"release {inputs['name']}: {_words(answer.stderr)}")

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
        chart = tuple(self._chart(inputs))
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

    def _template(self, inputs: Properties, *flags: str) -> str:
        chart = self._chart(inputs)
        return self._helm(
            ["template", inputs["name"], *chart, *_place(inputs), *flags, "--values", "-"], _values(inputs)
        )

    def _chart(self, inputs: Properties) -> list[str]:
        """Return how helm is told which chart: a path where it is in the folder, else its repository and version."""
        name, version = str(inputs["chart"]), str(inputs.get("version") or "")
        if self._folder and version:
            base = self._folder / f"{name.rpartition('/')[2]}-{version}"
            if (base / "Chart.yaml").is_file():
                return [str(base)]
            if (archive := base.with_name(f"{base.name}.tgz")).is_file():
                return [str(archive)]
        repository: Properties = inputs.get("repositoryOpts") or {}
        chart = [name, *(["--repo", str(repository["repo"])] if repository.get("repo") else [])]
        return chart + (["--version", version] if version else [])

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


def documents(text: str) -> list[Manifest]:
    """Return the objects in YAML as helm prints it."""
    found: list[Any] = list(yaml.load_all(text, Loader=Loader))
    return [document for document in found if document]


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
    for document in documents(manifest):
        group, _, version = str(document["apiVersion"]).rpartition("/")
        kind = f"{document['kind']}.{group}/{group}/{version}" if group else f"{document['kind']}/{version}"
        place = document["metadata"].get("namespace", namespace)
        names.setdefault(kind, []).append(f"{place}/{document['metadata']['name']}")
    return names


def _words(stderr: str) -> str:
    """Return helm's complaint without its log lines."""
    lines = [line for line in stderr.strip().splitlines() if not line.startswith(("level=", "WARNING", "I", "W"))]
    return "\n".join(lines) or stderr.strip()
