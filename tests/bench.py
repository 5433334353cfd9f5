"""``python -m tests.bench``: what our logic costs when prod is previewed.

Both programs register the same resources with the same inputs through the same sandbox; one is ours, the other a bare
program generated from a recording of ours. They run in turn, so that whatever else the machine does hits both.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".bench"
STACK = "prod"
GOAL = 1.25  # ours over the floor
_SAMPLE_SECONDS = 0.1
_KIB_PER_MIB = 1024


@dataclass(frozen=True)
class Measured:
    """One preview.

    Attributes:
        resources: How many it would create, children of remote components included.
        seconds: Wall time of the whole command.
        program_seconds: CPU time of the Python program alone: the part that is ours.
        mib: Peak memory of the command and everything that it started: the sum of each process's own peak.
        program_mib: Peak memory of the Python program alone.
    """

    resources: int
    seconds: float
    program_seconds: float
    mib: float
    program_mib: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="Previews of each program at each size.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 4], help="How many foundations in one program.")
    given = parser.parse_args()
    if not Path("/proc/self/status").exists():
        sys.exit("the benchmark reads /proc: it runs on Linux only")
    console = Console(highlight=False)
    shutil.rmtree(WORK, ignore_errors=True)
    table = Table(title=f"pulumi preview -s {STACK} in the sandbox, median of {given.runs}; goal: {GOAL:.2f}x or less")
    for column in ("size", "resources", "", "ours", "floor", "ratio"):
        table.add_column(column, justify="right")
    results: list[dict[str, object]] = []
    for size in given.sizes:
        recording = WORK / f"recording-{size}.json"
        recorder = _project("record", size, f"record({size}, Path({str(recording)!r}))")
        resources = _preview(recorder).resources
        ours = _project("ours", size, f"build({size})")
        floor = _project("floor", size, f"replay(Path({str(recording)!r}))", module="bench_floor")
        measured: dict[str, list[Measured]] = {"ours": [], "floor": []}
        for run in range(given.runs + 1):
            for name, project in (("ours", ours), ("floor", floor)):
                once = _preview(project)
                if once.resources != resources:
                    sys.exit(f"{project} would create {once.resources} resources, the recorded program {resources}")
                console.print(f"{size}x {name} {once.seconds:.1f} s{'' if run else ' (warm-up, not counted)'}")
                if run:
                    measured[name].append(once)
        for label, unit, field in (
            ("wall time", "s", "seconds"),
            ("peak memory, all processes", "MiB", "mib"),
            ("CPU time of the program", "s", "program_seconds"),
            ("peak memory of the program", "MiB", "program_mib"),
        ):
            mine, bare = (statistics.median(getattr(m, field) for m in measured[name]) for name in ("ours", "floor"))
            digits = 1 if unit == "s" else 0
            table.add_row(
                f"{size}x", str(resources), label,
                f"{mine:.{digits}f} {unit}", f"{bare:.{digits}f} {unit}", f"{mine / bare:.2f}x",
            )  # fmt: skip
        table.add_section()
        results.append(
            {"size": size, "resources": resources} | {n: [asdict(m) for m in all] for n, all in measured.items()}
        )
    (WORK / "results.json").write_text(json.dumps(results, indent=2))
    console.print(table)
    console.print(f"every run: {(WORK / 'results.json').relative_to(ROOT)}")


def _project(name: str, size: int, call: str, module: str = "bench_foundation") -> Path:
    """Write a project with the shipped settings and a program of one line."""
    folder = WORK / f"{name}-{size}"
    folder.mkdir(parents=True)
    for file in ("Pulumi.yaml", f"Pulumi.{STACK}.yaml"):
        shutil.copy(ROOT / file, folder)
    function = call.split("(", 1)[0]
    (folder / "__main__.py").write_text(f"from pathlib import Path\nfrom tests.{module} import {function}\n{call}\n")
    return folder


def _preview(project: Path) -> Measured:
    """Preview a project, and sample the processes while it runs."""
    environment = {
        **os.environ,
        "SANDBOX_PROJECT": str(project),
        "SANDBOX_HOME": str(project / "home"),
        "SANDBOX_CONTROL_PLANE": "off",  # a preview creates no objects; starting one would only be measured
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "sandbox", "--quiet", "--", "pulumi", "preview", "-s", STACK, "--non-interactive"]
    log = project / "preview.log"
    with log.open("w") as output:
        started = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        peaks: dict[int, float] = {}
        program_peak = program_cpu = 0.0
        while process.poll() is None:
            for pid, peak, cpu, is_program in _tree(process.pid):
                peaks[pid] = max(peak, peaks.get(pid, 0))  # a process that has ended and was not waited for shows none
                if is_program:
                    program_peak, program_cpu = max(peak, program_peak), max(cpu, program_cpu)
            time.sleep(_SAMPLE_SECONDS)
        seconds = time.monotonic() - started
    if process.returncode:
        sys.exit(f"the preview in {project} failed:\n{log.read_text()}")
    created = re.search(r"\+ (\d+) to create", log.read_text())
    return Measured(int(created[1]) if created else 0, seconds, program_cpu, sum(peaks.values()), program_peak)


def _tree(root: int) -> list[tuple[int, float, float, bool]]:
    """Process id, peak memory (MiB), CPU time (s) and whether it is the program, of a process and its descendants."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it ended in between
    found: list[tuple[int, float, float, bool]] = []
    family = {root}
    while grown := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= grown
    for pid in family:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        peak = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)
        cpu = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
        found.append((pid, peak / _KIB_PER_MIB, cpu, b"pulumi-language-python-exec" in command))
    return found


if __name__ == "__main__":
    main()
