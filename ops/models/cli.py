"""``ops models``."""

from __future__ import annotations

import getpass
import json
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer

from ops import console
from ops.cli import EXIT_REFUSED, EXIT_UNUSABLE
from ops.pulumi import EngineError
from ops.stack import AsJson, Confirmed, InSandbox, Stack, StackError, StackName
from ops.stack_file import stack_file

_HELP: Final = """What a stack serves and where it comes from; promotions by steps, and the way back. An alias moves in
the model registry; the stack's file is edited, and applied by nobody but your pull request. docs/promotion.md."""

app = typer.Typer(no_args_is_help=True, add_completion=False, help=_HELP)

_Model = Annotated[str, typer.Argument(help="A model of the stack, or a registered model.", show_default=False)]
_File = Annotated[
    Path | None, typer.Option("--settings", help="The stack's file; Pulumi.<stack>.yaml by default.", dir_okay=False)
]
_Registered = Annotated[
    str, typer.Option("--registered", help="The registered model, where the declaration names none.")
]
_Alias = Annotated[str, typer.Option("--alias", help="The alias; `production`, and `canary` for a canary.")]
_Why = Annotated[str, typer.Option("--why", help="For what reason; it is written down in the registry.")]
_By = Annotated[str, typer.Option("--by", help="Who decides; the name of this account where it is empty.")]


@app.command("list")
def list_models(stack: StackName = "", sandbox: InSandbox = False, as_json: AsJson = False) -> None:
    """What is served, with version, alias and share, and whether the registry has something newer."""
    with _failures():
        from ops.models import registry, served, show  # noqa: PLC0415 --help should not load the settings

        up = Stack.read(stack, sandbox=sandbox)
        models = cast("dict[str, Any]", up.output("models"))
        wanted = sorted(served.registered_models(models))
        known: dict[str, served.InRegistry] = {}
        if wanted:
            try:
                client = registry.opened(up)
                for name in wanted:
                    known[name] = served.InRegistry(
                        versions=registry.versions(client, name), aliases=registry.aliases(client, name)
                    )
            except Exception as error:  # what is served is worth knowing without it
                console.complain(f"ops models: the model registry is left out: {error}")
        rows = list(served.rows(models, known))
        if as_json:
            console.print_json([served.as_json(row) for row in rows])
        elif rows:
            console.output().print(show.models(rows, asked=bool(known)))
        else:
            console.output().print(f"stack {up.name} has no models", markup=False)


@app.command("promote")
def promote(
    model: _Model,
    version: Annotated[str, typer.Argument(help="The version in the registry.", show_default=False)],
    stack: StackName = "",
    canary: Annotated[
        int | None, typer.Option(help="Make it the canary, with this share of the requests in %.", min=1, max=50)
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Make the canary the model; twice: roll out, then clean up.")
    ] = False,
    at_once: Annotated[bool, typer.Option("--at-once", help="With --full: without a canary before.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="The version's config.json, where its weights cannot be read from here.", dir_okay=False),
    ] = None,
    unevaluated: Annotated[
        str, typer.Option(help="Why it may go without an evaluation that it passed; it is written down.")
    ] = "",
    alias: _Alias = "",
    why: _Why = "",
    by: _By = "",
    settings: _File = None,
    registered: _Registered = "",
    sandbox: InSandbox = False,
    as_json: AsJson = False,
    yes: Confirmed = False,
) -> None:
    """Check a version, move its alias, and edit the stack's file; without --yes nothing moves.

    Without --canary and --full the alias alone moves.
    """
    if canary is not None and full:
        _unusable("take --canary or --full")
    if (canary is not None or full) and not stack:
        _unusable("--canary and --full edit a stack's file: name the stack with --stack")
    with _failures():
        from ops.models import promotion, registry, stages  # noqa: PLC0415 --help should not load the settings

        up = _read(stack, sandbox=sandbox)
        file = _declared(stack, settings, model, registered) if canary is not None or full else None
        name = (file.registered if file else registered) or (model if file is None else "")
        if not name:
            _unusable(f"nothing says which registered model {model} comes from; name it with --registered")
        client = registry.opened(up)
        prepared = promotion.promotion(
            client,
            name,
            promotion.Wish(
                version=version,
                alias=alias or (stages.CANARY_ALIAS if canary is not None else stages.PRODUCTION_ALIAS),
                canary_percent=canary,
                full=full,
                at_once=at_once,
                unevaluated=unevaluated,
            ),
            file=file,
            served=_served(up, file.model) if file else None,
            config=partial(_config, config),
        )
        if yes and prepared.allowed:
            promotion.carry_out(client, prepared, by=by or getpass.getuser(), why=why, unevaluated=unevaluated)
        _finish(prepared, yes=yes, as_json=as_json)


@app.command("rollback")
def rollback(
    model: _Model,
    stack: StackName = "",
    to: Annotated[str, typer.Option("--to", help="A version; the one before by default.")] = "",
    without_registry: Annotated[
        bool, typer.Option("--without-registry", help="Edit the file alone: the registry is away. Aliases stay.")
    ] = False,
    alias: _Alias = "",
    why: _Why = "",
    by: _By = "",
    settings: _File = None,
    registered: _Registered = "",
    sandbox: InSandbox = False,
    as_json: AsJson = False,
    yes: Confirmed = False,
) -> None:
    """Undo the last step: a canary goes, or the version before is the model again; without --yes nothing moves."""
    with _failures():
        from ops.models import promotion, registry, stages  # noqa: PLC0415 --help should not load the settings

        file = _declared(stack, settings, model, registered) if stack else None
        name = file.registered if file else registered or model
        if without_registry and file is None:
            _unusable("--without-registry edits a stack's file: name the stack with --stack")
        asked = bool(name) and not without_registry
        client = registry.opened(_read(stack, sandbox=sandbox)) if asked else None
        prepared = promotion.rollback(client, file, name, alias=alias or stages.PRODUCTION_ALIAS, to=to)
        if yes and prepared.allowed:
            promotion.carry_out(client, prepared, by=by or getpass.getuser(), why=why)
        _finish(prepared, yes=yes, as_json=as_json)


@app.command("lineage")
def lineage(
    model: Annotated[
        str, typer.Argument(help="A model of the stack; or `name`, `name/7`, `name@alias` of the registry.")
    ],
    stack: StackName = "",
    sandbox: InSandbox = False,
    as_json: AsJson = False,
) -> None:
    """Where a model comes from: run, parameters, data with hashes, code, evaluation, base; what is missing is named."""
    with _failures():
        from ops.models import lineage as lines  # noqa: PLC0415 --help should not load the settings
        from ops.models import registry, served, show  # noqa: PLC0415

        up = _read(stack, sandbox=sandbox)
        told = _served(up, model)
        client: registry.Mlflow | None = None
        found: list[dict[str, Any]] = []
        for row in served.rows({model: told}, {}) if told is not None else ():
            role = f"served as {row.model}/{row.role}"
            if not row.registered or not row.version:
                missing = f"{row.source} is no version of the registry: nothing more is known"
                found.append({"model": row.model, "version": "", "servedAs": role, "source": row.source,
                              "missing": [missing]})  # fmt: skip
                continue
            client = client or registry.opened(up)
            one = lines.lineage(client, row.registered, row.version, checkout=_checkout())
            found.append({**one, "servedAs": role})
        if told is None:
            client = registry.opened(up)
            name, version = _named(client, model)
            found.append(lines.lineage(client, name, version, checkout=_checkout()))
        if as_json:
            console.print_json(found)
            return
        for one in found:
            console.output().print(show.lineage(one))


def _named(client: Any, said: str) -> tuple[str, str]:
    """A registered model and its version; without one that of the alias ``production``, else the newest."""
    from ops.models import registry, stages  # noqa: PLC0415 see above

    for sign in ("@", "/"):
        name, found, revision = said.partition(sign)
        if found:
            return name, registry.aliases(client, name).get(revision, f"@{revision}") if sign == "@" else revision
    newest = max(registry.versions(client, said), key=int, default="")
    return said, registry.aliases(client, said).get(stages.PRODUCTION_ALIAS, newest)


def _checkout() -> Mapping[str, str]:
    """The training image's tag as this checkout gives it, and the commit where nothing is changed in it."""
    from workloads.images import ROOT, content_tag  # noqa: PLC0415 only for a lineage

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else "?"

    try:
        clean = not git("status", "--porcelain")
        return {"image": content_tag("training"), "commit": git("rev-parse", "HEAD") if clean else ""}
    except OSError:  # no git, or no sources: then nothing is known of the code here
        return {}


def _read(name: str, *, sandbox: bool) -> Stack | None:
    """The stack's outputs; where they cannot be had the environment names the registry, and what needs them says so."""
    if not name:
        return None
    try:
        return Stack.read(name, sandbox=sandbox)
    except EngineError as error:
        console.complain(f"ops models: the stack's outputs are not known: {error}")
        return None


def _served(stack: Stack | None, model: str) -> Mapping[str, Any] | None:
    if stack is None:
        return None
    try:
        return cast("Mapping[str, Any]", stack.output("models", model))
    except StackError:
        return None


def _declared(stack: str, settings: Path | None, model: str, registered: str) -> Any:
    from ops.models import promotion  # noqa: PLC0415 see above

    return promotion.declared(settings or stack_file(stack), model, registered)


def _config(given: Path | None, source: str) -> dict[str, Any]:
    from ops.models import registry  # noqa: PLC0415 see above

    if given is None:
        return registry.config_of(source)
    try:
        found: Any = json.loads(given.read_text())
    except (OSError, ValueError) as error:
        raise registry.RegistryError(f"{given}: {error}") from None
    if not isinstance(found, dict):
        raise registry.RegistryError(f"{given} is no object")
    return cast("dict[str, Any]", found)


def _finish(prepared: Any, *, yes: bool, as_json: bool) -> None:
    from ops.models import promotion, show  # noqa: PLC0415 see above

    done = yes and prepared.allowed
    if as_json:
        console.print_json(promotion.as_json(prepared, done=done))
    else:
        show.prepared(prepared, console.output(), done=done)
    if not prepared.allowed:
        console.complain("ops models: refused; nothing was changed")
        sys.exit(EXIT_REFUSED)
    if not yes and (prepared.difference or any(one.before != one.after for one in prepared.aliases)):
        console.complain("ops models: nothing was changed yet; --yes does it")


def _unusable(message: str) -> None:
    console.complain(f"ops models: {message}")
    sys.exit(EXIT_UNUSABLE)


@contextmanager
def _failures() -> Generator[None]:
    """One clear message in place of a traceback."""
    from ops.models.edit import EditError  # noqa: PLC0415 see above
    from ops.models.registry import RegistryError  # noqa: PLC0415
    from ops.models.stages import StageError  # noqa: PLC0415
    from workloads.evaluation.gate import Refused  # noqa: PLC0415

    try:
        yield
    except (Refused, StageError) as refused:
        console.complain(f"ops models: {refused}")
        sys.exit(EXIT_REFUSED)
    except (EditError, RegistryError, EngineError) as unusable:
        _unusable(str(unusable))
    except Exception as error:  # MLflow has many, and each says what it was
        _unusable(
            f"the model registry could not be asked: {str(error).strip().splitlines()[0] if str(error) else error!r}"
        )
