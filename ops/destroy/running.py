"""The whole of a destroy: what refuses, what Pulumi does not know, the engine, and the proof."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
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
from ops.preflight.aws.account import CredentialsError
from ops.preflight.gcp.account import CredentialsError as GoogleCredentials
from ops.pulumi import EngineError, pulumi, pulumi_streamed, stack_export
from ops.stack import Stack, StackError
from ops.stack_file import stack_file

_ENGINE_SECONDS: Final = 3 * 3600.0  # an EKS cluster, its groups and a database take most of an hour
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
        accounts: The account, once it was asked for.
    """

    stack: str
    sandbox: bool
    deployment: Mapping[str, Any]
    record: Record | None
    path: Path
    ask_cluster: bool
    scale: float
    accounts: list[Any] = field(default_factory=list[Any], repr=False)

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

    @property
    def in_account(self) -> bool:
        """Whether there is an account of AWS, or a project of Google Cloud, that can be asked."""
        record = self.record
        return bool(not self.sandbox and record and record.cloud in ("aws", "gcp") and record.regions)

    @property
    def around(self) -> Any:
        """What is to be done in the account around the engine: the module of the stack's cloud."""
        assert self.record
        if self.record.cloud == "gcp":
            from ops.destroy import google  # noqa: PLC0415 only where the stack is there

            return google
        from ops.destroy import account  # noqa: PLC0415 only where the stack is on AWS

        return account

    def account(self) -> tuple[Record, Any]:
        """The record, and the account that it is about.

        Raises:
            UnusableError: There are no credentials, or they are of another account.
        """
        assert self.record
        if not self.accounts:
            google = self.record.cloud == "gcp"
            self.accounts.append(leftovers.google_account() if google else leftovers.aws_account(self.record))
        return self.record, self.accounts[0]

    @property
    def services(self) -> frozenset[str]:
        """Services that the engine deletes itself."""
        objects = planning.known(self.deployment, self.record.cloud if self.record else "").objects
        return frozenset(f"Service {namespace}/{name}" for kind, namespace, name in objects if kind == "Service")

    def with_volumes(self, handles: Sequence[str]) -> Destroy:
        """The same, with disks that the cluster's volumes have now."""
        if self.record is None:
            return self
        volumes = tuple(dict.fromkeys((*self.record.volumes, *handles)))
        return replace(self, record=replace(self.record, volumes=volumes))

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
            handles = [planning.handle(one) for one in work.cluster.objects(["persistentvolumes"])]
            destroy = destroy.with_volumes(handles)
    found = protection.protected(destroy.deployment, destroy.stack)
    planned, unasked = None, ""
    if destroy.in_account:
        accounts = destroy.around
        try:
            record, account = destroy.account()
            planned = accounts.planned(account, record, destroy.resources, destroy.services)
            found = _with(found, accounts.protected(account, record, destroy.resources))
        except (leftovers.UnusableError, CredentialsError, GoogleCredentials) as error:
            unasked = str(error)
    return Plan(
        stack=destroy.stack,
        resources=destroy.count,
        protected=found,
        delayed=protection.delayed(destroy.deployment),
        steps=steps,
        without_cluster=why,
        account=planned,
        without_account=unasked,
    )


def _with(found: list[protection.Protected], more: list[protection.Protected]) -> list[protection.Protected]:
    """Both; what the state says already is not said twice."""
    said = {(one.urn, one.why) for one in found}
    return [*found, *(one for one in more if not one.urn or (one.urn, one.why) not in said)]


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
    if destroy.in_account:
        destroy.account()  # before anything goes: without it the end cannot be proven
    destroy = _let_go(destroy, unprotect=unprotect, confirm=confirm)
    destroy = destroy.remember()  # before anything goes: afterwards nobody knows the names
    if not destroy.count:
        return _proof(destroy, Done(stack=destroy.stack, engine=0))
    with _cluster(destroy) as (work, why):
        if work is None:
            tell(f"the cluster is not asked: {why}")
        else:
            handles = [planning.handle(one) for one in work.cluster.objects(["persistentvolumes"])]
            destroy = destroy.with_volumes(handles).remember()
            if stuck := carry_out_phases(work):
                lines = [f"{stuck.phase}: {advice}" for advice in stuck.advice]
                return Done(stack=destroy.stack, stuck=lines, released=work.released)
        if destroy.in_account:
            accounts = destroy.around
            record, account = destroy.account()
            accounts.prepare(account, record, destroy.resources, destroy.services, scale=destroy.scale)
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
    by_account: list[protection.Protected] = []
    if destroy.in_account:
        accounts = destroy.around
        record, account = destroy.account()
        by_account = _with(found, accounts.protected(account, record, destroy.resources))[len(found) :]
    if found or by_account:
        destroy = destroy.remember(protected=True)
    if (found and not unprotect) or by_account:
        raise RefusedError(_refusal(destroy.stack, [*found, *by_account]))
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
    lifted = [one for one in found if one.by != "account"]
    if not lifted:
        return f"{stack} has {len(found)} protections, and nothing was deleted:\n{lines}"
    which = "all of them" if lifted == found else f"the first {len(lifted)}, when the others are lifted"
    refused = f"{stack} has {len(found)} protections, and nothing was deleted"
    return f"{refused}:\n{lines}\nor {which}: --unprotect --confirm {stack} --yes"


def _still_wanted(stack: str) -> bool:
    """Whether the stack's settings, which are reviewed, still want the protection."""
    from ops.preflight import target as targets  # noqa: PLC0415 the settings take long to load

    try:
        return targets.read(stack.rpartition("/")[2]).settings.protect
    except targets.TargetError:  # another program: its own update decides
        return False


def _clear_network(destroy: Destroy) -> int:
    """Between two rounds of the engine: what holds the network, as soon as no cluster looks after it."""
    if not destroy.in_account or (now := destroy.again()).has(*_CLUSTERS):
        return 0
    accounts = destroy.around
    record, account = destroy.account()
    return accounts.clear_network(account, record, now.resources, scale=destroy.scale)


def _engine(destroy: Destroy, work: Work | None, environment: Mapping[str, str]) -> int:
    """``pulumi destroy``, again where it got further; what it deletes the controllers of is looked after meanwhile."""
    code, left = 0, destroy.count
    for attempt in range(_ROUNDS):
        if attempt:
            _clear_network(destroy)
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
    if destroy.in_account:
        accounts = destroy.around
        _, account = destroy.account()
        accounts.clear_rest(account, record, scale=destroy.scale)
    return replace(done, proof=leftovers.look(record))
