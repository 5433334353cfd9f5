"""Carry the order out: one phase after the other, each with progress and a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ops.destroy import finalizers
from ops.destroy.live import Cluster, Object
from ops.destroy.planning import KINDS, PHASES, Item, Known, Phase, Snapshot
from ops.stack import StackError

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long what is waited for.

    Attributes:
        poll_seconds: Between two looks at the cluster.
        grace_seconds: How long something must have been going, and its controller away, before a finalizer is taken
            away: a controller that is only being rescheduled is back by then.
        tell_seconds: Between two lines of progress that say the same.
        scale: Multiplies the deadlines of the phases.
    """

    poll_seconds: float = 5.0
    grace_seconds: float = 60.0
    tell_seconds: float = 60.0
    scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Stuck:
    """A phase that did not end in its time.

    Attributes:
        phase: Its name.
        items: What is still there.
        advice: For each, what holds it and what to do.
    """

    phase: str
    items: tuple[Item, ...]
    advice: tuple[str, ...]


@dataclass(kw_only=True)
class Work:
    """Work on one cluster.

    Attributes:
        cluster: The cluster.
        pulumi: What Pulumi knows of it.
        simulated: Whether nobody looks after the objects: in the sandbox pods are ready and do nothing.
        tell: Hears of progress.
        patience: How long what is waited for.
        released: What was taken away by force, in words: finalizers and what they may leave.
    """

    cluster: Cluster
    pulumi: Known
    simulated: bool
    tell: Tell
    patience: Patience = field(default_factory=Patience)
    released: list[str] = field(default_factory=list[str])
    _asked: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    _away: dict[str, float] = field(default_factory=dict[str, float])

    def snapshot(self) -> Snapshot:
        """Look at the cluster.

        Raises:
            StackError: It does not answer.
        """
        running = self._running()
        return Snapshot(self.cluster.objects(KINDS), self.pulumi, running)

    def _running(self) -> frozenset[str]:
        """Names of controllers that have a ready pod; notes since when each of the others has been away."""
        running = frozenset[str]() if self.simulated else self.cluster.controllers()
        now = time.monotonic()
        for rule in finalizers.RULES:
            if running & set(rule.controller):
                self._away.pop(rule.pattern, None)
            else:
                self._away.setdefault(rule.pattern, now)
        return running

    def _gone(self, rule: finalizers.Rule) -> bool:
        """Whether its controller has been away for so long that it is not coming back by itself."""
        since = self._away.get(rule.pattern)
        return since is not None and time.monotonic() - since >= self.patience.grace_seconds

    def run(self, phase: Phase) -> Stuck | None:
        """Carry a phase out; every look at the cluster is a new one, so it goes on from wherever it was.

        Raises:
            StackError: The cluster does not answer, or refuses.
        """
        deadline = time.monotonic() + phase.seconds * self.patience.scale
        said, said_at, begun = -1, 0.0, False
        while True:
            snapshot = self.snapshot()
            items = [item for item in phase.items(snapshot) if item.do != "leave"]
            if not items:
                if begun:
                    self.tell(f"{phase.name}: done")
                return None
            left = deadline - time.monotonic()
            if len(items) != said or time.monotonic() - said_at > self.patience.tell_seconds:
                said, said_at = len(items), time.monotonic()
                self.tell(f"{phase.name}: {_these(items)}; {max(left, 0):.0f} s left")
            begun = True
            for item in items:
                self._act(item)
                self.release(item.one, snapshot.running)
            if left <= 0:
                advice = tuple(self._advice(item.one, snapshot.running) for item in items)
                return Stuck(phase=phase.name, items=tuple(items), advice=advice)
            time.sleep(min(self.patience.poll_seconds, max(left, 0)))

    def _act(self, item: Item) -> None:
        key = (item.one.uid or item.one.title, f"{item.do}{sorted(item.change)}")
        match item.do:
            case "delete":
                self.cluster.delete(item.one)
            case "patch":
                self.cluster.patch(item.one, item.change)
            case "create":
                self.cluster.create(item.change)
            case "wait" | "leave":
                return
        if key not in self._asked:
            self._asked.add(key)
            self.tell(f"  {_VERBS[item.do]} {item.one.title}" + (f": {item.why}" if item.why else ""))

    def release(self, one: Object, running: frozenset[str]) -> bool:
        """Take away the finalizers of an object that is to go, where their controllers are gone."""
        if not one.deleting or not one.finalizers or one.deleting_seconds() < self.patience.grace_seconds:
            return False
        verdict = finalizers.judge(one.finalizers, running)
        if not verdict.gone or not all(self._gone(rule) for rule in verdict.gone):
            return False
        self.cluster.patch(one, {"metadata": {"finalizers": list(verdict.kept) or None}})
        for rule in verdict.gone:
            leaves = f"; look for: {rule.leaves}" if rule.leaves else ""
            line = f"{one.title}: finalizer {rule.pattern} taken away, its controller is gone ({rule.reason}{leaves})"
            self.released.append(line)
            self.tell(f"  {line}")
        return True

    def _advice(self, one: Object, running: frozenset[str]) -> str:
        if not one.deleting:
            return f"{one.title} is there: {one.command('delete')}"
        verdict = finalizers.judge(one.finalizers, running)
        if verdict.unknown:
            remove = one.command("patch") + ' --type=merge --patch=\'{"metadata":{"finalizers":null}}\''
            names = ", ".join(verdict.unknown)
            return f"{one.title} waits for {names}, of which nothing is known here; if nobody needs it: {remove}"
        if verdict.kept:
            return f"{one.title} waits for {', '.join(verdict.kept)}: look at the log of its controller"
        return f"{one.title} is going"

    def all_of(self, kinds: tuple[str, ...]) -> list[Object]:
        """Objects of the stack that are being deleted."""
        return [one for one in self.cluster.objects(kinds) if one.deleting and self.pulumi.concerns(one)]

    @contextmanager
    def watching(self) -> Generator[None]:
        """While the engine runs: take away finalizers whose controller it has just deleted."""
        over = threading.Event()
        thread = threading.Thread(target=self._watch, args=(over,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(timeout=self.patience.poll_seconds + 60)

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(self.patience.poll_seconds):
            try:
                running = self._running()
                kinds = self.cluster.served(again=True)
                watched = tuple(kind for kind in kinds if kind in _HELD or kind.endswith(_HELD_GROUPS))
                for one in self.all_of(watched):
                    self.release(one, running)
            except StackError:
                continue  # it is on its way out itself, and the engine says so if it matters


_VERBS = {"delete": "deleting", "patch": "changing", "create": "asking for the deletion of"}
# Kinds that finalizers of the rules are found on.
_HELD = ("ingresses.networking.k8s.io", "persistentvolumeclaims", "persistentvolumes", "pods", "services")
_HELD_GROUPS = (
    ".acme.cert-manager.io",
    ".argoproj.io",
    ".elbv2.k8s.aws",
    ".external-secrets.io",
    ".karpenter.sh",
    ".keda.sh",
    ".networking.k8s.aws",
    ".ray.io",
    ".serving.kserve.io",
    ".snapshot.storage.k8s.io",
    ".velero.io",
)


def _these(items: list[Item]) -> str:
    names = [item.one.title for item in items[:3]]
    more = f" and {len(items) - 3} more" if len(items) > 3 else ""
    return ", ".join(names) + more


def carry_out(work: Work) -> Stuck | None:
    """All phases, in order; the first that does not end stops the rest.

    Raises:
        StackError: The cluster does not answer, or refuses.
    """
    for phase in PHASES:
        if stuck := work.run(phase):
            return stuck
    return None
