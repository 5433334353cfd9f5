"""Artifacts in an object store, with the clients that the images have."""

from __future__ import annotations

import json
import os
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from sandbox.paths import PROJECT
from tests.data_plane.environments import environment

pytestmark = pytest.mark.data_plane

REQUIREMENTS = PROJECT / "workloads" / "preprocess" / "image" / "requirements.txt"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}

PROGRAM = """
    import json, sys
    from pathlib import Path
    from workloads.artifacts import fetch, find, key_of, publish, read
    from workloads.artifacts.objects import objects

    made, copy = Path(sys.argv[1]), Path(sys.argv[2])
    base, key = "s3://data/processed", key_of({"a": 1})
    answers = {"before": find(base, key) is None}
    told = publish(made, base, key, kind="dataset", parents={"raw": "s3://data/raw"}, facts={"records": 2})
    (made / "1.txt").write_text("changed since")
    again = publish(made, base, key, kind="dataset", parents={}, facts={})
    answers["same"] = told == again == find(base, key) == fetch(told.url, copy)
    store = objects(base)
    answers["listed"] = list(store.list(base))
    answers["nothing"] = list(store.list("s3://data/pro"))
    answers["created"] = [store.create("s3://data/one", b"first"), store.create("s3://data/one", b"second")]
    answers["content"] = store.read("s3://data/one").decode()
    print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def answers(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    made = tmp_path_factory.mktemp("made")
    (made / "a b").mkdir()
    (made / "1.txt").write_text("one")
    (made / "a b" / "ü+2.txt").write_text("two")
    boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    ).create_bucket(Bucket="data")
    done = subprocess.run(
        [
            *(str(environment("preprocess", REQUIREMENTS) / "bin" / "python"), "-c", textwrap.dedent(PROGRAM)),
            *(str(made), str(tmp_path_factory.mktemp("copy"))),
        ],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "AWS_ENDPOINT_URL": endpoint, **KEYS},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_an_artifact_is_published_once_found_and_fetched(answers: dict[str, Any]):
    assert answers["before"]
    assert answers["same"]


def test_names_of_files_are_kept_and_the_manifest_lies_beside_them(answers: dict[str, Any]):
    folders = {Path(url.removeprefix("s3://")).relative_to("data/processed").parts[0] for url in answers["listed"]}
    assert len(folders) == 1
    names = {url.split(folders.copy().pop() + "/")[1] for url in answers["listed"]}
    assert names == {"1.txt", "a b/ü+2.txt", "manifest.json"}


def test_a_folder_whose_name_begins_alike_is_not_listed(answers: dict[str, Any]):
    assert answers["nothing"] == []


def test_an_object_that_is_there_is_never_replaced_by_who_creates_it(answers: dict[str, Any]):
    assert answers["created"] == [True, False]
    assert answers["content"] == "first"
