"""The seam between a declared model and who serves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pulumi

from components.contract import Grant
from components.platform.model_gateway import Hosted, Served
from components.platform.site import Site
from workloads.models.plan import Plan
from workloads.models.spec import Location, ModelSpec, Version


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The weights of one version, found.

    Attributes:
        location: As they were declared; plain.
        uri: Where they are: a URL of the object store (``s3://<real bucket>/path``), ``hf://org/name``, or a path below
            the mount of :attr:`volume`. Pinned, where the declaration was an alias of the registry.
        grants: What a pod must be allowed to read them.
        volume: Handle of the shared file system that they are on, for a static volume; none elsewhere.
        version: Version of the registered model that was pinned; none for other sources.
    """

    location: Location
    uri: pulumi.Output[str]
    grants: tuple[Grant, ...]
    volume: pulumi.Output[str] | None = None
    version: pulumi.Output[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """One version of a model, declared.

    Attributes:
        url: Where its servers answer, for the smoke test; empty for what is reached through the model gateway alone.
        ready: What to wait for before it is called.
        outputs: What people want to know of it.
    """

    url: str
    ready: tuple[pulumi.Resource, ...]
    outputs: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, "pulumi.Input[str]"])


@dataclass(frozen=True, kw_only=True)
class VersionArgs:
    """One version of a model, to be declared.

    Attributes:
        name: Prefix of the Pulumi resources, unique in the stack: ``<component>-<version.name>``.
        spec: The model.
        version: The version of it.
        plan: Its sizing, requests, waits.
        weights: Where its weights are.
        site: Where it is installed.
        parent: The model's component.
        after: The platform, as far as models need it.
    """

    name: str
    spec: ModelSpec
    version: Version
    plan: Plan
    weights: Weights
    site: Site
    parent: pulumi.Resource
    after: Sequence[pulumi.Resource]

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of everything that is declared for it."""
        return self.spec.labels(self.version)


class ModelBackend(Protocol):
    """Who serves a model.

    :mod:`workloads.models.registry` knows them all, :mod:`workloads.models.rules` what each of them cannot do.
    :meth:`target` is pure: the model gateway's configuration is made of targets, so it does not wait for models, and
    names at the cloud follow from the declaration (``spec.prefix``).
    """

    def target(self, spec: ModelSpec, version: Version) -> Served | Hosted:
        """What the model gateway calls for one version."""
        ...

    def declare(self, args: VersionArgs) -> Deployed:
        """Declare one version."""
        ...
