"""``ops upgrade``."""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from components import versions
from ops import console
from ops.cli import EXIT_REFUSED, EXIT_UNUSABLE
from ops.cost.read import InputError, State, read_json, states_after, states_of_export
from ops.plan.preview import parse
from ops.pulumi import EngineError, pulumi, stack_export
from ops.stack import AsJson, InSandbox, Stack, StackName
from ops.upgrade import engine, live, matrix, planning, record, text
from ops.upgrade.minors import VersionError, minor, path_problem
from ops.upgrade.minors import name as minor_name
from ops.upgrade.removed import Use
from ops.upgrade.stack_versions import StackVersions, read

_HELP: Final = "Plan an upgrade: what goes with what, what it replaces or restarts, in which order, and the way back."
_ROOT: Final = Path(__file__).resolve().parents[2]
RELEASES: Final = _ROOT / "tests" / "upgrade"
"""Recorded states of releases, as ``<version>/<stack>.json.xz``."""

app = typer.Typer(add_completion=False, no_args_is_help=True, help=_HELP)


@app.command()
def plan(
    stack: StackName = "",
    kubernetes: Annotated[str, typer.Option(help="Minor version to go to, such as 1.36.")] = "",
    state: Annotated[
        Path | None, typer.Option("--from", help="A recorded or exported state, in place of the stack's own.")
    ] = None,
    preview: Annotated[
        Path | None, typer.Option(help="What `pulumi preview --json` printed, in place of a preview now.")
    ] = None,
    accept: Annotated[
        list[str] | None, typer.Option(help="A chart whose publisher's limit is knowingly passed; repeatable.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the live cluster.")] = False,
    sandbox: InSandbox = False,
    as_json: AsJson = False,
) -> None:
    """What an upgrade does to a stack; exit code 1 where something speaks against it."""
    with _complaints():
        before = states_of_export(record.load(state) if state else stack_export(_named(stack), sandbox=sandbox))
        now = read(before)
        if not now.kubernetes:
            raise InputError("the state names no version of Kubernetes; bring the stack up first")
        content: Mapping[str, Any] = read_json(preview) if preview else {}
        stand_ins: Mapping[str, str] = {}
        if not preview and not state and not _stops(now, kubernetes):
            content, stand_ins = _previewed(stack, now, kubernetes, sandbox=sandbox)
        made = planning.build(
            before,
            target=kubernetes,
            preview=parse(content) if content else None,
            after=_after(content, before) if content else None,
            live=None if offline or state else _asked(stack, now, kubernetes, sandbox=sandbox),
            accept=_known(accept or []),
            stand_ins=stand_ins,
        )
    if as_json:
        console.print_json(planning.as_json(made))
    else:
        typer.echo(text.render(made), nl=False)
    if made.objections:
        sys.exit(EXIT_REFUSED)


@app.command("matrix")
def show_matrix(
    markdown: Annotated[bool, typer.Option("--markdown", help="Markdown, as in docs/versions.md.")] = False,
    as_json: AsJson = False,
) -> None:
    """What is pinned, which Kubernetes each part supports, and what was tried with what."""
    # The one place that knows it; the rest of the sandbox is not needed.
    from sandbox.toolchain.control_plane import KUBERNETES_VERSION  # noqa: PLC0415 -- for this command alone

    if as_json:
        console.print_json(matrix.as_json(KUBERNETES_VERSION))
    else:
        page = matrix.markdown(KUBERNETES_VERSION)
        typer.echo(page if markdown else page.partition("## Add-ons of EKS")[0], nl=False)


@app.command("record")
def record_state(
    stack: StackName = "",
    release: Annotated[str, typer.Option(help="The release that the stack was brought up by, such as 0.1.0.")] = "",
    output: Annotated[
        Path | None, typer.Option(help="Where to; without it tests/upgrade/<release>/<stack>.json.xz.")
    ] = None,
    sandbox: InSandbox = False,
) -> None:
    """Write the stack's state, without secrets, for the upgrade test of later versions."""
    with _complaints():
        if output is None and not release:
            raise InputError("name the release (--release 0.1.0) or a file (--output)")
        shown = pulumi(["stack", "export", "--show-secrets", "--stack", _named(stack)], sandbox=sandbox)
        made = record.reduced(record.parsed(shown))
        path = output or RELEASES / release / f"{stack.rsplit('/', 1)[-1]}.json.xz"
        size = record.write(path, made)
    typer.echo(f"{path}: {len(made['deployment']['resources'])} resources, {size:,} bytes")


@contextmanager
def _complaints() -> Generator[None]:
    """What went wrong as one line, and exit code 2."""
    try:
        yield
    except (InputError, EngineError, VersionError) as error:
        console.complain(f"ops upgrade: {error}")
        sys.exit(EXIT_UNUSABLE)


def _named(stack: str) -> str:
    if not stack:
        raise InputError("no stack is named; give --stack, or set PULUMI_STACK")
    return stack


def _known(accept: list[str]) -> list[str]:
    known = {row.name for row in matrix.rows()}
    if strange := [one for one in accept if one not in known]:
        raise InputError(f"--accept {strange[0]}: there is no such chart; `python -m ops upgrade matrix` lists them")
    return accept


def _stops(now: StackVersions, target: str) -> bool:
    """Whether the way is refused already, so that a preview would only repeat it."""
    return bool(target) and bool(path_problem(minor(now.kubernetes), minor(target), versions.KUBERNETES_SUPPORTED))


def _previewed(
    stack: str, now: StackVersions, target: str, *, sandbox: bool
) -> tuple[dict[str, Any], Mapping[str, str]]:
    """A preview of the present program, with another minor in a copy of its settings."""
    typer.echo(f"previewing {stack}; this takes minutes", err=True)
    if not target or minor(target) == minor(now.kubernetes):
        return engine.preview(stack, sandbox=sandbox), {}
    changes: dict[str, Any] = {"kubernetesVersion": target}
    stand_ins: dict[str, str] = {}
    if now.cloud == "aws":
        # Settings refuse another minor's kube-proxy, and which build there is only the account can tell.
        guess = f"v{minor_name(minor(target))}.0-eksbuild.1"
        changes["addonVersions"] = {"kube-proxy": guess}
        stand_ins["kube-proxy"] = (
            f"previewed as {guess}; `aws eks describe-addon-versions --addon-name kube-proxy --kubernetes-version "
            f"{target}` lists what there is, for cluster.addonVersions.kube-proxy"
        )
    with engine.settings_with(stack, changes) as settings:
        return engine.preview(stack, sandbox=sandbox, config_file=settings), stand_ins


def _after(content: Mapping[str, Any], before: list[State]) -> list[State] | None:
    """The stack as the preview leaves it; not known where it failed half-way."""
    return None if parse(content).errors else states_after(content, before)


def _asked(stack: str, now: StackVersions, target: str, *, sandbox: bool) -> list[Use] | None:
    """What the live cluster knows; None, with the reason on standard error, where it does not answer."""
    current = minor(now.kubernetes)
    try:
        with Stack.read(stack, sandbox=sandbox).kubeconfig() as kubeconfig:
            return live.uses(kubeconfig, current=current, target=minor(target) if target else current)
    except EngineError as error:
        console.complain(f"the cluster was not asked: {error}")
        return None
