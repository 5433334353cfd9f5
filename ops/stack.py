"""What a command knows of a stack, from its name alone: its outputs, and the way to its cluster."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from ops.pulumi import EngineError, pulumi, run

StackName = Annotated[
    str,
    typer.Option("--stack", "-s", envvar="PULUMI_STACK", help="The stack: `dev`, or `<organization>/<project>/dev`."),
]
"""Option of every command that works on a stack."""

InSandbox = Annotated[bool, typer.Option("--sandbox", help="The stack that the sandbox holds.")]
"""Option: the stack is one of `python -m sandbox`."""

AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs, in place of a table.")]
"""Option of every command that shows something."""

Confirmed = Annotated[
    bool, typer.Option("--yes", help="Do it. Without it the command says what it would do, and stops.")
]
"""Option of every command that changes or removes something."""


class StackError(EngineError):
    """The stack, its outputs or its cluster could not be read; the message says what to do."""


@dataclass(frozen=True)
class Stack:
    """A stack that is up.

    Attributes:
        name: As Pulumi knows it.
        sandbox: Whether it is in the sandbox.
        outputs: By name; secret ones are not among them.
    """

    name: str
    sandbox: bool
    outputs: Mapping[str, Any] = field(repr=False)

    @staticmethod
    def read(name: str, *, sandbox: bool = False) -> Stack:
        """Ask the engine for the outputs.

        Raises:
            EngineError: There is no engine, or no such stack.
            StackError: None is named, or it has never been brought up.
        """
        if not name:
            raise StackError("no stack is named; give --stack, or set PULUMI_STACK")
        outputs = cast(
            "dict[str, Any]", json.loads(pulumi(["stack", "output", "--json", "--stack", name], sandbox=sandbox))
        )
        if not outputs:
            raise StackError(f"stack {name} has no outputs; bring it up first: pulumi up --stack {name}")
        return Stack(name, sandbox, outputs)

    def output(self, *path: str) -> Any:
        """The output below ``path``.

        Raises:
            StackError: There is none: the stack was brought up by an older version of the program.
        """
        found: Any = self.outputs
        for step in path:
            if not isinstance(found, Mapping) or step not in found:
                missing = f"stack {self.name} has no output {'.'.join(path)}"
                raise StackError(f"{missing}; `pulumi up` of this version of the program adds it")
            found = cast("Mapping[str, Any]", found)[step]
        return found

    @contextmanager
    def kubeconfig(self) -> Generator[Path]:
        """A kubeconfig of the cluster, for as long as it is needed; readable by this account only.

        Of a cluster that was there before, the stack tells where it is and nobody's credentials: the operator's own are
        taken, where they lead to it.

        Raises:
            EngineError: The engine refused to show it.
            StackError: It names nobody, and ``KUBECONFIG`` leads to no cluster or to another one.
        """
        if self.sandbox:  # the outputs tell of a cloud's cluster; what answers is a control plane on this machine
            yield Path(run([sys.executable, "-m", "sandbox", "kubeconfig", "--stack", self.name]).strip())
            return
        asked = ["stack", "output", "kubeconfig", "--show-secrets", "--stack", self.name]
        with tempfile.TemporaryDirectory(prefix="llmops-") as folder:
            path = Path(folder) / "kubeconfig"
            path.touch(mode=0o600)
            told = pulumi(asked, sandbox=self.sandbox)
            path.write_text(told)
            yield _own_way(path, self.name) if _names_nobody(told) else path


def _names_nobody(kubeconfig: str) -> bool:
    import yaml  # noqa: PLC0415 most commands need no cluster

    found: Any = yaml.safe_load(kubeconfig)
    users = cast("Mapping[str, Any]", found).get("users") if isinstance(found, Mapping) else None
    return bool(users) and not any(one.get("user") for one in cast("list[Mapping[str, Any]]", users))


def _own_way(known: Path, stack: str) -> Path:
    """What the operator's kubectl takes, if that is the stack's cluster."""
    own = Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")  # a list of files, too
    if not same_cluster(own, known):
        raise StackError(
            f"the current context of {own} is of another cluster than stack {stack}, or of none; set KUBECONFIG to a "
            "kubeconfig of somebody who may act there"
        )
    return own


def same_cluster(one: Path, other: Path) -> bool:
    """Whether the current contexts of both lead to one cluster: the same address, or the same authority behind it."""
    first, second = (_cluster(_view(path)) for path in (one, other))
    return any(first.get(key) and first[key] == second.get(key) for key in ("server", "certificate-authority-data"))


def _cluster(view: Mapping[str, Any]) -> Mapping[str, Any]:
    found = cast("list[Mapping[str, Any]]", view.get("clusters") or [])
    return cast("Mapping[str, Any]", found[0]["cluster"]) if found else {}


def _view(kubeconfig: Path) -> dict[str, Any]:
    # `--flatten` puts in what a file holds that it only names.
    return json.loads(kubectl(kubeconfig, ["config", "view", "--minify", "--flatten", "--raw", "-o", "json"]))


def kubectl(kubeconfig: Path, arguments: Sequence[str], *, given: str | None = None) -> str:
    """Run kubectl and return what it printed; ``given`` goes to its standard input.

    Raises:
        StackError: There is no kubectl, or it refused; the message is its own.
    """
    try:
        done = subprocess.run(
            [os.environ.get("KUBECTL", "kubectl"), *arguments],
            env={**os.environ, "KUBECONFIG": str(kubeconfig)},
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise StackError("there is no `kubectl` on PATH; install it, or name one in KUBECTL") from None
    if done.returncode != 0:
        raise StackError(f"kubectl {' '.join(arguments[:3])}: {done.stderr.strip()}")
    return done.stdout


def secret_of(kubeconfig: Path, namespace: str, name: str) -> dict[str, str]:
    """The values of a Secret; empty where it has none yet.

    Raises:
        StackError: There is none, or it may not be read.
    """
    found = json.loads(kubectl(kubeconfig, ["-n", namespace, "get", "secret", name, "-o", "json"]))
    data = cast("dict[str, str]", found.get("data") or {})
    return {key: base64.b64decode(value).decode() for key, value in data.items()}
