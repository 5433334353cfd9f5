"""What is shown of a plan, and of what was done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from ops.cli import EXIT_REFUSED
from ops.destroy.finalizers import rule_of
from ops.destroy.planning import Item, Phase
from ops.destroy.protection import Delayed, Protected
from ops.leftovers import cli as leftovers
from ops.leftovers.model import Proof


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a destroy would meet.

    Attributes:
        stack: The stack.
        resources: How many resources Pulumi deletes.
        protected: What refuses.
        delayed: What the cloud keeps for a while.
        steps: What goes before Pulumi begins, by phase.
        without_cluster: Why nothing was asked of the cluster; empty where it was.
    """

    stack: str
    resources: int
    protected: Sequence[Protected]
    delayed: Sequence[Delayed]
    steps: Sequence[tuple[Phase, Sequence[Item]]]
    without_cluster: str = ""


def as_json(plan: Plan) -> dict[str, Any]:
    """For programs."""
    return {
        "stack": plan.stack,
        "resources": plan.resources,
        "protected": [asdict(one) for one in plan.protected],
        "delayed": [asdict(one) for one in plan.delayed],
        "phases": [
            {"name": phase.name, "why": phase.why_now, "seconds": phase.seconds, "items": [_item(one) for one in items]}
            for phase, items in plan.steps
        ],
        "withoutCluster": plan.without_cluster,
    }


def _item(item: Item) -> dict[str, Any]:
    one = item.one
    return {
        "kind": one.kind,
        "namespace": one.namespace,
        "name": one.name,
        "step": item.do,
        "makes": item.makes,
        "why": item.why,
        "finalizers": [
            {"name": name, "known": (rule := rule_of(name)) is not None, "reason": rule.reason if rule else ""}
            for name in one.finalizers
        ],
        "deleting": one.deleting,
    }


def show(out: Console, plan: Plan) -> None:
    """Tables and sentences for people."""
    if plan.protected:
        table = Table("protected", "what is lost", "who refuses", "how it is let go", title="Refused")
        for one in plan.protected:
            table.add_row(one.name, one.holds or one.type, one.why, one.unprotect)
        out.print(table)
    if plan.without_cluster:
        out.print(f"The cluster was not asked: {plan.without_cluster}", markup=False)
    number = 0
    for phase, items in plan.steps:
        if not items:
            continue
        number += 1
        minutes = phase.seconds / 60
        table = Table(
            "object",
            "step",
            "in the account",
            "why",
            title=f"{number}. {phase.name}, at most {minutes:.0f} minutes: {phase.why_now}",
            title_justify="left",
        )
        for item in items:
            held = f" (held by {', '.join(item.one.finalizers)})" if item.one.deleting and item.one.finalizers else ""
            table.add_row(f"{item.one.title}{held}", item.do, item.makes, item.why)
        out.print(table)
    out.print(f"{number + 1}. pulumi destroy: {plan.resources} resources", markup=False)
    out.print(f"{number + 2}. leftovers: the account is asked whether anything remains", markup=False)
    for late in plan.delayed:
        out.print(f"stays for a while: {late.name}: {late.what}", markup=False)
    if plan.protected:
        out.print(
            f"{len(plan.protected)} protections refuse; --unprotect --confirm {plan.stack} --yes lifts them",
            markup=False,
        )
    else:
        out.print("nothing was changed; --yes does it", markup=False)


@dataclass(frozen=True, kw_only=True)
class Done:
    """What came of a destroy.

    Attributes:
        stack: The stack.
        stuck: What did not end in its time, in words; empty where everything did.
        released: Finalizers that were taken away.
        engine: The engine's exit code; None where it was not reached.
        proof: What the account says; None where it was not asked.
        unasked: Why it was not asked.
    """

    stack: str
    stuck: Sequence[str] = ()
    released: Sequence[str] = ()
    engine: int | None = None
    proof: Proof | None = None
    unasked: str = ""

    @property
    def exit_code(self) -> int:
        """0: gone and, where there is an account, proven."""
        if self.stuck or self.engine:
            return EXIT_REFUSED
        return self.proof.exit_code if self.proof else 0

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "stack": self.stack,
            "destroyed": self.engine == 0,
            "stuck": list(self.stuck),
            "released": list(self.released),
            "leftovers": self.proof.as_json() if self.proof else None,
            "unasked": self.unasked,
        }

    def show(self, out: Console) -> None:
        """Sentences for people."""
        for line in self.released:
            out.print(line, markup=False)
        for line in self.stuck:
            out.print(f"stuck: {line}", markup=False)
        if self.stuck or self.engine:
            out.print(f"{self.stack}: not destroyed; the same command goes on with what is left", markup=False)
            return
        out.print(f"{self.stack}: destroyed", markup=False)
        if self.proof:
            leftovers.show(self.stack, self.proof)
        elif self.unasked:
            out.print(f"the account was not asked whether anything remains: {self.unasked}", markup=False)
