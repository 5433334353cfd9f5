"""What a stack needs from the internet: read from what it sends to its cluster."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from components import mirrors
from components.chart_images import CHART_IMAGES, TREE_IMAGES
from components.settings.air_gap import AirGapSettings
from components.versions import CHARTS, TREES, ChartName

_RELEASE: Final = "kubernetes:helm.sh/v3:Release"
_KUBERNETES: Final = "kubernetes:"
_SECRET: Final = "4dabf18193072939515e22adb298388d"  # how a state marks what is secret
_TAGGED: Final = re.compile(
    r"(?<![\w./:-])((?:"
    + "|".join(map(re.escape, mirrors.HOSTS))
    + r")/[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[\w][\w.-]*)?(?:@sha256:[0-9a-f]{64})?)"
)


@dataclass(frozen=True)
class Needs:
    """What has to be behind the mirrors, each under its public name.

    Attributes:
        images: Images that objects and values name, with tag or digest.
        charts: Charts, as ``(name, version)`` of our own list.
        chart_images: Images that charts and trees name themselves, without a tag: the rendered chart knows it.
        trees: Git repositories, as ``(address, commit)``.
        models: Models of the public hub, as ``hf://org/name@revision``.
    """

    images: frozenset[str] = frozenset()
    charts: frozenset[tuple[ChartName, str]] = frozenset()
    chart_images: frozenset[str] = frozenset()
    trees: frozenset[tuple[str, str]] = frozenset()
    models: frozenset[str] = field(default_factory=frozenset[str])


def of_resources(resources: Iterable[Mapping[str, Any]], air_gap: AirGapSettings | None = None) -> Needs:
    """What the resources of a state or a preview need.

    Args:
        resources: Each with ``type`` and ``inputs``.
        air_gap: The stack's mirrors, where it has them: names behind them are turned back into public ones.
    """
    images: set[str] = set()
    charts: set[tuple[ChartName, str]] = set()
    chart_images: set[str] = set()
    trees: set[tuple[str, str]] = set()
    for resource in resources:
        kind = str(resource["type"])
        inputs: dict[str, Any] = resource.get("inputs") or {}
        if not kind.startswith(_KUBERNETES):
            continue
        if kind == _RELEASE and (name := mirrors.chart_named(str(inputs.get("chart", "")))) is not None:
            charts.add((name, str(inputs.get("version", CHARTS[name].version))))
            chart_images |= {value.image for value in CHART_IMAGES[name]}
            own = _without_defaults(name, inputs.get("values") or {}, air_gap)
            texts = list(_texts(own))
        elif kind.endswith(":Application"):
            found = {(_public(address, air_gap), commit) for address, commit in _sources(inputs)}
            trees |= found
            for title, tree in TREES.items():
                if any(address == tree.repository for address, _ in found):
                    images |= {f"{one}:{tag}" for one, tag in TREE_IMAGES[title].items() if tag}
                    chart_images |= {one for one, tag in TREE_IMAGES[title].items() if not tag}
            texts = list(_patches(inputs))  # what Kustomize is to replace is in the table
        else:
            texts = list(_texts(inputs))
        public = [_public(text, air_gap) for text in texts]
        images |= {found for text in public for found in _TAGGED.findall(text)}
    return Needs(
        images=frozenset(images),
        charts=frozenset(charts),
        chart_images=frozenset(chart_images),
        trees=frozenset(trees),
    )


def tagged_images(text: str, air_gap: AirGapSettings | None = None) -> set[str]:
    """Images in a text, under their public names."""
    return set(_TAGGED.findall(_public(text, air_gap)))


def _without_defaults(name: ChartName, values: Any, air_gap: AirGapSettings | None) -> Any:
    """Values without what the table put into them, so that an image is not listed twice and without its tag."""
    known = {value.image for value in CHART_IMAGES[name]}
    prefix = f"{air_gap.registry}/" if air_gap else ""

    def kept(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: kept(inner) for key, inner in cast("Mapping[str, Any]", value).items()}
        if isinstance(value, list):
            return [kept(inner) for inner in cast("list[Any]", value)]
        return "" if isinstance(value, str) and value.removeprefix(prefix) in known else value

    return kept(values)


def _patches(application: Mapping[str, Any]) -> Iterator[str]:
    """What is changed of a tree; images stand there in variables of containers."""
    for source in application.get("spec", {}).get("sources", ()):
        yield from (str(one.get("patch", "")) for one in source.get("kustomize", {}).get("patches", ()))


def _public(text: str, air_gap: AirGapSettings | None) -> str:
    if air_gap is None or not air_gap.enabled:
        return text
    return text.replace(f"{air_gap.registry}/", "").replace(f"{air_gap.git}/", "https://")


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        found = cast("Mapping[str, Any]", value)
        for inner in (found["value"],) if _SECRET in found and "value" in found else found.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from _texts(inner)


def _sources(inputs: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    spec: dict[str, Any] = inputs.get("spec") or {}
    sources: list[dict[str, Any]] = spec.get("sources") or [spec.get("source") or {}]
    for source in sources:
        if "repoURL" in source:
            yield source["repoURL"], str(source.get("targetRevision", ""))
