"""What Renovate is told finds every version that we pin; a version that it does not see is never updated."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from components import versions
from workloads import shared_versions

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = "components/versions.py"
RENOVATE = json.loads((ROOT / ".github" / "renovate.json").read_text())
LOOKS_LIKE_A_VERSION = re.compile(r"v?\d+\.\d+[\w.+-]*")


@dataclass(frozen=True)
class Found:
    """What one match of Renovate's tells it."""

    line: int
    name: str
    value: str
    datasource: str
    registry: str


def _found(file: str) -> list[Found]:
    """What Renovate's custom managers find in a file; RE2 and Python's ``re`` agree but for how groups are named."""
    text = (ROOT / file).read_text()
    found: list[Found] = []
    for manager in RENOVATE["customManagers"]:
        if not any(re.search(pattern.strip("/"), file) for pattern in manager["managerFilePatterns"]):
            continue
        for expression in manager["matchStrings"]:
            for match in re.finditer(expression.replace("(?<", "(?P<"), text):
                told = {**dict.fromkeys(("depName", "datasource", "registryUrl"), ""), **match.groupdict()}
                found.append(
                    Found(
                        line=text.count("\n", 0, match.start("currentValue")) + 1,
                        name=told["depName"] or manager.get("depNameTemplate", ""),
                        value=told["currentValue"],
                        datasource=told["datasource"] or manager.get("datasourceTemplate", ""),
                        registry=told["registryUrl"] or "",
                    )
                )
    return found


def _pinned(file: str) -> Iterator[tuple[int, str]]:
    """Line and value of every text in a module that looks like a version."""
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            continue
        if LOOKS_LIKE_A_VERSION.fullmatch(node.value):
            yield node.lineno, node.value


def test_every_version_in_the_versions_module_is_found_once_and_at_its_own_line():
    # Kubernetes is raised by hand: what supports it must be asked of every chart.
    by_hand = {versions.KUBERNETES, *versions.KUBERNETES_SUPPORTED}
    pinned = sorted(one for one in _pinned(VERSIONS) if one[1] not in by_hand)

    assert len(pinned) > len(versions.EKS_ADDONS)
    assert sorted((one.line, one.value) for one in _found(VERSIONS)) == pinned


@pytest.mark.parametrize("name", sorted(versions.CHARTS))
def test_a_chart_is_updated_under_its_own_name_from_the_repository_that_it_comes_from(name: versions.ChartName):
    chart = versions.CHARTS[name]
    of_this = [one for one in _found(VERSIONS) if one.value == chart.version and one.datasource in ("helm", "docker")]

    if chart.repository.startswith("oci://"):
        (one,) = of_this
        told = "kserve-resources" if chart.version == versions.KSERVE else chart.name  # released together
        assert one.datasource == "docker"
        assert f"packageName={chart.repository.removeprefix('oci://')}/{told}" in _comment_above(one.line)
    else:
        released_together = versions.ISTIO if chart.version == versions.ISTIO else None
        names = {one.name for one in of_this if one.registry == chart.repository}
        assert names == ({"istiod"} if released_together else {chart.name})


def _comment_above(line: int) -> str:
    lines = (ROOT / VERSIONS).read_text().splitlines()
    return next(text for text in reversed(lines[: line - 1]) if "# renovate:" in text)


def test_a_version_is_not_taken_from_the_next_entry_when_its_own_cannot_be_read():
    """The pattern stops at the next comment: else a malformed line would move somebody else's version."""
    (manager,) = [one for one in RENOVATE["customManagers"] if "on the next line" in one.get("description", "")]
    text = (
        "# renovate: datasource=helm depName=broken registryUrl=https://a\n"
        'x = _chart("https://a", "broken", SOMETHING)\n'
        "# renovate: datasource=helm depName=fine registryUrl=https://b\n"
        'y = _chart(\n    "https://b", "fine", version="1.0.0"\n)\n'
    )
    (expression,) = manager["matchStrings"]
    found = [match["depName"] for match in re.finditer(expression.replace("(?<", "(?P<"), text)]
    assert found == ["fine"]


@pytest.mark.parametrize(
    "file", sorted(str(path.relative_to(ROOT)) for path in (ROOT / "sandbox" / "toolchain").glob("*.py"))
)
def test_every_version_that_the_sandbox_gets_its_programs_by_is_found(file: str):
    follow = ("ETCD_VERSION", "_GO_VERSION")  # other versions of the same module; their comments say which
    lines = (ROOT / file).read_text().splitlines()
    named = {
        number
        for number, line in enumerate(lines, 1)
        if re.match(r"_?[A-Z_]*VERSION(: Final)? = \"", line) and not line.startswith(follow)
    }
    assert named <= {one.line for one in _found(file)}


def _left_alone(*files: str) -> set[str]:
    """Packages of these files that Renovate is told not to move."""
    rules = [one for one in RENOVATE["packageRules"] if one.get("enabled") is False]
    return {
        name
        for one in rules
        if one.get("matchFileNames") == list(files) or (not files and one.get("matchManagers") == ["dockerfile"])
        if "matchUpdateTypes" not in one
        for name in one["matchPackageNames"]
    }


def test_what_images_must_have_in_one_version_is_not_moved_in_one_of_them():
    """It would be a pull request that can only fail: each is for one image."""
    together = {one.package for one in shared_versions.SHARED if one.version or not one.parts}

    assert _left_alone("workloads/*/image/requirements.txt") == together


def test_base_images_of_a_server_s_version_are_not_moved_without_the_server():
    bound = {shared_versions.ENGINE_BASE, shared_versions.RAY_BASE}

    assert {image.rpartition(":")[0].removeprefix("docker.io/") for image in bound} == {
        name.removeprefix("docker.io/") for name in _left_alone()
    }
