"""Metrics of recovery drills: what the last one of each kind found, read from the files that it left."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HELP: Mapping[str, str] = {
    "recovery_drill_passed": "Whether the last drill found everything as it must be.",
    "recovery_drill_last_run_timestamp_seconds": "When the last drill ended.",
    "recovery_drill_last_success_timestamp_seconds": "When a drill last passed.",
    "recovery_drill_seconds": "Recovery time and recovery point that the last drill measured.",
    "recovery_drill_objective_seconds": "What they may be.",
    "recovery_drill_checks": "Comparisons of the last drill.",
    "recovery_drill_step_seconds": "What each step of the last drill took.",
    "recovery_drill_amount": "What the last drill restored: rows, entities, bytes.",
}


def samples(record: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str], float]]:
    """Name, labels and value of every sample of one drill."""
    drill = {"drill": str(record["drill"])}
    yield "recovery_drill_passed", drill, 1 if record["passed"] else 0
    yield "recovery_drill_last_run_timestamp_seconds", drill, record["finishedAt"]
    if record["lastPassedAt"]:
        yield "recovery_drill_last_success_timestamp_seconds", drill, record["lastPassedAt"]
    for what in ("time", "point"):
        labels = {**drill, "objective": what}
        if (measured := record[f"recovery{what.capitalize()}Seconds"]) is not None:
            yield "recovery_drill_seconds", labels, measured
        yield "recovery_drill_objective_seconds", labels, record["objectives"][f"{what}Seconds"]
    for result, wanted in (("passed", True), ("failed", False)):
        found = sum(1 for check in record["checks"] if check["passed"] is wanted)
        yield "recovery_drill_checks", {**drill, "result": result}, found
    # Records that were written before there were these have none.
    for step, seconds in record.get("steps", {}).items():
        yield "recovery_drill_step_seconds", {**drill, "step": step}, seconds
    for what, amount in record.get("amounts", {}).items():
        yield "recovery_drill_amount", {**drill, "of": what}, amount


def page(folder: Path) -> str:
    """All metrics in Prometheus' format. A record that cannot be read is left out: its drill is then overdue."""
    found: dict[str, list[str]] = {name: [] for name in HELP}
    for file in sorted(folder.glob("*.json")):
        try:
            known = list(samples(json.loads(file.read_text())))
        except (ValueError, KeyError, TypeError):
            continue
        for name, labels, value in known:
            text = ",".join(f'{key}="{label}"' for key, label in labels.items())
            found[name].append(f"{name}{{{text}}} {value}")
    lines: list[str] = []
    for name, some in found.items():
        lines += [f"# HELP {name} {HELP[name]}", f"# TYPE {name} gauge", *some]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Serve them."""
    folder = Path(os.environ["RECORDS"])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = page(folder).encode() if self.path == "/metrics" else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """A line for each scrape would say nothing."""

    ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()


if __name__ == "__main__":
    main()
