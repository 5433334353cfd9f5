"""What cannot work of the models together: names, quotas, fallbacks, teams. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, get_args

from components.capacity import Request
from components.capacity.clouds import Cloud
from components.settings.hosted_models import HOSTING, CloudProvider
from workloads.managed.names import MANAGED_IMAGE
from workloads.models.facts import facts_of
from workloads.models.plan import Facts, Finding, Plan, Refusal, plan
from workloads.models.rules import Case, findings
from workloads.models.spec import SERVING, ModelSpec, location, spec_of

if TYPE_CHECKING:
    from components.settings.root import Settings  # its rules import this module

_PLACES: Final[Mapping[Cloud, str]] = {
    "aws": "on AWS",
    "gcp": "on Google Cloud",
    "onprem": "on machines of its own",
}


def problems(settings: Settings) -> Iterator[Finding]:
    """Paths and messages: everything that cannot work of the stack's models."""
    yield from _elsewhere(settings)
    if not settings.models:
        return
    facts = facts_of(settings)
    # Names at the cloud do not decide what works.
    specs = [spec_of(one, prefix="stack", region=facts.region, owner=settings.owner) for one in settings.models]
    plans = {spec.name: plan(spec, facts) for spec in specs}
    yield from _systems(settings)
    yield from _names(settings)
    for index, spec in enumerate(specs):
        for path, message in findings(Case(spec=spec, plan=plans[spec.name], facts=facts)):
            yield f"models[{index}].{path}" if path else f"models[{index}]", message
    yield from _teams(settings, specs, plans)
    yield from _places(settings)
    yield from _gpus(settings, specs, plans, facts)
    yield from _shares(settings, specs, plans, facts)
    yield from _fallbacks(settings)


def _elsewhere(settings: Settings) -> Iterator[Finding]:
    """What belongs to a cloud that the stack is not on: nobody there knows the gateway's identity."""
    where = _PLACES[settings.cloud]
    hosting = HOSTING[settings.cloud]
    remedy = (
        f"take {' or '.join(hosting)}" if hosting else "declare a model of your own, or a server by provider openai"
    )
    for index, hosted in enumerate(settings.hosted_models):
        if hosted.provider not in (*hosting, "openai"):
            yield f"hostedModels[{index}].provider", f"{hosted.provider} does not know a stack {where}; {remedy}"
    for index, model in enumerate(settings.models):
        managed = model.managed
        if model.backend == "hosted":
            provider = location(model.source).place
            if provider in get_args(CloudProvider) and provider not in hosting:
                yield f"models[{index}].source", f"{provider} does not know a stack {where}; {remedy}"
        elif model.backend == "sagemaker" and settings.cloud != "aws":
            others = "vllm, triton or vertex" if settings.cloud == "gcp" else "vllm or triton"
            yield f"models[{index}].backend", f"sagemaker is for stacks on AWS; set {others}"
        elif (
            model.backend == "sagemaker"
            and not (managed and managed.image)
            and MANAGED_IMAGE not in settings.registry.repositories
        ):
            what = f"must be set, or registry.repositories hold {MANAGED_IMAGE}, with our image in it"
            yield f"models[{index}].managed.image", what
        elif model.backend == "vertex" and settings.cloud == "onprem":
            what = "vertex is for stacks on Google Cloud, and on AWS by managed.vertex.federation; set vllm or triton"
            yield f"models[{index}].backend", what
        elif settings.cloud == "gcp" and managed and managed.vertex and managed.vertex.federation:
            what = "is how an identity of AWS signs in; on Google Cloud the gateway's own is known: leave it out"
            yield f"models[{index}].managed.vertex.federation", what


def _systems(settings: Settings) -> Iterator[Finding]:
    platform = settings.platform
    served = any(model.backend in ("vllm", "triton") for model in settings.models)
    if served and not platform.serving.enabled:
        yield "models", "need platform.serving.enabled, which runs their servers"
    if not platform.model_gateway.enabled:
        yield "models", "need platform.modelGateway.enabled: clients reach them through it"
    for index, model in enumerate(settings.models):
        if model.triton and model.triton.balance == "requests" and not platform.mesh.waypoints:
            yield f"models[{index}].triton.balance", "requests needs platform.mesh.waypoints: true; or take connections"
        several = model.canary is not None or model.ab.variants
        if several and platform.model_gateway.routing.strategy != "weighted":
            part = "canary" if model.canary else "ab"
            yield (
                f"models[{index}].{part}",
                "needs platform.modelGateway.routing.strategy weighted: the other one takes no notice of shares; got "
                f"{platform.model_gateway.routing.strategy}",
            )
        if model.ab.variants and model.ab.sticky and not platform.model_gateway.cache.enabled:
            yield (
                f"models[{index}].ab.sticky",
                "needs platform.modelGateway.cache.enabled, where sessions are kept for all replicas; set that, or "
                "sticky: false",
            )


def _names(settings: Settings) -> Iterator[Finding]:
    taken = {model.name for model in settings.hosted_models}
    servers: dict[str, int] = {}
    for index, model in enumerate(settings.models):
        if model.name in taken:
            yield f"models[{index}].name", f"must differ from the hosted models' names; got {model.name}"
        # Its canary may be declared tomorrow: the name is kept free for it.
        own = [model.name, f"{model.name}-canary", *(f"{model.name}-{one.name}" for one in model.ab.variants)]
        for name in own:
            if (other := servers.get(name)) is not None:
                what = f"is that of models[{other}] or of one of its versions; take another name"
                yield f"models[{index}].name", f"its servers' name {name} {what}"
                break
        servers.update(dict.fromkeys(own, index))


def _teams(settings: Settings, specs: Sequence[ModelSpec], plans: Mapping[str, Plan | Refusal]) -> Iterator[Finding]:
    teams = {team.name: team for team in settings.teams}
    spent: Counter[str] = Counter()
    for index, spec in enumerate(specs):
        if not (name := spec.settings.team):
            continue
        if name not in teams:
            known = f"one of the stack's teams {', '.join(teams)}" if teams else "a team, and the stack has none"
            yield f"models[{index}].team", f"must be {known}; got {name}"
            continue
        limit, may = spec.settings.budget.monthly_usd, teams[name].monthly_usd
        if limit is not None and limit > may:
            yield (
                f"models[{index}].budget.monthlyUsd",
                f"is above what team {name} may spend on calls, which pay for the servers: {may:g}; lower it, or raise "
                f"monthlyUsd of the team; got {limit:g}",
            )
        found = plans[spec.name]
        if isinstance(found, Refusal) or not found.group:
            continue
        wanted = found.gpus * sum(version.most for version in spec.versions)
        spent[name] += wanted
        if spent[name] > teams[name].gpus:
            yield (
                f"models[{index}].replicas.max",
                f"the models of team {name} ask for {spent[name]} GPUs at their most, its quota is {teams[name].gpus}; "
                f"lower it, or raise gpus of the team",
            )


def _places(settings: Settings) -> Iterator[Finding]:
    """Sources on file systems that the stack does not have."""
    known = settings.files.access_points
    for index, model in enumerate(settings.models):
        for path, source in (("source", model.source), ("canary.source", model.canary.source if model.canary else "")):
            if source.startswith("file:") and (place := location(source).place) not in known:
                yield (
                    f"models[{index}].{path}",
                    f"must begin with one of the shared file systems {', '.join(known)} (files.accessPoints); "
                    f"got {place}",
                )


def _gpus(
    settings: Settings, specs: Sequence[ModelSpec], plans: Mapping[str, Plan | Refusal], facts: Facts
) -> Iterator[Finding]:
    """More servers than the node groups hold: the last ones would wait for ever."""
    del settings
    wanted: Counter[tuple[str, int]] = Counter()  # by type, and by GPUs of one server

    def there(kind: str, gpus: int) -> int:
        return sum(
            group.max_size * (min(shape.gpus for shape in group.shapes) // gpus) * gpus
            for group in facts.groups
            if group.gpu_model == kind
        )

    for index, spec in enumerate(specs):
        found = plans[spec.name]
        if isinstance(found, Refusal) or not found.group:
            continue
        kind = found.gpu_model
        wanted[kind, found.gpus] += found.gpus * sum(version.most for version in spec.versions)
        # Small servers take what large ones leave, and no large one fits where there are only small nodes.
        for gpus in sorted({gpus for other, gpus in wanted if other == kind and gpus <= found.gpus}, reverse=True):
            asked = sum(number for (other, each), number in wanted.items() if other == kind and each >= gpus)
            if asked > (hold := there(kind, gpus)):
                yield (
                    f"models[{index}].replicas.max",
                    f"with the models before it, {asked} GPUs of type {kind} at their most; the groups of role "
                    f"gpu-inference hold {hold} for servers of {gpus}; lower it, or raise maxSize of {found.group}",
                )
                break


def _shares(
    settings: Settings, specs: Sequence[ModelSpec], plans: Mapping[str, Plan | Refusal], facts: Facts
) -> Iterator[Finding]:
    """More CPU, memory or disk than the namespace of the models may ask for."""
    rows = [row.request for row in settings.workloads if row.role == "gpu-inference" and row.gpus]
    if not rows:
        return
    gpus = sum(group.max_size * max(shape.gpus for shape in group.shapes) for group in facts.groups)
    quota = Request(
        cpu_millicores=gpus * max(math.ceil(row.cpu_millicores / row.gpus) for row in rows),
        memory_mib=gpus * max(math.ceil(row.memory_mib / row.gpus) for row in rows),
        ephemeral_storage_gib=gpus * max(math.ceil(row.ephemeral_storage_gib / row.gpus) for row in rows),
    )
    used = Request()
    for index, spec in enumerate(specs):
        found = plans[spec.name]
        if isinstance(found, Refusal) or not found.group or spec.namespace != SERVING:
            continue
        each = sum(version.most for version in spec.versions)
        used = Request(
            cpu_millicores=used.cpu_millicores + each * found.cpu_millicores,
            memory_mib=used.memory_mib + each * found.memory_mib,
            ephemeral_storage_gib=used.ephemeral_storage_gib + each * found.disk_gib,
        )
        over = [
            f"{what} {has:g} of {may:g} {unit}"
            for what, unit, has, may in (
                ("CPU", "vCPU", used.cpu_millicores / 1000, quota.cpu_millicores / 1000),
                ("memory", "GiB", used.memory_mib / 1024, quota.memory_mib / 1024),
                ("disk", "GiB", used.ephemeral_storage_gib, quota.ephemeral_storage_gib),
            )
            if has > may
        ]
        if over:
            yield (
                f"models[{index}].replicas.max",
                f"with the models before it above what {SERVING} may ask for: {', '.join(over)}; lower it, or raise "
                "the rows of role gpu-inference in workloads",
            )


def _fallbacks(settings: Settings) -> Iterator[Finding]:
    """Fallbacks that nobody knows, or that lead back."""
    after = {model.name: model.fallbacks for model in (*settings.hosted_models, *settings.models)}
    for index, model in enumerate(settings.models):
        for place, name in enumerate(model.fallbacks):
            path = f"models[{index}].fallbacks[{place}]"
            if name not in after:
                yield path, f"must be one of the stack's models {', '.join(after)}; got {name}"
            elif name == model.name:
                yield path, f"must be another model; got {name}"
            elif model.name in _reached(name, after):
                yield (
                    path,
                    f"leads back to {model.name}: take it out here, or {model.name} out of the others' fallbacks",
                )


def _reached(name: str, after: Mapping[str, Sequence[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for following in after.get(waiting.pop(), ()):
            if following not in found:
                found.add(following)
                waiting.append(following)
    return found
