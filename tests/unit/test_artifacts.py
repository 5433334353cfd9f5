"""Artifacts: named by what they were made from, whole or not there, and never taken for something else."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from workloads.artifacts import (
    DamagedArtifactError,
    Manifest,
    ManifestError,
    assemble,
    current,
    fetch,
    find,
    hashed,
    key_of,
    point_to,
    publish,
)
from workloads.artifacts import transfer as transfer_module
from workloads.artifacts.objects import LocalObjects, join, objects

pytestmark = pytest.mark.unit

KEY = key_of({"source": "s3://raw/a", "seed": 1})


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "0.parquet").write_bytes(b"first")
    (folder / "facts.txt").write_bytes(b"second")
    return folder


@pytest.fixture
def base(tmp_path: Path) -> str:
    return (tmp_path / "store").as_uri()


def published(made: Path, base: str, **changed: object) -> Manifest:
    told = {"kind": "dataset", "parents": {"raw": "s3://raw/a"}, "facts": {"records": 2}} | changed
    return publish(made, base, KEY, **told)  # type: ignore[arg-type]  # one argument replaced by name


def test_the_order_of_members_does_not_change_a_key_and_everything_else_does():
    assert key_of({"a": 1, "b": {"c": [1, 2], "d": None}}) == key_of({"b": {"d": None, "c": (1, 2)}, "a": 1})
    different = [{"a": 1}, {"a": "1"}, {"a": True}, {"a": [1]}, {"b": 1}, {"a": 1, "b": None}, {"a": 1.5}]
    assert len({key_of(one) for one in different}) == len(different)
    assert key_of({"name": "é"}) != key_of({"name": "e\u0301"}), "texts are taken as they are"


def test_a_key_never_changes_from_one_release_of_the_library_to_the_next():
    text = '{"a":null,"b":["ü",1]}'.encode()
    assert key_of({"b": ["ü", 1], "a": None}) == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: "x"}, b"bytes", {"x"}, Path("/x")])
def test_what_json_cannot_say_has_no_key(value: object):
    with pytest.raises((TypeError, ValueError), match=r"inputs\.a"):
        key_of({"a": [value]})  # type: ignore[dict-item]  # that is the point


def test_an_artifact_comes_back_as_it_was_published(made: Path, base: str, tmp_path: Path):
    told = published(made, base)

    found = find(base, KEY)
    got = fetch(told.url, tmp_path / "copy")

    assert told == found == got
    assert told.url == f"{base}/{KEY}"
    assert (tmp_path / "copy" / "train" / "0.parquet").read_bytes() == b"first"
    assert sorted(told.files) == ["facts.txt", "train/0.parquet"]
    assert told.size_bytes == 11


def test_what_was_never_published_is_not_there(base: str):
    assert find(base, KEY) is None


def test_publishing_again_writes_nothing(made: Path, base: str, tmp_path: Path):
    first = published(made, base)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*")}
    (made / "facts.txt").write_bytes(b"something else")

    assert published(made, base, facts={"records": 3}) == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*")} == before


def test_who_is_stopped_in_the_middle_leaves_nothing_under_the_name(
    made: Path, base: str, monkeypatch: pytest.MonkeyPatch
):
    upload = LocalObjects.upload

    def stopped(self: LocalObjects, file: Path, url: str) -> None:
        if url.endswith("0.parquet"):
            raise KeyboardInterrupt
        upload(self, file, url)

    monkeypatch.setattr(LocalObjects, "upload", stopped)
    with pytest.raises(KeyboardInterrupt):
        published(made, base)
    assert find(base, KEY) is None

    monkeypatch.undo()
    assert published(made, base) == find(base, KEY)


def test_of_two_who_publish_at_once_the_faster_ones_manifest_stays(
    made: Path, base: str, monkeypatch: pytest.MonkeyPatch
):
    real, asked = transfer_module.find, []

    def late(base_url: str, key: str) -> Manifest | None:
        """The other one publishes right after it was looked whether the artifact is there."""
        known = real(base_url, key)
        if not asked:
            asked.append(key)
            published(made, base, facts={"who": "the faster"})
        return known

    monkeypatch.setattr(transfer_module, "find", late)

    assert published(made, base, facts={"who": "the slower"}).facts == {"who": "the faster"}
    assert real(base, KEY).facts == {"who": "the faster"}  # type: ignore[union-attr]  # it is there


def test_a_damaged_file_is_refused_and_not_left_behind(made: Path, base: str, tmp_path: Path):
    told = published(made, base)
    (tmp_path / "store" / KEY / "facts.txt").write_bytes(b"secone")

    with pytest.raises(DamagedArtifactError, match=r"facts\.txt"):
        fetch(told.url, tmp_path / "copy")
    assert not (tmp_path / "copy" / "facts.txt").exists()
    assert not list((tmp_path / "copy").rglob("*.part"))


def test_a_copy_that_is_there_is_kept_where_it_is_right_and_replaced_where_it_is_not(
    made: Path, base: str, tmp_path: Path
):
    told = published(made, base)
    copy = tmp_path / "copy"
    fetch(told.url, copy)
    kept = (copy / "train" / "0.parquet").stat().st_ino
    (copy / "facts.txt").write_bytes(b"secone")

    fetch(told.url, copy)

    assert (copy / "train" / "0.parquet").stat().st_ino == kept
    assert (copy / "facts.txt").read_bytes() == b"second"


@pytest.mark.parametrize("path", ["../out", "/etc/passwd", "a//b", "a/./b", "manifest.json", ""])
def test_a_manifest_cannot_make_who_fetches_it_write_elsewhere(made: Path, base: str, tmp_path: Path, path: str):
    told = published(made, base)
    file = tmp_path / "store" / KEY / "manifest.json"
    file.write_text(file.read_text().replace('"facts.txt"', f'"{path}"'))

    with pytest.raises(ManifestError, match="no path"):
        fetch(told.url, tmp_path / "copy")


@pytest.mark.parametrize(
    ("what", "with_what"),
    [
        ('"format": 1', '"format": 2'),
        (KEY, "0" * 64),
        ('"files"', '"fields"'),
        ("{", "["),
        ('"sha256": "', '"sha256": "z'),
    ],
)
def test_a_manifest_that_cannot_be_read_is_an_error_and_not_an_absence(
    made: Path, base: str, tmp_path: Path, what: str, with_what: str
):
    published(made, base)
    file = tmp_path / "store" / KEY / "manifest.json"
    file.write_text(file.read_text().replace(what, with_what, 1))

    with pytest.raises(ManifestError):
        find(base, KEY)


def test_another_kind_under_the_same_key_is_refused(made: Path, base: str):
    published(made, base)
    with pytest.raises(ManifestError, match="is a dataset, not a checkpoint"):
        published(made, base, kind="checkpoint")


def test_an_empty_folder_is_no_artifact(base: str, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match="no files"):
        published(tmp_path / "empty", base)


@pytest.mark.parametrize("key", ["", "latest", "../" + "0" * 61, KEY.upper(), KEY + "0"])
def test_a_name_that_somebody_chose_is_no_key(base: str, key: str):
    with pytest.raises(ManifestError, match="64 hexadecimal"):
        find(base, key)


def test_an_artifact_that_was_copied_elsewhere_is_the_same(made: Path, base: str, tmp_path: Path):
    published(made, base)
    (tmp_path / "store").rename(tmp_path / "moved")

    assert fetch(f"{(tmp_path / 'moved').as_uri()}/{KEY}/", tmp_path / "copy").facts == {"records": 2}


def test_a_path_is_no_url():
    with pytest.raises(ValueError, match="file:///"):
        objects("/data/raw")


def test_listing_knows_neither_neighbours_nor_files_in_the_making(tmp_path: Path):
    for name in ("a/1.txt", "a/b/2.txt", "ab/3.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "a" / ".1.txt.0.part").write_text("half")
    url = join(tmp_path.as_uri(), "a")

    assert objects(url).list(url) == [f"{url}/1.txt", f"{url}/b/2.txt"]
    assert objects(url).list(join(tmp_path.as_uri(), "nothing")) == []


def test_the_program_needs_no_client_of_an_object_store_for_keys_and_manifests():
    code = "import sys, workloads.artifacts as a; a.key_of({}); sys.exit(bool({'fsspec', 's3fs'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_artifact_is_put_together_from_what_others_wrote(made: Path, base: str, tmp_path: Path):
    parts = {path: (f"{made.as_uri()}/{path}", hashed(made / path)) for path in ("facts.txt", "train/0.parquet")}

    told = assemble(parts, base, KEY, kind="dataset", parents={}, facts={"records": 2})

    assert told == find(base, KEY) == fetch(told.url, tmp_path / "copy")
    assert told.files == published(made, (tmp_path / "other").as_uri()).files


def test_the_current_artifact_is_the_one_that_was_pointed_to_last(made: Path, base: str):
    assert current(base) is None
    point_to(published(made, base))
    other = publish(made, base, key_of({"seed": 2}), kind="dataset", parents={}, facts={})
    assert current(base) == find(base, KEY)

    point_to(other)

    assert current(base) == other


def test_a_pointer_that_cannot_be_read_is_an_error_and_not_an_absence(made: Path, base: str, tmp_path: Path):
    point_to(published(made, base))
    (tmp_path / "store" / "current.json").write_text('{"key": "latest"}')

    with pytest.raises(ManifestError):
        current(base)
