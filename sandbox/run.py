"""One engine command, with the sandbox's providers attached."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from sandbox import engine as engines
from sandbox import paths, project
from sandbox.clouds import Clouds
from sandbox.onprem import own_cluster
from sandbox.store import Store
from sandbox.toolchain.gobuild import Report

DEFAULT_STACK: Final = "dev"
# Commands that call providers; the others (export, output, config …) need an engine alone.
_NEEDS_PROVIDERS: Final = frozenset({"up", "update", "preview", "pre", "refresh", "destroy", "import", "watch"})
# Options with a path, which the user means from where he is, and not from the engine's copy of the project.
_PATHS: Final = ("--policy-pack", "--policy-pack-config")


def pulumi(arguments: Sequence[str], report: Report) -> int:
    """Run ``pulumi`` with ``arguments`` in the sandbox and return its exit code.

    Raises:
        engines.NoEngineError: No engine can be had.
        project.ProjectError: The stack does not exist, or is in use.
    """
    stack, given = stack_of(arguments)
    arguments = with_whole_paths(arguments)
    prepared = project.prepare(stack)
    report(f"stack {stack} of {prepared.name}: real engine, emulated clouds; nothing is created in any account")
    engine = engines.find_or_get(paths.cache_dir(), report)
    report(f"Pulumi engine {engine.origin}")
    for key in prepared.stand_ins:
        report(f"{key} is encrypted with a key that the sandbox does not have: the value is 'sandbox' here")
    command = next((argument for argument in arguments if not argument.startswith("-")), "")
    if command not in _NEEDS_PROVIDERS:
        env = project.environment(engine, "")
        project.ensure_stack(prepared, engine, env)
        return _execute(engine.pulumi, arguments, stack, given, prepared.folder, env)

    store = Store(paths.StackPaths.of(stack).account)
    store.mark_orphans(project.known_resources(prepared))
    with Clouds(stack, store, report, own_cluster(prepared.settings)) as clouds:
        env = project.environment(engine, clouds.attachments) | clouds.variables
        project.ensure_stack(prepared, engine, env)
        if project.release_stale_lock(prepared, engine, env):
            report("released the lock of an update that was killed")
        code = _execute(engine.pulumi, arguments, stack, given, prepared.folder, env)
        clouds.settle()
    return code


def stack_of(arguments: Sequence[str]) -> tuple[str, bool]:
    """Return the stack that the arguments name, and whether they name one."""
    for index, argument in enumerate(arguments):
        if argument in ("-s", "--stack") and index + 1 < len(arguments):
            return arguments[index + 1], True
        if argument.startswith("--stack="):
            return argument.removeprefix("--stack="), True
    return DEFAULT_STACK, False


def with_whole_paths(arguments: Sequence[str]) -> list[str]:
    """The arguments, with the paths in them whole."""
    whole: list[str] = []
    for index, argument in enumerate(arguments):
        option, given, path = argument.partition("=")
        if given and option in _PATHS:
            whole.append(f"{option}={Path(path).resolve()}")
        elif index and arguments[index - 1] in _PATHS:
            whole.append(str(Path(argument).resolve()))
        else:
            whole.append(argument)
    return whole


def _execute(
    program: Path, arguments: Sequence[str], stack: str, given: bool, folder: Path, env: dict[str, str]
) -> int:
    named = [] if given else ["--stack", stack]
    sys.stdout.flush()
    process = subprocess.Popen([str(program), *arguments, *named], cwd=folder, env=env)

    def terminate(_number: int, _frame: FrameType | None) -> None:
        process.terminate()

    # Ctrl-C reaches the engine too, which then winds down: stay until it is done.
    previous: dict[int, Callable[..., object] | int | None] = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, terminate),
    }
    try:
        return process.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
