"""The registry's server: what is there of earlier evaluations, and what this one leaves."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workloads.evaluation import gate
from workloads.evaluation.gate import Measure, Record

from .ask import Row
from .quiet import settle
from .report import Other, Report, rows_of, table

settle()

from mlflow import MlflowClient  # noqa: E402 - the environment comes first
from mlflow.exceptions import MlflowException  # noqa: E402

_EXPERIMENT = "evaluation"
_REPORT = "report.json"
_TABLE = "judgements.json"
_LOGGED = "mlflow.loggedArtifacts"
_KEY_DIGITS = 16


class RegistryError(Exception):
    """The registry's server does not have what is evaluated."""


class Registry:
    """One version of a registered model, and its run."""

    def __init__(self, name: str, version: str, client: MlflowClient | None = None) -> None:
        self.client = client or MlflowClient()
        self._name, self._version = name, version
        try:
            found = self.client.get_model_version(name, version)
        except MlflowException as error:
            raise RegistryError(f"version {version} of {name} cannot be read: {error}") from error
        self.source: str = found.source or ""
        self._run: str = found.run_id or ""

    def earlier(self, key: str) -> tuple[Report, list[Row]] | None:
        """An evaluation of this version with the same key, where it is whole."""
        found = Record.at_version(self._tags(self._version))
        if found is None or found.folder != folder(key):
            return None
        read = self._read(found)
        return read if read and read[0].key == key else None

    def bearer(self, alias: str) -> Other:
        """The version that bears an alias, with its evaluation."""
        version = gate.bearer(self.client, self._name, alias)
        if not version or version == self._version:
            return Other()  # nobody, or this one itself, which cannot be worse than it is
        found = Record.at_version(self._tags(version))
        read = self._read(found) if found else None
        return Other(version=version, report=read[0], rows=read[1]) if read else Other(version=version)

    def write(self, report: Report, rows: Sequence[Row], reasons: Sequence[str], key: str) -> None:
        """Leave an evaluation: files, numbers, the run's tags, and last the tag of the version that the gate reads."""
        run, place = self._run or self._own_run(), folder(report.key)
        with tempfile.TemporaryDirectory() as temporary:
            for name, document in ((_TABLE, table(rows)), (_REPORT, report.document())):
                path = Path(temporary) / name
                path.write_text(json.dumps(document, ensure_ascii=False, indent=1))
                self.client.log_artifact(run, str(path), place)
        self._show_table(run, f"{place}/{_TABLE}")
        for name, value in numbers(report.measures).items():
            self.client.log_metric(run, name, value)
        verdict = "refused" if reasons else "passed"
        for name, text in (("verdict", verdict), ("reasons", "; ".join(reasons)[:5000]), ("key", key)):
            self.client.set_tag(run, f"llmops.evaluation.{name}", text)
        at = datetime.now(UTC).isoformat(timespec="seconds")
        found = Record(key=key, verdict=verdict, run=run, folder=place, at=at)
        gate.record(self.client, self._name, self._version, found, reasons)

    def stands(self, key: str, reasons: Sequence[str]) -> bool:
        """Whether exactly this verdict is written already."""
        tags = self._tags(self._version)
        found = Record.at_version(tags)
        verdict = "refused" if reasons else "passed"
        return found is not None and (found.key, found.verdict) == (key, verdict) and gate.REASONS_TAG in tags

    def _tags(self, version: str) -> Mapping[str, str]:
        return self.client.get_model_version(self._name, version).tags

    def _read(self, found: Record) -> tuple[Report, list[Row]] | None:
        with tempfile.TemporaryDirectory() as temporary:
            try:
                report = self.client.download_artifacts(found.run, f"{found.folder}/{_REPORT}", temporary)
                rows = self.client.download_artifacts(found.run, f"{found.folder}/{_TABLE}", temporary)
            except (MlflowException, OSError):
                return None  # somebody deleted it
            return Report.of(json.loads(Path(report).read_text())), rows_of(json.loads(Path(rows).read_text()))

    def _own_run(self) -> str:
        """A run for a version that was registered without one; the same one each time."""
        experiment = self.client.get_experiment_by_name(_EXPERIMENT)
        number = experiment.experiment_id if experiment else self.client.create_experiment(_EXPERIMENT)
        title = f"{self._name}-{self._version}"
        known = self.client.search_runs([number], f"tags.`mlflow.runName` = '{title}'", max_results=1)
        run = known[0] if known else self.client.create_run(number, run_name=title)
        self.client.set_terminated(run.info.run_id)
        self._run = run.info.run_id
        return self._run

    def _show_table(self, run: str, path: str) -> None:
        """Tell the pages of MLflow that a file is a table."""
        shown: list[Any] = json.loads(self.client.get_run(run).data.tags.get(_LOGGED, "[]"))
        entry = {"path": path, "type": "table"}
        if entry not in shown:
            self.client.set_tag(run, _LOGGED, json.dumps([*shown, entry]))


def folder(key: str) -> str:
    """Where an evaluation lies among the artifacts of the run."""
    return f"evaluation/{key[:_KEY_DIGITS]}"


def numbers(measures: Mapping[str, Measure]) -> dict[str, float]:
    """The metrics of the run."""
    found: dict[str, float] = {}
    for name, measure in measures.items():
        found[f"evaluation/{name}"] = measure.value
        found[f"evaluation/{name}.low"] = measure.low
        found[f"evaluation/{name}.high"] = measure.high
        found[f"evaluation/{name}.cases"] = measure.cases
        found[f"evaluation/{name}.unjudged"] = measure.unjudged
    return found
