"""Images of charts, with their tags: what helm renders of the values that the stack gives them."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from components import mirrors
from components.chart_images import CHART_IMAGES
from components.settings.air_gap import AirGapSettings
from ops.mirror.collect import Needs, tagged_images

_RELEASE: Final = "kubernetes:helm.sh/v3:Release"
_SECONDS: Final = 300


class HelmError(Exception):
    """A chart could not be rendered."""


def chart_images(needs: Needs, resources: Iterable[Mapping[str, Any]], air_gap: AirGapSettings) -> Needs:
    """The needs with every image of every chart; unchanged where there is no helm.

    Raises:
        HelmError: A chart could not be had or rendered.
    """
    if (helm := shutil.which("helm")) is None:
        return needs
    images, open_images = set(needs.images), set(needs.chart_images)
    for resource in resources:
        inputs: dict[str, Any] = resource.get("inputs") or {}
        if resource["type"] != _RELEASE or (name := mirrors.chart_named(str(inputs.get("chart", "")))) is None:
            continue
        text = _rendered(helm, inputs)
        images |= tagged_images(text, air_gap)
        open_images -= {value.image for value in CHART_IMAGES[name]}
    return replace(needs, images=frozenset(images), chart_images=frozenset(open_images))


def _rendered(helm: str, inputs: Mapping[str, Any]) -> str:
    options: dict[str, Any] = inputs.get("repositoryOpts") or {}
    repository = str(options.get("repo") or "")
    with tempfile.TemporaryDirectory() as folder:
        values = Path(folder) / "values.json"
        values.write_text(json.dumps(inputs.get("values") or {}))
        command = [helm, "template", str(inputs.get("name", "release")), str(inputs["chart"])]
        command += ["--version", str(inputs.get("version", "")), "--namespace", str(inputs.get("namespace", "default"))]
        command += ["--values", str(values), "--include-crds=false", *(["--repo", repository] if repository else [])]
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    if answer.returncode != 0:
        raise HelmError(f"{inputs['chart']}: {answer.stderr.strip()}")
    return answer.stdout
