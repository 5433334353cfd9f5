"""The namespaces of a platform with two teams as plain objects, for a test to apply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
import yaml

from components.aws.nodes import pool_of
from components.platform.namespaces import Namespaces, NamespacesArgs
from components.platform.platform import openings
from components.settings import parse
from components.settings.platform.isolation import IsolationSettings
from components.settings.teams import TeamSettings
from tests.unit.conftest import Recorder
from tests.unit.platform_site import options, site

TEAMS = (TeamSettings(name="nlp", gpus=1), TeamSettings(name="search"))
_ROOT = Path(__file__).resolve().parents[2]


def declared() -> list[dict[str, Any]]:
    """Everything that ``Namespaces`` registers with the node groups of production."""
    document = yaml.safe_load((_ROOT / "Pulumi.prod.yaml").read_text())
    settings = parse({key.removeprefix("llmops:"): value for key, value in document["config"].items()})
    recorder = Recorder()
    pulumi.runtime.set_mocks(recorder, project="llmops", stack="test", preview=False)
    registered: list[dict[str, Any]] = []
    answer = recorder.new_resource

    def remembering(args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if "kind" in args.inputs:
            registered.append(args.inputs)
        return answer(args)

    recorder.new_resource = remembering

    def program() -> None:
        place = site(teams=TEAMS, pools=[pool_of(group) for group in settings.node_groups])
        Namespaces(
            "isolation",
            NamespacesArgs(
                foundation=place.foundation,
                teams=TEAMS,
                capacity=settings.workloads,
                owner=settings.owner,
                cost_center=settings.cost_center,
                openings=tuple(openings(place)),
                settings=IsolationSettings(),
                kubernetes_minor=place.foundation.cluster.kubernetes_version,
            ),
            options(place),
        )

    pulumi.runtime.test(program)()
    return registered
