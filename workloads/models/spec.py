"""What a declared model is: where its weights lie, which versions of it run, and where. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, cast

from components.platform.openings import team_namespace
from components.settings.models import BackendName, ModelSettings

if TYPE_CHECKING:
    from components.contract import BucketRole  # brings Pulumi with it

SERVING: Final = "mlops-serving"
"""Namespace of the platform's own models."""

MODEL_LABEL: Final = "llmops/model"
"""Label of everything that belongs to a model: its name, the same for all of its versions."""

VERSION_LABEL: Final = "llmops/model-version"
"""Label of the pods of one version: ``stable``, ``canary``, or the name of a variant."""

OWNER_LABEL: Final = "llmops/owner"
"""Who answers for it: its team, else the stack's owner."""

TEAM_LABEL: Final = "llmops/team"

Scheme = Literal["hf", "s3", "gs", "file", "models", "hosted"]

IN_CLUSTER: Final[frozenset[BackendName]] = frozenset({"vllm", "triton"})
"""Backends whose servers run in the cluster."""

WEIGHT_BUCKETS: Final[tuple[BucketRole, ...]] = ("models", "mlflow", "data")
"""Buckets of the stack that weights may lie in."""


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where weights lie.

    Attributes:
        scheme: What the rest means.
        place: Repository ``org/name``, role of a bucket, name of a shared file system, registered model, provider.
        path: Path in the bucket or on the file system, without a slash at either end; the provider's model.
        revision: Git revision, or version or alias (with ``@``) of a registered model; empty where none is named.
    """

    scheme: Scheme
    place: str
    path: str = ""
    revision: str = ""

    @property
    def moves(self) -> bool:
        """Whether the same words may mean other weights tomorrow."""
        return self.scheme == "models" and self.revision.startswith("@")


def location(source: str) -> Location:
    """Take a source apart; its form was checked with the settings."""
    scheme, _, rest = source.partition(":")
    rest = rest.strip("/")
    match cast("Scheme", scheme):
        case "hf":
            repository, _, revision = rest.partition("@")
            return Location(scheme="hf", place=repository, revision=revision)
        case "models":
            for sign in ("@", "/"):
                name, found, revision = rest.partition(sign)
                if found:
                    return Location(scheme="models", place=name, revision=revision if sign == "/" else f"@{revision}")
            raise AssertionError(source)
        case "hosted":
            provider, _, model = rest.partition("/")
            return Location(scheme="hosted", place=provider, path=model)
        case "s3" | "gs" | "file" as kind:
            place, _, path = rest.partition("/")
            return Location(scheme=kind, place=place, path=path)


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a model that runs.

    Attributes:
        name: Of its servers, unique in the namespace; also what they call themselves.
        role: ``stable``, ``canary``, or the name of a variant; the name of its backend at the model gateway.
        source: Where its weights come from.
        weight: Its share of the requests beside the other versions; at least 1.
        fewest: Servers at least.
        most: Servers at most.
    """

    name: str
    role: str
    source: str
    weight: int
    fewest: int
    most: int


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A declared model, with everything that follows from the declaration alone.

    Attributes:
        settings: The declaration.
        namespace: Where its servers run.
        versions: What runs; the first is the stable one.
        prefix: ``<project>-<stack>``: names at the cloud start with it.
        region: Region of the stack.
        owner: Team that answers for the stack.
    """

    settings: ModelSettings
    namespace: str
    versions: tuple[Version, ...]
    prefix: str
    region: str
    owner: str

    @property
    def name(self) -> str:
        """What clients put into ``model``."""
        return self.settings.name

    @property
    def backend(self) -> BackendName:
        """Who serves it."""
        return self.settings.backend

    def labels(self, version: Version) -> Mapping[str, str]:
        """Labels of one version's objects and pods."""
        team = {TEAM_LABEL: self.settings.team} if self.settings.team else {}
        owner = {OWNER_LABEL: self.settings.team or self.owner}
        return {MODEL_LABEL: self.name, VERSION_LABEL: version.role, **owner, **team}


def spec_of(settings: ModelSettings, *, prefix: str, region: str, owner: str) -> ModelSpec:
    """Everything that follows from a declaration alone."""
    return ModelSpec(
        settings=settings,
        namespace=team_namespace(settings.team) if settings.team else SERVING,
        versions=versions(settings),
        prefix=prefix,
        region=region,
        owner=owner,
    )


def specs_of(models: Sequence[ModelSettings], *, prefix: str, region: str, owner: str) -> tuple[ModelSpec, ...]:
    """The same for several."""
    return tuple(spec_of(one, prefix=prefix, region=region, owner=owner) for one in models)


def versions(settings: ModelSettings) -> tuple[Version, ...]:
    """What runs of a model, the stable version first.

    A canary has one server at least: the requests that it is judged by must not wait for cold starts. One that is
    promoted keeps its share while the model's own servers are rolled to its weights, so that nothing is away meanwhile;
    one that is rolled back is gone.
    """
    canary, replicas = settings.canary, settings.replicas

    def version(role: str, source: str, weight: int, share: float, fewest: int) -> Version:
        return Version(
            name=settings.name if role == "stable" else f"{settings.name}-{role}",
            role=role,
            source=source,
            weight=weight,
            fewest=fewest,
            most=max(1, fewest, math.ceil(replicas.max * share)),
        )

    if canary is not None:
        own = canary.source if canary.state == "promoted" else settings.source
        stable = version("stable", own, 100 - canary.percent, 1, replicas.min)
        if canary.state == "rolled-back":
            return (stable,)
        return (stable, version("canary", canary.source, canary.percent, canary.percent / 100, 1))
    ab = settings.ab
    total = ab.weight + sum(one.weight for one in ab.variants)
    return (
        version("stable", settings.source, ab.weight, 1, replicas.min),
        *(version(one.name, one.source, one.weight, one.weight / total, replicas.min) for one in ab.variants),
    )
