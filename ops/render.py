"""Writes the workloads that Argo CD delivers as Kustomize trees: ``python -m ops.render --directory CHECKOUT``."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final, cast

import yaml

OUTPUT: Final = "rendered"
"""Name of the stack output with the objects."""

_HIDDEN: Final = "[secret]"  # what `pulumi stack output` prints in place of a secret
_FOLDER: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


class RenderError(Exception):
    """The outputs cannot be written to Git; the message says why."""


@dataclass
class Changes:
    """What a rendering did to the directory, or would do.

    Attributes:
        written: Files that are new or differ.
        removed: Files and folders that no workload has any more.
    """

    written: list[PurePosixPath] = field(default_factory=list[PurePosixPath])
    removed: list[PurePosixPath] = field(default_factory=list[PurePosixPath])

    def __bool__(self) -> bool:
        return bool(self.written or self.removed)


def render(outputs: Mapping[str, Any], directory: Path, *, dry_run: bool = False) -> Changes:
    """Bring ``<directory>/<path>/<stack>`` in line with the stack's outputs.

    Args:
        outputs: What ``pulumi stack output --json`` prints.
        directory: Checkout of the Git repository.
        dry_run: Change nothing.

    Raises:
        RenderError: The stack has no rendered workloads, one holds a secret, or a name is no folder's or file's.
    """
    rendered = outputs.get(OUTPUT)
    if rendered == _HIDDEN:
        raise RenderError(f"the output {OUTPUT} is a secret: an object of some workload holds one")
    if not isinstance(rendered, Mapping) or "root" not in rendered:
        raise RenderError(f"the stack has no output {OUTPUT}: platform.delivery.repository is not set")
    content = cast("Mapping[str, Any]", rendered)
    root = PurePosixPath(content["root"])
    if not all(_FOLDER.fullmatch(part) for part in root.parts):
        raise RenderError(f"{root} is no folder inside a repository")
    if not (directory / root).resolve().is_relative_to(directory.resolve()):
        raise RenderError(f"{root} leads out of {directory}")  # by a link; what is there is not ours to remove
    files = {root / path: text for path, text in _files(content["workloads"])}
    return _align(directory, root, files, dry_run=dry_run)


def _files(workloads: Mapping[str, Any]) -> Iterator[tuple[PurePosixPath, str]]:
    for workload, objects in sorted(workloads.items()):
        if not _FOLDER.fullmatch(workload):
            raise RenderError(f"{workload!r} cannot be a folder's name")
        if objects == _HIDDEN:
            raise RenderError(f"{workload}: an object holds a secret value")
        tree = kustomize_tree(workload, objects)
        for name, text in tree.items():
            yield PurePosixPath(workload) / name, text


def kustomize_tree(workload: str, objects: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Files of one workload by name: one for each object, and ``kustomization.yaml``.

    Raises:
        RenderError: A Secret or a secret value is among them, or two objects are one.
    """
    files: dict[str, str] = {}
    for manifest in objects:
        metadata = manifest["metadata"]
        title = f"{workload}: {manifest['kind']} {metadata['name']}"
        if manifest["kind"] == "Secret":
            raise RenderError(f"{title} must not be in Git; use an ExternalSecret")
        if found := next(_hidden(manifest, ""), None):
            raise RenderError(f"{title} holds a secret value in {found}; use an ExternalSecret")
        name = file_name(manifest)
        if name in files:
            raise RenderError(f"{title} is there twice")
        files[name] = _yaml(manifest)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(files),
    }
    return {"kustomization.yaml": _yaml(kustomization), **files}


def file_name(manifest: Mapping[str, Any]) -> str:
    """Name of an object's file; it tells apart what the API tells apart."""
    group, _, _ = str(manifest["apiVersion"]).rpartition("/")
    metadata = manifest["metadata"]
    parts = [manifest["kind"], group, metadata.get("namespace", ""), metadata["name"]]
    # Names of roles may hold colons, which not every file system takes.
    return "_".join(str(part).lower() for part in parts if part).replace(":", "+") + ".yaml"


def _hidden(value: object, path: str) -> Iterator[str]:
    """Paths of values that are hidden because they are secrets."""
    if value == _HIDDEN:
        yield path.lstrip(".")
    elif isinstance(value, Mapping):
        for key, inner in cast("Mapping[str, object]", value).items():
            yield from _hidden(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(cast("list[object]", value)):
            yield from _hidden(inner, f"{path}[{index}]")


def _yaml(value: Mapping[str, Any]) -> str:
    return yaml.safe_dump(_ordered(value), sort_keys=False, width=1_000_000, allow_unicode=True)


def _ordered(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Sorted, so that the same object is always the same text, but with the usual head."""
    head = {key: manifest[key] for key in ("apiVersion", "kind", "metadata") if key in manifest}
    return {
        **{key: _sorted(value) for key, value in head.items()},
        **_sorted({k: v for k, v in manifest.items() if k not in head}),
    }


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value)
        return {key: _sorted(items[key]) for key in sorted(items)}
    if isinstance(value, list):
        return [_sorted(one) for one in cast("list[Any]", value)]
    # JSON has one kind of number: a replica count of 3.0 is none that Kubernetes takes.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _align(directory: Path, root: PurePosixPath, files: Mapping[PurePosixPath, str], *, dry_run: bool) -> Changes:
    changes = Changes()
    for path, text in sorted(files.items()):
        target = directory / path
        if target.is_symlink() or not target.is_file() or target.read_text(encoding="utf-8") != text:
            changes.written.append(path)
            if not dry_run:
                _write(target, text)
    kept = {parent for path in files for parent in path.parents} | set(files)
    for found in sorted((directory / root).rglob("*"), reverse=True):  # what is inside a folder before the folder
        path = PurePosixPath(found.relative_to(directory).as_posix())
        if path not in kept:
            changes.removed.append(path)
            if not dry_run:
                _remove(found)
    return changes


def _write(target: Path, text: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink():
        target.unlink()
    elif target.is_dir():
        shutil.rmtree(target)
    target.write_text(text, encoding="utf-8")


def _remove(found: Path) -> None:
    if found.is_dir() and not found.is_symlink():
        found.rmdir()
    else:
        found.unlink()


def main(arguments: Sequence[str] | None = None) -> int:
    """Read a stack's outputs as JSON and write its workloads.

    Returns:
        0 written, or nothing to do; 1 with ``--check`` if something would change; 2 refused.
    """
    parser = argparse.ArgumentParser(prog="python -m ops.render", description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path(), help="checkout of the Git repository")
    parser.add_argument(
        "--outputs", default="-", help="file with what `pulumi stack output --json` printed; - reads standard input"
    )
    parser.add_argument("--check", action="store_true", help="change nothing; fail if something would change")
    options = parser.parse_args(arguments)
    try:
        text = sys.stdin.read() if options.outputs == "-" else Path(options.outputs).read_text(encoding="utf-8")
        changes = render(json.loads(text), options.directory, dry_run=options.check)
    except (RenderError, OSError, json.JSONDecodeError) as error:
        print(error, file=sys.stderr)
        return 2
    for path in changes.written:
        print(f"write  {path}")
    for path in changes.removed:
        print(f"remove {path}")
    return 1 if options.check and changes else 0


if __name__ == "__main__":
    raise SystemExit(main())
