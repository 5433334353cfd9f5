"""What is shown of a plan, and of what was done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from ops.cli import EXIT_REFUSED
from ops.destroy.finalizers import rule_of
from ops.destroy.planning import Item, Phase
from ops.destroy.protection import Delayed, Protected
from ops.leftovers import cli as leftovers
from ops.leftovers.model import Leftover, Proof

if TYPE_CHECKING:
    from ops.destroy.account import Planned


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
        account: What there is to do in the account; None where it was not asked.
        without_account: Why it was not asked; empty where there is none.
    """

    stack: str
    resources: int
    protected: Sequence[Protected]
    delayed: Sequence[Delayed]
    steps: Sequence[tuple[Phase, Sequence[Item]]]
    without_cluster: str = ""
    account: Planned | None = None
    without_account: str = ""


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
        "account": asdict(plan.account) if plan.account else None,
        "withoutAccount": plan.without_account,
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
    number = _before_the_engine(out, plan.account, number) if plan.account else number
    out.print(f"{number + 1}. pulumi destroy: {plan.resources} resources", markup=False)
    number = _after_the_engine(out, plan.account, number + 1) if plan.account else number + 1
    out.print(f"{number + 1}. leftovers: the account is asked whether anything remains", markup=False)
    if plan.account and plan.account.kept:
        _kept(out, plan.account.kept, plan.stack)
    if plan.without_account:
        out.print(f"The account was not asked: {plan.without_account}", markup=False)
    for late in plan.delayed:
        out.print(f"stays for a while: {late.name}: {late.what}", markup=False)
    if plan.protected:
        lifted = sum(1 for one in plan.protected if one.by != "account")
        way = f"; --unprotect --confirm {plan.stack} --yes lifts {lifted} of them" if lifted else ""
        out.print(f"{len(plan.protected)} protections refuse{way}", markup=False)
    else:
        out.print("nothing was changed; --yes does it", markup=False)


def _before_the_engine(out: Console, account: Planned, number: int) -> int:
    if account.controllers or account.buckets:
        number += 1
        title = f"{number}. the account: a network with a load balancer in it cannot go, nor a bucket with objects"
        table = Table("what", "name", "step", title=title, title_justify="left")
        for one in account.controllers:
            table.add_row(one.kind, one.name, "waited for, then removed")
        for name in account.buckets:
            table.add_row("bucket", name, "emptied, with every version")
        out.print(table)
    return number


def _after_the_engine(out: Console, account: Planned, number: int) -> int:
    if account.after:
        number += 1
        title = f"{number}. what is left of this, once nothing looks after it"
        table = Table("what", "name", "made by", title=title, title_justify="left")
        for one in account.after:
            table.add_row(one.kind, one.name, one.made_by)
        out.print(table)
    for missing in account.unseen:
        out.print(f"not seen: {missing.what}: {missing.why}", markup=False)
    return number


def _kept(out: Console, kept: Sequence[Leftover], stack: str) -> None:
    table = Table(
        "what", "name", "made by", title="Stays, unless the cluster or the engine takes it", title_justify="left"
    )
    for one in kept:
        table.add_row(one.kind, one.name, one.made_by)
    out.print(table)
    out.print(f"what then remains of it goes with: {_removal(stack)}", markup=False)


def _removal(stack: str) -> str:
    return f"python -m ops leftovers --stack {stack} --remove --data --confirm {stack} --yes"


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
            if any(one.fate in ("safe", "data") for one in self.proof.found):
                out.print(f"look at it; then: {_removal(self.stack)}", markup=False)
        elif self.unasked:
            out.print(f"the account was not asked whether anything remains: {self.unasked}", markup=False)
