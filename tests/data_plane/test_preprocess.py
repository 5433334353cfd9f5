"""Raw text becomes tokens, in the environment of the image: nothing is lost, and nothing is done twice."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
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

IMAGE = PROJECT / "workloads" / "preprocess" / "image"
CASES = PROJECT / "tests" / "data_plane" / "preprocess_cases.py"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
_PATIENCE_SECONDS = 600

# As the job's pod runs it, but for the Ray that it finds there: two CPUs, and not all memory of the machine.
ON_RAY = """
    import sys, ray
    ray.init(num_cpus=2, object_store_memory=80_000_000, include_dashboard=False, _temp_dir=sys.argv[1])
    from preprocess.__main__ import main
    sys.exit(main(["--config", sys.argv[2]]))
"""


def python() -> Path:
    return environment("preprocess", IMAGE / "requirements.txt") / "bin" / "python"


def execute(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "PYTHON", "VIRTUAL_ENV"))}
    return subprocess.run(
        [str(python()), *arguments],
        env={**clean, "PYTHONPATH": f"{PROJECT}:{IMAGE}", "HF_HUB_OFFLINE": "1", **variables},
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    done = execute(str(CASES), str(tmp_path_factory.mktemp("cases")))
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def inline(seen: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a small dataset that was made without Ray, by the program's own command line."""
    done = execute("-m", "preprocess", "--config", json.dumps(seen["cli"]))
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((Path(done.stdout.strip().removeprefix("file://")) / "manifest.json").read_text())


def test_every_record_that_was_read_is_in_the_dataset_a_duplicate_or_set_aside(seen: dict[str, Any]):
    for counts in (seen["bad_records"]["counts"], seen["duplicates"]["near"], seen["conversations"]["counts"]):
        accounted = counts["kept"] + counts["equal"] + counts["near"] + sum(counts["setAside"].values())
        assert counts["read"] == accounted
    assert seen["bad_records"]["counts"]["read"] == sum(one["records"] for one in seen["bad_records"]["sources"]) == 53


def test_a_record_is_set_aside_with_its_file_its_line_and_the_reason(seen: dict[str, Any]):
    assert [(one["file"], one["line"], one["reason"]) for one in seen["bad_records"]["setAside"]] == [
        ("raw/a.jsonl", 11, "not JSON"),
        ("raw/a.jsonl", 12, "text is no text"),
        ("raw/a.jsonl", 13, "no member text"),
        ("raw/a.jsonl", 14, "not a JSON object"),
        ("raw/a.jsonl", 15, "too short"),
        ("raw/a.jsonl", 16, "half of a surrogate pair"),
        ("raw/a.jsonl", 17, "too long"),
        ("raw/b.txt", 6, "not UTF-8"),
    ]


def test_running_again_changes_nothing_and_does_nothing(seen: dict[str, Any]):
    assert seen["bad_records"]["same"]
    assert seen["bad_records"]["stages"] == ["nothing to do: the dataset is there"]
    assert seen["bad_records"]["current"]


def test_the_manifests_numbers_are_those_of_the_files(seen: dict[str, Any]):
    told = {side: numbers["sequences"] for side, numbers in seen["bad_records"]["sides"].items()}
    assert told == seen["bad_records"]["rows"]


def test_text_is_composed_has_one_kind_of_line_end_and_no_control_characters(seen: dict[str, Any]):
    assert seen["cleaning"]["found"] == ["Café\nis open\nnow"]


def test_equal_records_are_kept_once_whatever_their_case_and_spaces(seen: dict[str, Any]):
    assert (seen["duplicates"]["exact"]["equal"], seen["duplicates"]["exact"]["near"]) == (3, 0)


def test_of_near_duplicates_the_first_stays_and_what_is_merely_alike_does_too(seen: dict[str, Any]):
    assert seen["duplicates"]["near"]["near"] == 1
    first, original, nearly, alike = seen["duplicates"]["kept"]
    assert first
    assert original
    assert not nearly
    assert alike


def test_signatures_tell_how_much_two_texts_have_in_common(seen: dict[str, Any]):
    # The deviation of 128 independent places is 0.044 at most; four of it are as good as never seen.
    assert seen["similarity"]["worst"] < 4 * 0.044
    assert seen["similarity"]["mean"] < 0.044
    above, below = seen["similarity"]["found"]["above"], seen["similarity"]["found"]["below"]
    assert above[0] == above[1] > 5
    assert below[1] == 0 < below[0]


def test_a_record_never_changes_sides_whatever_comes_and_goes_beside_it(seen: dict[str, Any]):
    assert seen["grown"]["other"]
    assert sum(seen["grown"]["seen"]) == 60
    assert all(seen["grown"]["seen"]), "there are some on every side"
    assert seen["grown"]["moved"] == []
    assert seen["grown"]["current"]
    assert seen["grown"]["first"], "the dataset before it stays"


def test_only_what_is_new_is_made(seen: dict[str, Any]):
    for stage in ("records", "sequences"):
        assert seen["grown"][stage] == {"parts": 2, "reused": 1, "made": 1}


def test_a_run_that_was_killed_leaves_no_dataset_and_the_next_makes_only_what_is_missing(seen: dict[str, Any]):
    assert seen["killed"]["died"] == [{"signal": -9, "left": []}] * 2
    assert seen["killed"]["records"] == {"parts": 6, "reused": 6, "made": 0}
    assert seen["killed"]["sequences"] == {"parts": 6, "reused": 2, "made": 4}
    assert seen["killed"]["touched"] == []


def test_a_dataset_that_was_made_in_three_runs_is_the_one_that_is_made_in_one(seen: dict[str, Any]):
    assert seen["killed"]["same"]


def test_a_file_in_parts_has_the_records_and_line_numbers_of_the_whole(seen: dict[str, Any]):
    assert seen["partitioned"]["parts"] > 10
    assert seen["partitioned"]["texts"]
    whole, parts = seen["partitioned"]["lines"]
    assert whole == parts == [[51, "not JSON"], [54, "not JSON"]]
    assert seen["partitioned"]["wrong"] == 0, "wherever it is cut"
    assert seen["partitioned"]["short"] == [True, True], "a line that is too long is passed over, not held"


def test_a_packed_dataset_has_every_token_once_and_in_order(seen: dict[str, Any]):
    found = seen["packed"]
    assert found["same"]
    assert found["lengths"] == [64]
    assert found["labels"]
    assert found["ends"] == 40
    assert found["tokens"][0] == found["tokens"][1]


def test_positions_begin_anew_with_each_record_and_each_sequence(seen: dict[str, Any]):
    sequences = -(-seen["packed"]["tokens"][0] // 64)
    # A record that begins where a sequence does is counted once.
    assert max(40, sequences) <= seen["packed"]["restarts"] <= 40 + sequences
    assert seen["packed"]["columns"] == ["attention_mask", "input_ids", "labels", "position_ids"]


def test_only_the_assistants_words_are_in_the_loss_where_that_is_wanted(seen: dict[str, Any]):
    assert seen["conversations"]["trained"]


def test_conversations_share_sequences_and_are_never_cut(seen: dict[str, Any]):
    found = seen["conversations"]
    assert found["several"]
    assert found["whole"][0] == found["whole"][1]
    assert found["longest"] <= 256
    assert set(found["counts"]["setAside"]) == {
        "a message of an unknown role",
        "a message with more than role and content",
        "messages is no list of messages",
        "more tokens than maxTokens",
        "nothing of an assistant in it",
        "the template refuses it: no tools",
    }


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("damaged", "2 files cannot be read to their end"),
        ("bad", "3 of 23 records were set aside"),
        ("strange", "b.csv; move them out"),
        ("nothing", "no files in raw/"),
        ("untrained", "nothing to train on"),
    ],
)
def test_raw_data_that_is_not_fit_is_refused_and_no_dataset_is_left(seen: dict[str, Any], what: str, why: str):
    assert why in seen["refusals"][what]
    assert "BUT SOMETHING IS LEFT" not in seen["refusals"][what]


def test_a_refusal_names_a_file_with_every_record(seen: dict[str, Any]):
    url = seen["refusals"]["bad"].rsplit(" ", 1)[1]
    told = [json.loads(line) for line in Path(url.removeprefix("file://")).read_text().splitlines()]
    assert [one["line"] for one in told] == [21, 22, 23]


def test_a_file_that_is_written_while_it_is_read_is_not_taken_for_what_it_was(seen: dict[str, Any]):
    assert "was written while it was read" in seen["overwritten"]["why"]
    assert seen["overwritten"]["kept"] == []
    assert seen["overwritten"]["right"], "the next run has it as it is"


def test_a_file_is_one_record_where_the_dataset_says_so(seen: dict[str, Any]):
    assert seen["text_files"]["counts"]["kept"] == 12
    assert seen["text_files"]["sources"] == [1] * 12


def test_a_wrong_configuration_ends_with_2_and_tells_everything_that_is_wrong(seen: dict[str, Any]):
    wrong = seen["cli"] | {"maxToken": 5, "maxBadRecords": 2}

    done = execute("-m", "preprocess", "--config", json.dumps(wrong))

    assert done.returncode == 2
    assert "maxToken: Extra inputs" in done.stderr
    assert "maxBadRecords: Input should be less" in done.stderr


def test_another_tokenizer_than_the_pinned_one_ends_with_2_and_tells_which_it_is(seen: dict[str, Any]):
    ended = seen["exits"]["tokenizer"]
    assert ended["code"] == 2
    assert f"it is {seen['cli']['tokenizer']['revision']} there" in ended["said"]


def test_refused_data_ends_with_3(seen: dict[str, Any]):
    ended = seen["exits"]["refused"]
    assert ended["code"] == 3
    assert "30 x too long" in ended["said"].replace("\\n", "\n")


def test_a_mirror_of_the_hub_keeps_a_commit_in_a_folder_of_its_name_and_no_other_folder_is_taken_for_it(
    seen: dict[str, Any],
):
    assert seen["mirrored"]["same"]
    assert "is not 01234567890123456789" in seen["mirrored"]["other"]


@pytest.fixture(scope="module")
def endpoint(seen: dict[str, Any]) -> Iterator[str]:
    """An object store with the raw files of the small dataset, and its tokenizer."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    for bucket, url, prefix in (
        ("data", seen["cli"]["sources"][0]["url"], "raw/"),
        ("models", seen["cli"]["tokenizer"]["url"], "small/"),
    ):
        client.create_bucket(Bucket=bucket)
        for path in Path(url.removeprefix("file://")).iterdir():
            client.upload_file(str(path), bucket, prefix + path.name)
    yield f"http://{host}:{port}"
    server.stop()


def on_ray(config: dict[str, Any], endpoint: str) -> subprocess.CompletedProcess[str]:
    """A run on a Ray of this machine. It gives itself 30 s to start, whatever is set; a busy machine may need more."""
    for _ in range(4):
        # A short path: names of sockets below it must not have more than 107 characters.
        with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
            done = execute(
                *("-c", textwrap.dedent(ON_RAY), folder, json.dumps(config)),
                **KEYS,
                AWS_ENDPOINT_URL=endpoint,
                RAY_USAGE_STATS_ENABLED="0",
                # Its workers register within 60 s, or are given up; this can be set.
                RAY_worker_register_timeout_seconds=str(_PATIENCE_SECONDS),
            )
        if "timed out during startup" not in done.stderr:
            return done
    pytest.skip("Ray did not start within its 30 s, four times: the machine is too busy")


def test_on_ray_and_from_an_object_store_the_dataset_is_the_same(
    seen: dict[str, Any], inline: dict[str, Any], endpoint: str
):
    there = seen["cli"] | {
        "runner": "ray",
        "sources": [{"name": "raw/", "url": "s3://data/raw/"}],
        "output": "s3://data/processed/small/",
        "work": "s3://data/work/small/",
        "tokenizer": seen["cli"]["tokenizer"] | {"url": "s3://models/small"},
    }
    done = on_ray(there, endpoint)

    assert done.returncode == 0, done.stderr[-3000:]
    url = done.stdout.strip().splitlines()[-1]
    store = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **_as_arguments(KEYS))
    key = url.removeprefix("s3://data/")
    told = json.loads(store.get_object(Bucket="data", Key=f"{key}/manifest.json")["Body"].read())
    assert told["key"] == inline["key"], "buckets are no part of it"
    assert told["files"] == inline["files"]
    assert told["facts"]["counts"] == inline["facts"]["counts"]
    current = json.loads(store.get_object(Bucket="data", Key="processed/small/current.json")["Body"].read())
    assert url.endswith(current["key"])


def _as_arguments(keys: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in keys.items() if name != "AWS_REGION"}
