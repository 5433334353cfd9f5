"""Names behind mirrors: what an image, a chart, a repository or a model is called where the internet is not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast

from components.chart_images import CHART_IMAGES, ImageValue
from components.settings.air_gap import AirGapSettings
from components.versions import CHARTS, ChartName

HOSTS: Final = (
    "docker.io",
    "ecr-public.aws.com",
    "gcr.io",
    "ghcr.io",
    "nvcr.io",
    "public.ecr.aws",
    "quay.io",
    "reg.kyverno.io",
    "registry.istio.io",
    "registry.k8s.io",
    "us-central1-docker.pkg.dev",
)
"""Public registries that anything of the platform comes from."""

# With nothing in front of the host that would make it part of another name, such as the one behind a mirror.
_IMAGE: Final = re.compile(r"(?<![\w./:-])(?:" + "|".join(map(re.escape, HOSTS)) + r")/[a-z0-9]+(?:[._/-]+[a-z0-9]+)*")
_REPOSITORY: Final = re.compile(r"https://(github\.com|gitlab\.com)/([\w.-]+/[\w.-]+?)(\.git)?(?=$|[?\s\"'#])")


def image(air_gap: AirGapSettings, name: str) -> str:
    """Where a public image is; the tag or digest behind the name stays."""
    return f"{air_gap.registry}/{name}"


def images_in(text: str) -> list[str]:
    """Public images that a text names, without tags."""
    return [found.group() for found in _IMAGE.finditer(text)]


def rewritten(air_gap: AirGapSettings, text: str) -> str:
    """A text with every public image and repository in it replaced; the same again for what is replaced already."""
    mirrored = _IMAGE.sub(lambda found: image(air_gap, found.group()), text)
    return _REPOSITORY.sub(lambda found: f"{air_gap.git}/{found.group(1)}/{found.group(2)}.git", mirrored)


def chart(air_gap: AirGapSettings, name: str) -> str:
    """Where a chart is."""
    return f"{air_gap.charts}/{name}"


def model(air_gap: AirGapSettings, source: str) -> str:
    """Where the weights of ``hf://org/name@revision`` are; other sources are the stack's own."""
    if not source.startswith("hf://"):
        return source
    name, _, revision = source.removeprefix("hf://").partition("@")
    return f"{air_gap.models}/{name}/{revision or 'main'}"


def hub_name(source: str) -> str:
    """``org/name`` of a model of the public hub."""
    return source.removeprefix("hf://").partition("@")[0]


def chart_named(reference: str) -> ChartName | None:
    """Which of our charts a release installs: by ``oci://…/name`` or by name, at its repository or at a mirror."""
    last = reference.rsplit("/", 1)[-1]
    return next((title for title, known in CHARTS.items() if known.name == last), None)


def chart_values(air_gap: AirGapSettings, name: ChartName, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a chart with every image of its defaults behind the mirror."""
    filled = _copy(values)
    for value in CHART_IMAGES[name]:
        _fill(filled, value, air_gap)
    return filled


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(inner) for key, inner in cast("Mapping[str, Any]", value).items()}
    return value


def _fill(values: dict[str, Any], value: ImageValue, air_gap: AirGapSettings) -> None:
    """Set one image, unless the values name another one there."""
    mirrored = image(air_gap, value.image)
    inner = value.path if value.form in ("whole", "split") else value.path[:-1]
    place = values
    for key in inner:
        found: Any = place.setdefault(key, {})
        if not isinstance(found, dict):
            return  # an Output, or something that is no image at all
        place = cast("dict[str, Any]", found)
    match value.form:
        case "whole":
            place.setdefault("repository", mirrored)
        case "split":
            host, _, rest = mirrored.partition("/")
            if "repository" not in place:
                place["registry"], place["repository"] = host, rest
        case "text" | "prefix":
            place.setdefault(value.path[-1], mirrored)
