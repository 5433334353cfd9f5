"""Our own images: what their tags follow from, what they share, and that their builds see what was hashed."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.settings.account import RegistrySettings
from workloads import images, shared_versions
from workloads.images import NAMES, ROOT, ImageName

pytestmark = pytest.mark.unit


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the image ``release`` is built from."""
    images.lay_out("release", tmp_path)
    return tmp_path


def test_the_same_files_have_the_same_tag_wherever_they_lie(checkout: Path):
    assert images.content_tag("release", checkout) == images.content_tag("release")


@pytest.mark.parametrize(
    "file",
    ["workloads/release/image/Dockerfile", "workloads/artifacts/keys.py", "workloads/evaluation/gate.py"],
)
def test_whatever_goes_into_an_image_changes_its_tag(checkout: Path, file: str):
    (checkout / file).write_text((checkout / file).read_text() + "# changed\n")

    assert images.content_tag("release", checkout) != images.content_tag("release")


def test_a_file_under_another_name_changes_the_tag(checkout: Path):
    place = checkout / "workloads/release/image/release"
    (place / "planning.py").rename(place / "planned.py")

    assert images.content_tag("release", checkout) != images.content_tag("release")


def test_what_python_leaves_behind_does_not_change_the_tag(checkout: Path):
    left = checkout / "workloads/release/image/release/__pycache__" / "config.cpython-311.pyc"
    left.parent.mkdir()
    left.write_bytes(b"\0")

    assert images.content_tag("release", checkout) == images.content_tag("release")


def test_an_image_without_a_file_that_it_needs_has_no_tag(checkout: Path):
    (checkout / "workloads/evaluation/gate.py").unlink()

    with pytest.raises(FileNotFoundError, match=r"workloads/evaluation/gate\.py"):
        images.sources("release", checkout)


@pytest.mark.parametrize("name", NAMES)
def test_a_build_finds_everything_that_it_copies(name: ImageName, tmp_path: Path):
    images.lay_out(name, tmp_path)
    dockerfile = (tmp_path / images.folder(name) / "Dockerfile").read_text().replace("\\\n", " ")
    for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.MULTILINE):
        *copied, _target = [word for word in line.split() if not word.startswith("--")]
        for one in copied:
            assert list(tmp_path.glob(one.removesuffix("/"))), f"{name}: {one} is not in the build context"


def _ours(file: Path, root: Path) -> set[str]:
    """Modules of the checkout that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
    paths = {one: ROOT / one.replace(".", "/") for one in found if (ROOT / one.partition(".")[0]).is_dir()}
    there = {one: path for one, path in paths.items() if path.is_dir() or path.with_suffix(".py").is_file()}
    return {one for one, path in there.items() if not _is_in(root / path.relative_to(ROOT))}


def _is_in(path: Path) -> bool:
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_what_an_image_imports_of_ours_is_in_it(name: ImageName, tmp_path: Path):
    images.lay_out(name, tmp_path)

    missing = {one.relative_to(tmp_path).as_posix(): _ours(one, tmp_path) for one in tmp_path.rglob("*.py")}

    assert len(missing) > 5
    assert {file: modules for file, modules in missing.items() if modules} == {}


@pytest.mark.parametrize("name", NAMES)
def test_an_image_runs_without_root_and_says_what_it_runs(name: ImageName):
    last = (ROOT / images.folder(name) / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    user = re.findall(r"^USER (\S+)", last, re.MULTILINE)

    assert user, "the last stage names no user"
    assert user[-1].partition(":")[0] == "1000"


@pytest.mark.parametrize("name", NAMES)
def test_the_last_stage_installs_nothing_with_build_tools(name: ImageName):
    last = (ROOT / images.folder(name) / "Dockerfile").read_text().rpartition("\nFROM ")[2]

    assert not re.search(r"apt-get install|build-essential|\bgcc\b", last)


def test_every_image_has_a_repository_by_default():
    assert set(NAMES) <= set(RegistrySettings().repositories)


def test_the_list_needs_nothing_but_python(tmp_path: Path):
    program = (
        "import runpy, sys; sys.path.insert(0, '.'); sys.argv = ['images', '--json']; "
        "runpy.run_module('workloads.images', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"name": "engine"' in done.stdout


def test_images_share_the_versions_that_they_must():
    assert list(shared_versions.problems()) == []


def test_every_base_is_named_by_digest():
    assert list(shared_versions.unpinned()) == []


def _changed(tmp_path: Path, file: str, before: str, after: str) -> list[str]:
    for name in NAMES:
        target = tmp_path / images.folder(name)
        target.mkdir(parents=True)
        for part in ("Dockerfile", "requirements.txt"):
            shutil.copyfile(ROOT / images.folder(name) / part, target / part)
    text = (tmp_path / file).read_text()
    changed = re.sub(before, after, text)
    assert changed != text
    (tmp_path / file).write_text(changed)
    return list(shared_versions.problems(tmp_path))


@pytest.mark.parametrize(
    ("file", "before", "after", "said"),
    [
        ("preprocess/image/requirements.txt", r"transformers==\S+", "transformers==4.57.1", "transformers differs"),
        ("preprocess/image/requirements.txt", r"(?m)^ray==\S+", "ray==2.57.0", "ray must be"),
        ("evaluation/image/requirements.txt", r"mlflow-skinny==\S+", "mlflow-skinny==3.99.0", "mlflow-skinny must be"),
        ("training/image/requirements.txt", r"(?m)^torch==\S+", "torch==2.12.0", "torch must be"),
        ("training/image/requirements.txt", r"numpy==2\S+", "numpy==1.26.4", "numpy differs"),
        ("engine/image/Dockerfile", r"26\.07-trtllm", "26.06-trtllm", "must be built on"),
        ("preprocess/image/Dockerfile", r"py312", "py311", "must be built on"),
    ],
)
def test_a_version_that_moves_alone_is_noticed(tmp_path: Path, file: str, before: str, after: str, said: str):
    assert any(said in one for one in _changed(tmp_path, f"workloads/{file}", before, after))
