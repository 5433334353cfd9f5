"""The air gap, where the program's objects leave it: nothing that is sent to the cluster names a public host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar, cast

import pulumi
from pulumi._types import is_input_type  # the SDK's own test for its types; it has no public one
from pulumi.runtime import register_stack_transformation

from components import mirrors
from components.chart_images import TREE_IMAGES
from components.settings import Settings
from components.settings.air_gap import AirGapSettings
from components.settings.datasets import TokenizerSettings
from components.settings.fine_tunes import BaseModelSettings
from components.settings.models import ModelSettings
from components.versions import CHARTS, TREES

_RELEASE: Final = "kubernetes:helm.sh/v3:Release"
_KUBERNETES: Final = "kubernetes:"

_Model = TypeVar("_Model", ModelSettings, BaseModelSettings)


def close(settings: Settings, air_gap: AirGapSettings) -> Settings:
    """Put mirrors in the place of the internet for all that is declared after this call.

    Images and repositories are replaced in every Kubernetes object and in every value of a chart, wherever they stand:
    a system that is added later needs no line of its own. What a chart's own defaults name comes from a table.

    Returns:
        The settings with sources of models behind the mirror.
    """
    if not air_gap.enabled:
        return settings
    register_stack_transformation(lambda args: _transformed(args, air_gap))
    # A folder of the stack's own bucket is named by the bucket's role: then pods are given the right to read it.
    prefix = settings.onprem.objects.bucket_prefix or f"{pulumi.get_project()}-{pulumi.get_stack()}"
    own = f"//{prefix}-models/"
    mirror = air_gap.model_copy(update={"models": f"{air_gap.models}/".replace(own, "//models/", 1).rstrip("/")})
    return settings.model_copy(
        update={
            "models": tuple(_model(one, mirror) for one in settings.models),
            "fine_tunes": tuple(
                one.model_copy(update={"base": _from_mirror(one.base, mirror)}) for one in settings.fine_tunes
            ),
            "datasets": tuple(
                one.model_copy(update={"tokenizer": _tokenizer(one.tokenizer, mirror)}) for one in settings.datasets
            ),
        }
    )


def _model(one: ModelSettings, air_gap: AirGapSettings) -> ModelSettings:
    found = _from_mirror(one, air_gap)
    if one.canary is None:
        return found
    canary = one.canary.model_copy(update={"source": mirrors.model(air_gap, one.canary.source)})
    return found.model_copy(update={"canary": canary})


def _from_mirror(one: _Model, air_gap: AirGapSettings) -> _Model:
    """A model whose weights lie in the mirror; its name in the hub still says what it is."""
    if not one.source.startswith("hf://"):
        return one
    return one.model_copy(
        update={
            "source": mirrors.model(air_gap, one.source),
            "architecture": one.architecture or mirrors.hub_name(one.source),
        }
    )


def _tokenizer(one: TokenizerSettings, air_gap: AirGapSettings) -> TokenizerSettings:
    """A tokenizer beside its model in the mirror."""
    if not one.from_hub:
        return one
    source = mirrors.model(air_gap, f"{one.source}@{one.revision}")
    own = f"{source.partition('://')[0]}://models/"
    return one.model_copy(update={"source": f"models/{source.removeprefix(own)}" if source.startswith(own) else source})


def _transformed(
    args: pulumi.ResourceTransformationArgs, air_gap: AirGapSettings
) -> pulumi.ResourceTransformationResult | None:
    if not args.type_.startswith(_KUBERNETES):
        return None
    props = dict(cast("Mapping[str, Any]", args.props))
    if args.type_ == _RELEASE:
        props = _release(props, air_gap)
    walked = {key: _walk(value, air_gap) for key, value in props.items()}
    if walked.get("kind") == "Application":
        _trees(walked, air_gap)
    return pulumi.ResourceTransformationResult(props=walked, opts=args.opts)


def _release(props: dict[str, Any], air_gap: AirGapSettings) -> dict[str, Any]:
    """A release from the mirror of charts."""
    name = mirrors.chart_named(str(props["chart"]))
    if name is None:
        raise pulumi.RunError(f"chart {props['chart']}: not in components/versions.py, so no mirror has it")
    return {
        **props,
        "chart": mirrors.chart(air_gap, CHARTS[name].name),
        "repository_opts": None,
        "repositoryOpts": None,
        "values": mirrors.chart_values(air_gap, name, props.get("values") or {}),
    }


def _trees(application: Mapping[str, Any], air_gap: AirGapSettings) -> None:
    """Have Kustomize replace the images of trees that Argo CD renders by itself."""
    for source in application["spec"].get("sources", ()):
        address = str(source.get("repoURL", ""))
        for name, tree in TREES.items():
            if address == mirrors.rewritten(air_gap, tree.repository):
                moved = [f"{one}={mirrors.image(air_gap, one)}" for one in TREE_IMAGES[name]]
                source["kustomize"] = {**source.get("kustomize", {}), "images": moved}


def _walk(value: Any, air_gap: AirGapSettings) -> Any:
    """The same with public names replaced; typed inputs, plain data and outputs alike."""
    if isinstance(value, str):
        return mirrors.rewritten(air_gap, value)
    if isinstance(value, pulumi.Output):
        return cast("pulumi.Output[Any]", value).apply(lambda known: _walk(known, air_gap))
    if isinstance(value, Mapping):
        found = cast("Mapping[Any, Any]", value)
        return {key: _walk(inner, air_gap) for key, inner in found.items()}
    if isinstance(value, (list, tuple)):
        return [_walk(inner, air_gap) for inner in cast("list[Any]", value)]
    if is_input_type(cast("type[Any]", type(value))):
        fields: dict[str, Any] = vars(cast("object", value))
        for key, inner in list(fields.items()):
            fields[key] = _walk(inner, air_gap)
    return value
