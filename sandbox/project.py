"""The project as the sandbox's engine sees it: copies of the stack files, so that no run writes what git tracks."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sandbox import paths
from sandbox.engine import Engine
from sandbox.onprem import without_other_clusters
from sandbox.processes import alive

# What belongs to the user's own secrets provider; the sandbox has a passphrase of its own.
_FOREIGN_KEYS = ("secretsprovider", "encryptedkey", "encryptionsalt")


# Variables that lead to accounts and clusters of the user's own; an on-prem stack gets the sandbox's KUBECONFIG.
_CREDENTIALS = ("PULUMI_", "AWS_", "GOOGLE_", "GCLOUD_", "CLOUDSDK_", "KUBECONFIG")

_HOST_FOLDER = Path(__file__).resolve().parent / "host"


class ProjectError(Exception):
    """The checkout is not one that the sandbox can run."""


@dataclass(frozen=True)
class Project:
    """One stack's copy of the project.

    Attributes:
        name: Project name.
        stack: Stack name.
        folder: Directory that the engine runs in; its ``main`` points to the checkout.
        stand_ins: Configuration keys whose encrypted values were replaced.
    """

    name: str
    stack: str
    folder: Path
    stand_ins: tuple[str, ...]

    @property
    def settings(self) -> Path:
        """The copy of the stack's configuration."""
        return self.folder / f"Pulumi.{self.stack}.yaml"

    @property
    def checkpoint(self) -> Path:
        """The engine's state file."""
        return paths.home() / "state" / ".pulumi" / "stacks" / self.name / f"{self.stack}.json"

    @property
    def locks(self) -> Path:
        """Directory of the engine's locks on this stack."""
        return paths.home() / "state" / ".pulumi" / "locks" / "organization" / self.name / self.stack


def stacks() -> list[str]:
    """Return the names of the checkout's stacks."""
    return sorted(path.name.split(".")[1] for path in paths.PROJECT.glob("Pulumi.*.yaml"))


def prepare(stack: str) -> Project:
    """Copy the project file and the stack's configuration into the sandbox.

    Raises:
        ProjectError: There is no such stack.
    """
    source = paths.PROJECT / f"Pulumi.{stack}.yaml"
    if not source.exists():
        raise ProjectError(f"there is no stack {stack!r}: the checkout has {', '.join(stacks())}")
    folder = paths.StackPaths.of(stack).root / "project"
    folder.mkdir(exist_ok=True)
    project = _yaml(paths.PROJECT / "Pulumi.yaml")
    # The Python that runs the sandbox runs the program too: no virtualenv option, which old hosts do not know.
    project |= {"main": str(paths.PROJECT), "runtime": "python"}
    (folder / "Pulumi.yaml").write_text(yaml.safe_dump(project, sort_keys=False))

    copy = folder / source.name
    earlier = _yaml(copy) if copy.exists() else {}
    settings = _yaml(source)
    for key in _FOREIGN_KEYS:
        settings.pop(key, None)
    config, stand_ins = _without_encrypted(without_other_clusters(settings.get("config") or {}))
    settings["config"] = config
    if salt := earlier.get("encryptionsalt"):
        settings["encryptionsalt"] = salt
    copy.write_text(yaml.safe_dump(settings, sort_keys=False))
    return Project(str(project["name"]), stack, folder, stand_ins)


def _yaml(path: Path) -> dict[str, Any]:
    content: dict[str, Any] | None = yaml.safe_load(path.read_text())
    return content or {}


def _without_encrypted(config: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Replace values that only the user's secrets provider can decrypt."""
    encrypted = tuple(key for key, value in config.items() if isinstance(value, dict) and "secure" in value)
    return {**config, **dict.fromkeys(encrypted, "sandbox")}, encrypted


def environment(engine: Engine, providers: str) -> dict[str, str]:
    """Return the environment of the engine: its own home, state and passphrase, and our providers."""
    home = paths.home()
    for folder in ("state", "pulumi"):
        (home / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    passphrase = home / "passphrase"
    if not passphrase.exists():
        passphrase.touch(mode=0o600)
        passphrase.write_text(secrets.token_urlsafe(24))
    searched = [
        str(Path(sys.executable).parent),
        *(str(folder) for folder in engine.folders),
        os.environ.get("PATH", ""),
    ]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_CREDENTIALS)}
    return (
        kept
        | {
            "PATH": os.pathsep.join(searched),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(_HOST_FOLDER), os.environ.get("PYTHONPATH")))),
            "PULUMI_HOME": str(home / "pulumi"),
            # Without the sidecar files for metadata: unlike the state itself they are not written in one step, and a
            # kill at the wrong moment would leave one that the engine cannot read.
            "PULUMI_BACKEND_URL": f"file://{home / 'state'}?metadata=skip",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DEBUG_COMMANDS": "true",  # for --event-log: what policies find stands in no other output
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_DEBUG_PROVIDERS": providers,
            "PULUMI_SELF_MANAGED_STATE_NO_LEGACY_WARNING": "true",
        }
        | _saving()
    )


def _saving() -> dict[str, str]:
    """When the engine saves its state: once, at the end of a run, or with ``SANDBOX_SAVE=each`` after each step.

    A state of hundreds of resources that is written hundreds of times takes longer than all else. Whoever interrupts a
    run loses nothing; of one that is killed, nothing is known afterwards.
    """
    if os.environ.get("SANDBOX_SAVE") == "each":
        return {}
    return {"PULUMI_EXPERIMENTAL": "true", "PULUMI_SKIP_CHECKPOINTS": "true"}


def known_resources(project: Project) -> list[tuple[str, str]]:
    """Return (type, identifier) of every resource in the engine's state."""
    if not project.checkpoint.exists():
        return []
    checkpoint: dict[str, Any] = json.loads(project.checkpoint.read_text())["checkpoint"]
    latest: dict[str, Any] = checkpoint.get("latest") or {}
    resources: list[dict[str, Any]] = latest.get("resources") or []
    return [(resource["type"], str(resource.get("id", ""))) for resource in resources]


def release_stale_lock(project: Project, engine: Engine, env: dict[str, str]) -> bool:
    """Cancel the lock of an engine that was killed; True where there was one.

    Raises:
        ProjectError: Another engine really runs on this stack.
    """
    held = sorted(project.locks.glob("*.json")) if project.locks.exists() else []
    for lock in held:
        pid = int(json.loads(lock.read_text()).get("pid", 0))
        if alive(pid):
            raise ProjectError(
                f"another update of stack {project.stack} is running (process {pid}); wait for it to end"
            )
    if held:
        run(engine, env, project, "cancel", "--yes", "--stack", project.stack)
    return bool(held)


def run(engine: Engine, env: dict[str, str], project: Project, *arguments: str) -> None:
    """Run an engine command quietly.

    Raises:
        ProjectError: It failed; with its own words.
    """
    answer = subprocess.run(
        [str(engine.pulumi), *arguments, "--non-interactive"],
        cwd=project.folder, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if answer.returncode != 0:
        raise ProjectError(f"pulumi {arguments[0]} failed: {answer.stderr.strip() or answer.stdout.strip()}")


def ensure_stack(project: Project, engine: Engine, env: dict[str, str]) -> None:
    """Create the stack in the sandbox's state where it is missing."""
    if not project.checkpoint.exists():
        run(engine, env, project, "stack", "init", project.stack)
