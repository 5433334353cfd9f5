"""``ops mirror``."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import yaml
from pydantic import ValidationError

from components.settings.air_gap import AirGapSettings
from ops import console
from ops.cli import EXIT_REFUSED, EXIT_UNUSABLE
from ops.mirror.collect import Needs, of_resources
from ops.mirror.copy import CopyError, Kind, Lock, Piece, copy, missing_tools, pieces
from ops.mirror.render import HelmError, chart_images
from ops.pulumi import EngineError, stack_export
from ops.stack_file import stack_file

_HELP: Final = """What a stack needs from the internet (images, charts, repositories, models), and its way behind an air
gap. docs/air-gap.md is the way from a connected machine to a stack without the internet."""

app = typer.Typer(add_completion=False, help=_HELP, no_args_is_help=True)

_Stack = Annotated[str, typer.Option(help="The stack, such as onprem.")]
_State = Annotated[Path | None, typer.Option(help="What `pulumi stack export` printed; else the engine is asked.")]
_Sandbox = Annotated[bool, typer.Option("--sandbox", help="Ask the sandbox's engine.")]
_Render = Annotated[bool, typer.Option("--render/--no-render", help="Render charts with helm to see all their images.")]
_File = Annotated[Path | None, typer.Option("--settings", help="The stack's file; else Pulumi.<stack>.yaml.")]


@app.command("list")
def list_command(
    stack: _Stack = "onprem",
    state: _State = None,
    settings: _File = None,
    sandbox: _Sandbox = False,
    render: _Render = True,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List everything, each line with the place where it goes."""
    needs, air_gap = _read(stack, state, settings, sandbox=sandbox, render=render)
    found = pieces(needs, air_gap)
    if json_output:
        print(json.dumps([vars(piece) for piece in found], indent=2))
        return
    for piece in found:
        print(
            f"{piece.kind:6} {piece.source} -> {piece.target}" if air_gap.enabled else f"{piece.kind:6} {piece.source}"
        )
    _say_what_is_open(needs)


@app.command("copy")
def copy_command(
    stack: _Stack = "onprem",
    state: _State = None,
    settings: _File = None,
    sandbox: _Sandbox = False,
    render: _Render = True,
    yes: Annotated[bool, typer.Option("--yes", help="Copy; without it, only say what would be copied.")] = False,
    lock: Annotated[Path, typer.Option(help="What is done, with digests; a second run goes on from there.")] = Path(
        "mirror.lock.json"
    ),
    only: Annotated[str, typer.Option(help="Only one kind: image, chart, tree or model.")] = "",
) -> None:
    """Copy everything that is not there yet, and go on after what fails."""
    needs, air_gap = _read(stack, state, settings, sandbox=sandbox, render=render)
    if not air_gap.enabled:
        console.complain("ops mirror: airGap is not set in the stack's file; there is nowhere to copy to")
        raise typer.Exit(EXIT_UNUSABLE)
    done = Lock(lock)
    wanted = [piece for piece in pieces(needs, air_gap) if only in ("", piece.kind)]
    todo = [piece for piece in wanted if not done.has(piece)]
    print(f"{len(wanted) - len(todo)} of {len(wanted)} are there")
    if not yes:
        for piece in todo:
            print(f"would copy {piece.kind} {piece.source} -> {piece.target}")
        _say_what_is_open(needs)
        return
    kinds: set[Kind] = {piece.kind for piece in todo}
    if lacking := missing_tools(kinds):
        console.complain(f"ops mirror: install {', '.join(lacking)} first")
        raise typer.Exit(EXIT_UNUSABLE)
    if failed := _copy_all(todo, done):
        console.complain(f"ops mirror: {failed} of {len(todo)} failed; run it again to go on")
        raise typer.Exit(EXIT_REFUSED)
    _say_what_is_open(needs)


def _copy_all(todo: list[Piece], done: Lock) -> int:
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, piece in enumerate(todo, start=1):
            print(f"[{number}/{len(todo)}] {piece.kind} {piece.source}", flush=True)
            try:
                done.add(piece, copy(piece, Path(folder)))
            except CopyError as error:
                failed += 1
                console.complain(f"  {error}")
    return failed


def _say_what_is_open(needs: Needs) -> None:
    if needs.chart_images:
        console.complain(
            f"{len(needs.chart_images)} images are named by charts and trees, whose tags only a rendered chart knows: "
            + ", ".join(sorted(needs.chart_images))
        )


def _of_hub(config: Mapping[str, Any]) -> Iterator[str]:
    """What the stack's file names of the public hub: models, bases of fine-tunes, and tokenizers with their commit."""
    sources = [one.get("source", "") for one in config.get("llmops:models", [])]
    sources += [one.get("base", {}).get("source", "") for one in config.get("llmops:fineTunes", [])]
    for one in config.get("llmops:datasets", []):
        tokenizer = one.get("tokenizer", {})
        sources.append(f"{tokenizer.get('source', '')}@{tokenizer.get('revision', '')}")
    yield from (one for one in sources if one.startswith("hf://"))


def _read(
    stack: str, state: Path | None, settings: Path | None, *, sandbox: bool, render: bool
) -> tuple[Needs, AirGapSettings]:
    try:
        exported = json.loads(state.read_text()) if state else stack_export(stack, sandbox=sandbox)
        file = settings or stack_file(stack)
        document: dict[str, Any] = yaml.safe_load(file.read_text()) or {}
        config: dict[str, Any] = document.get("config", {})
        air_gap = AirGapSettings.model_validate(config.get("llmops:airGap", {}))
        resources = exported.get("deployment", exported).get("resources", [])
        needs = of_resources(resources, air_gap)
        needs = replace(needs, models=frozenset(_of_hub(config)))
        if render:
            needs = chart_images(needs, resources, air_gap)
    except (OSError, json.JSONDecodeError, yaml.YAMLError, EngineError, ValidationError, HelmError) as error:
        console.complain(f"ops mirror: {error}")
        raise typer.Exit(EXIT_UNUSABLE) from None
    return needs, air_gap
