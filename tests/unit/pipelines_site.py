"""Kubeflow Pipelines as tests see it: installed on a site, its patches and variables by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import pytest
import yaml
from aws_stack import run
from conftest import Recorder
from platform_site import Identities, options, site

from components.platform.kustomize import (
    KustomizedArgs,
)
from components.platform.openings import team_namespace
from components.platform.pipelines import (
    Pipelines,
    PipelinesArgs,
)
from components.platform.pipelines_manifests import (
    DEFINITIONS,
    KINDS,
    sources,
)
from components.platform.site import Site
from components.settings.teams import TeamSettings

pytestmark = pytest.mark.unit

APPLICATION = "kubernetes:argoproj.io/v1alpha1:Application"
PROJECT = "kubernetes:argoproj.io/v1alpha1:AppProject"
Decided = TypeVar("Decided")


def decide(
    ask: Callable[[Site], Decided], settings: Mapping[str, Any] | None = None, teams: Sequence[TeamSettings] = ()
) -> Decided:
    """What a deciding function says of a site."""
    found: list[Decided] = []
    run(lambda: found.append(ask(site(settings, teams=teams))))
    return found[0]


def installed(
    recorded: Recorder, settings: Mapping[str, Any] | None = None, teams: Sequence[TeamSettings] = ()
) -> Identities:
    identities = Identities()

    def program() -> None:
        here = site(settings, identities=identities, teams=teams)
        spaces = {team_namespace(team.name): () for team in teams}
        args = PipelinesArgs(site=here, secrets=(), gitops=(), workflows=(), team_namespaces=spaces)
        Pipelines("pipelines", args, options(here))

    recorded.run(program)
    return identities


def arguments(place: Site) -> KustomizedArgs:
    return KustomizedArgs(
        site=place,
        tree="kubeflow-pipelines",
        namespace="kubeflow",
        sources=sources(place),
        kinds=KINDS,
        definitions=DEFINITIONS,
        after=(),
    )


def patched(spec: Mapping[str, Any], kind: str, name: str) -> dict[str, Any]:
    """The body of the one patch for an object."""
    found = [
        yaml.safe_load(patch["patch"])
        for source in spec["sources"]
        for patch in source["kustomize"]["patches"]
        if patch["target"]["kind"] == kind and patch["target"].get("name") == name
    ]
    assert len(found) == 1
    return found[0]


def environment(spec: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    (container,) = patched(spec, "Deployment", name)["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one for one in container["env"]}
