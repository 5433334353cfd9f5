"""The whole of a destroy: what refuses, what Pulumi does not know, the engine, and the proof."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

from ops.destroy import planning, protection
from ops.destroy.live import Cluster
from ops.destroy.planning import PHASES
from ops.destroy.report import Done, Plan
from ops.destroy.work import Patience, Work
from ops.destroy.work import carry_out as carry_out_phases
from ops.leftovers import cli as leftovers
from ops.leftovers import onprem
from ops.leftovers import record as records
from ops.leftovers.cli import tell
from ops.leftovers.record import Record
from ops.pulumi import EngineError, pulumi, pulumi_streamed, stack_export
from ops.stack import Stack, StackError
from ops.stack_file import stack_file

_ENGINE_SECONDS: Final = 3 * 3600.0  # an EKS cluster, its groups and a database take most of an hour
_BALANCER_SECONDS: Final = 600.0  # a network load balancer is gone some minutes after its Service
_ROUNDS: Final = 3
_CLUSTERS: Final = ("aws:eks/cluster:Cluster", "eks:index:Cluster", "gcp:container/cluster:Cluster")
_UNREACHABLE: Final = {"PULUMI_K8S_DELETE_UNREACHABLE": "true"}


class DestroyError(Exception):
    """It could not be carried out; the message says what to do."""


class RefusedError(Exception):
    """Something is protected."""


@dataclass(frozen=True)
class Destroy:
    """A stack that is to go.

    Attributes:
        stack: Its name, as Pulumi knows it.
        sandbox: Whether it is in the sandbox.
        deployment: Its state.
        record: What was known of it, now and at earlier attempts; none where it never was.
        path: Where the record is kept.
        ask_cluster: Whether the cluster is asked.
        scale: Multiplies every deadline.
    """

    stack: str
    sandbox: bool
    deployment: Mapping[str, Any]
    record: Record | None
    path: Path
    ask_cluster: bool
    scale: float

    @staticmethod
    def read(stack: str, *, sandbox: bool, folder: Path | None, cluster: bool, scale: float) -> Destroy:
        """Read the state, and what is known from before.

        Raises:
            EngineError: There is no engine, or no such stack.
            RecordError: The record cannot be read.
        """
        path = records.place(stack, folder)
        deployment = _deployment(stack, sandbox=sandbox)
        now, before = records.of_state(stack, deployment), records.read(path)
        record = records.merged(before, now) if now else before
        return Destroy(stack, sandbox, deployment, record, path, cluster, scale)

    @property
    def resources(self) -> list[dict[str, Any]]:
        """What the engine knows."""
        return cast("list[dict[str, Any]]", self.deployment.get("resources") or [])

    @property
    def count(self) -> int:
        """How many resources it deletes."""
        return sum(1 for one in self.resources if one.get("custom") and not one["type"].startswith("pulumi:"))

    def again(self) -> Destroy:
        """The same with the state as it is now."""
        return replace(self, deployment=_deployment(self.stack, sandbox=self.sandbox))

    def has(self, *types: str) -> bool:
        """Whether a type of these is in the state."""
        return any(one["type"].startswith(types) for one in self.resources)

    def remember(self, **changes: Any) -> Destroy:
        """Change the record, and write it."""
        if self.record is None:
            return self
        changed = replace(self.record, **changes)
        records.write(changed, self.path)
        return replace(self, record=changed)


def _deployment(stack: str, *, sandbox: bool) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", stack_export(stack, sandbox=sandbox).get("deployment") or {})


@contextmanager
def _cluster(destroy: Destroy) -> Generator[tuple[Work | None, str]]:
    """The cluster, or why it is not asked.

    Raises:
        DestroyError: It does not answer though it should be there.
    """
    if not destroy.ask_cluster:
        yield None, "--without-cluster"
        return
    cloud = destroy.record.cloud if destroy.record else ""
    if not destroy.has("kubernetes:", *_CLUSTERS):
        yield None, "the state has no cluster and nothing in one"
        return
    stack = Stack(destroy.stack, destroy.sandbox, {})
    try:
        opened = stack.kubeconfig()
        kubeconfig = opened.__enter__()
    except EngineError as error:
        why = _missing(destroy, str(error))
        yield None, why
        return
    try:
        cluster = Cluster(kubeconfig)
        try:
            cluster.served()
        except StackError as error:
            yield None, _missing(destroy, str(error))
            return
        scale = destroy.scale
        patience = Patience(
            poll_seconds=5 * min(scale, 1), grace_seconds=60 * scale, tell_seconds=60 * min(scale, 1), scale=scale
        )
        known = planning.known(destroy.deployment, cloud)
        yield Work(cluster=cluster, pulumi=known, simulated=destroy.sandbox, tell=tell, patience=patience), ""
    finally:
        opened.__exit__(None, None, None)


def _missing(destroy: Destroy, error: str) -> str:
    """Why it is right that the cluster does not answer.

    Raises:
        DestroyError: It is not.
    """
    cloud = destroy.record.cloud if destroy.record else ""
    if destroy.sandbox:
        return f"the sandbox has none that runs: {error}"
    if cloud in ("aws", "gcp") and not destroy.has(*_CLUSTERS):
        return "it is gone already"
    raise DestroyError(
        f"the cluster does not answer, and what it made at the cloud would be left behind: {error}\n"
        "Make it reachable (VPN, credentials), or go on with --without-cluster and look at what `ops leftovers` finds."
    )


def plan(destroy: Destroy) -> Plan:
    """What a destroy would meet; nothing is changed.

    Raises:
        DestroyError: The cluster does not answer.
        EngineError: The same, or the engine does not.
    """
    steps: list[Any] = []
    with _cluster(destroy) as (work, why):
        if work is not None:
            snapshot = work.snapshot()
            steps = [(phase, list(phase.items(snapshot))) for phase in PHASES]
    return Plan(
        stack=destroy.stack,
        resources=destroy.count,
        protected=protection.protected(destroy.deployment, destroy.stack),
        delayed=protection.delayed(destroy.deployment),
        steps=steps,
        without_cluster=why,
    )


def carry_out(destroy: Destroy, *, unprotect: bool, confirm: str) -> Done:
    """Do it, from wherever an earlier attempt stopped.

    Raises:
        RefusedError: Something is protected, or the name was not typed again.
        DestroyError: The cluster does not answer.
        EngineError: The engine does not.
        UnusableError: The account does not, or it is another one.
    """
    if destroy.record is None:
        raise DestroyError(f"stack {destroy.stack} has no resources, and no record of a destroy says that it ever had")
    if destroy.record.cloud == "aws" and not destroy.sandbox and destroy.record.regions:
        leftovers.aws_account(destroy.record)  # before anything goes: without it the end cannot be proven
    destroy = _let_go(destroy, unprotect=unprotect, confirm=confirm)
    destroy = destroy.remember()  # before anything goes: afterwards nobody knows the names
    if not destroy.count:
        return _proof(destroy, Done(stack=destroy.stack, engine=0))
    with _cluster(destroy) as (work, why):
        if work is None:
            tell(f"the cluster is not asked: {why}")
        else:
            handles = [planning.handle(one) for one in work.cluster.objects(["persistentvolumes"])]
            known = destroy.record.volumes if destroy.record else ()
            destroy = destroy.remember(volumes=tuple(dict.fromkeys((*known, *handles))))
            if stuck := carry_out_phases(work):
                lines = [f"{stuck.phase}: {advice}" for advice in stuck.advice]
                return Done(stack=destroy.stack, stuck=lines, released=work.released)
        _prepare_account(destroy)
        gone_for_good = work is None and not destroy.sandbox
        code = _engine(destroy, work, environment=_UNREACHABLE if gone_for_good else {})
        released = work.released if work else []
        record, proven = destroy.record, None
        if work and record and record.cloud == "onprem" and not code:
            proven = onprem.search(record, work.cluster.kubeconfig)  # it outlives the stack
    done = Done(stack=destroy.stack, engine=code, released=released)
    if proven is not None:
        return replace(done, proof=proven)
    return done if code else _proof(destroy, done)


def _let_go(destroy: Destroy, *, unprotect: bool, confirm: str) -> Destroy:
    """See that nothing refuses, or let it go where that is wanted."""
    found = protection.protected(destroy.deployment, destroy.stack)
    if found:
        destroy = destroy.remember(protected=True)
    if found and not unprotect:
        raise RefusedError(_refusal(destroy.stack, found))
    if destroy.record and destroy.record.protected and confirm != destroy.stack:
        raise RefusedError(
            f"stack {destroy.stack} is protected, or was: what it holds is gone for good afterwards; "
            f"type its name again: --confirm {destroy.stack}"
        )
    if not found:
        return destroy
    lifted_by_update = [one for one in found if one.by == "cloud"]
    if lifted_by_update and _still_wanted(destroy.stack):
        raise RefusedError(
            f"the cloud itself protects {', '.join(sorted({one.name for one in lifted_by_update}))}, as the stack's "
            f'settings want it: set llmops:protect to "false" in {stack_file(destroy.stack)}, '
            "then run this again"
        )
    tell(f"letting go {len(found)} protections")
    pulumi(["state", "unprotect", "--all", "--yes", "--stack", destroy.stack], sandbox=destroy.sandbox)
    if lifted_by_update:
        targets = [f"--target={urn}" for urn in dict.fromkeys(one.urn for one in lifted_by_update)]
        update = ["up", "--yes", "--skip-preview", "--stack", destroy.stack, *targets]
        if pulumi_streamed(update, sandbox=destroy.sandbox, seconds=_ENGINE_SECONDS * destroy.scale):
            raise DestroyError("the update that lifts the clouds' own protection failed; the engine said why")
    destroy = destroy.again()
    if found := protection.protected(destroy.deployment, destroy.stack):
        raise RefusedError(_refusal(destroy.stack, found))
    return destroy


def _refusal(stack: str, found: list[protection.Protected]) -> str:
    lines = "\n".join(
        f"  {one.name} ({one.type}): {one.why}" + (f"; {one.holds}" if one.holds else "") + f"\n    {one.unprotect}"
        for one in found
    )
    return f"{stack} has {len(found)} protections:\n{lines}\nor all of them: --unprotect --confirm {stack} --yes"


def _still_wanted(stack: str) -> bool:
    """Whether the stack's settings, which are reviewed, still want the protection."""
    from ops.preflight import target as targets  # noqa: PLC0415 the settings take long to load

    try:
        return targets.read(stack.rpartition("/")[2]).settings.protect
    except targets.TargetError:  # another program: its own update decides
        return False


def _prepare_account(destroy: Destroy) -> None:
    """AWS, before the engine: load balancers must be gone, and buckets empty, or it waits and fails."""
    record = destroy.record
    if destroy.sandbox or record is None or record.cloud != "aws" or not record.regions:
        return
    from ops.leftovers.aws.buckets import empty  # noqa: PLC0415 only where the stack is on AWS
    from ops.leftovers.aws.removal import remove  # noqa: PLC0415 the same
    from ops.leftovers.aws.search import MADE_BY_CONTROLLERS, search  # noqa: PLC0415 the same

    account = leftovers.aws_account(record)
    deadline = time.monotonic() + _BALANCER_SECONDS * destroy.scale
    engines = {str(one["id"]) for one in destroy.resources if one.get("id")}
    # The engine deletes these Services itself, before the controller that removes their load balancers.
    kept = {
        f"Service {namespace}/{name}"
        for kind, namespace, name in planning.known(destroy.deployment, record.cloud).objects
        if kind == "Service"
    }
    while True:
        made = search(account, record, MADE_BY_CONTROLLERS).found
        found = [one for one in made if one.name not in engines and one.note not in kept]
        if not found or time.monotonic() > deadline:
            break
        tell(f"waiting for {len(found)} load balancers and target groups to go: {found[0].name}")
        time.sleep(15 * min(destroy.scale, 1))
    if found:
        tell("their controller did not remove them; they go now")
        for line in remove(account, found, record.regions[0], tell, seconds=60 * destroy.scale):
            tell(line)
    for one in destroy.resources:
        outputs = cast("Mapping[str, Any]", one.get("outputs") or {})
        if one["type"] == "aws:s3/bucket:Bucket" and outputs.get("forceDestroy"):
            region = str(outputs.get("region") or record.regions[0])
            name = str(one["id"])
            versions = empty(account, name, region, lambda gone, name=name: tell(f"{name}: {gone} versions deleted"))
            tell(f"{name}: empty, {versions} versions deleted")


def _engine(destroy: Destroy, work: Work | None, environment: Mapping[str, str]) -> int:
    """``pulumi destroy``, again where it got further; what it deletes the controllers of is looked after meanwhile."""
    code, left = 0, destroy.count
    for attempt in range(_ROUNDS):
        tell(f"pulumi destroy: {left} resources" + (", once more" if attempt else ""))
        arguments = ["destroy", "--yes", "--skip-preview", "--stack", destroy.stack]
        with work.watching() if work else nullcontext():
            code = pulumi_streamed(
                arguments, sandbox=destroy.sandbox, seconds=_ENGINE_SECONDS * destroy.scale, environment=environment
            )
        if code == 0:
            return 0
        now = destroy.again().count
        if now >= left:
            break
        left = now
    return code


def _proof(destroy: Destroy, done: Done) -> Done:
    record = destroy.record
    if record is None:
        return done
    if destroy.sandbox:
        return replace(done, unasked="the sandbox has none; `python -m sandbox account list` shows what it remembers")
    return replace(done, proof=leftovers.look(record))
