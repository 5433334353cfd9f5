"""Datasets: what is refused, what a run may do, and the objects that start it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Recorder
from platform_site import Identities, options, site
from pydantic import ValidationError

from components.contract import ObjectGrant
from components.settings import parse
from components.settings.datasets import DatasetSettings, repeated_names
from workloads.preprocess.component import Datasets, DatasetsArgs
from workloads.preprocess.job import account, configuration, grants, requests
from workloads.preprocess.rules import problems

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workloads" / "preprocess" / "image"))
from preprocess import config as pod_configuration  # noqa: E402  # pyright: ignore[reportMissingImports] the pods' code

pytestmark = pytest.mark.unit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB = {"source": "hf://meta-llama/Llama-3.1-8B-Instruct", "revision": COMMIT}
FOLDER = {"source": "models/tokenizers/llama-3.1/", "revision": "ab" * 32}
URLS: Any = {"data": "s3://llmops-data", "models": "s3://llmops-models"}
ACCOUNT = "kubernetes:core/v1:ServiceAccount"
TEMPLATE = "kubernetes:argoproj.io/v1alpha1:WorkflowTemplate"
CRON = "kubernetes:argoproj.io/v1alpha1:CronWorkflow"
RULE = "kubernetes:monitoring.coreos.com/v1:PrometheusRule"


def dataset(**changed: Any) -> DatasetSettings:
    return DatasetSettings.model_validate({"name": "wiki", "sources": ["raw/wiki"], "tokenizer": HUB} | changed)


def declared(
    recorded: Recorder, *datasets: DatasetSettings, watched: bool = True, workflows: bool = True
) -> Identities:
    asked = Identities()

    def program() -> None:
        place = site(identities=asked)
        release = place.foundation.cluster.provider
        Datasets(
            "datasets",
            DatasetsArgs(
                site=place,
                datasets=datasets,
                ray=(release,),
                workflows=(release,) if workflows else (),
                rules=(release,),
            ),
            options(place),
        )

    recorded.run(program)
    return asked


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"sources": []}, "at least 1"),
        ({"sources": ["processed/wiki"]}, "below raw/"),
        ({"sources": ["raw/"]}, "below raw/"),
        ({"sources": ["raw/../models"]}, "below raw/"),
        ({"sources": ["raw/a*"]}, "letters, digits"),
        ({"sources": ["raw/a", "raw/a/b"]}, "overlap"),
        ({"sources": ["raw/a", "raw/a"]}, "overlap"),
        ({"name": "a" * 27}, "pattern"),
        ({"tokenizer": {**HUB, "revision": "main"}}, "a commit of 40"),
        ({"tokenizer": {**FOLDER, "revision": COMMIT}}, "a hash of 64"),
        ({"tokenizer": {**HUB, "source": "s3://elsewhere/x"}}, "hf://"),
        ({"trainOn": "assistant"}, "kind: chat"),
        ({"cleaning": {"minCharacters": 9, "maxCharacters": 3}}, "above maxCharacters"),
        ({"split": {"evaluationPercent": 50, "testPercent": 50}}, "nothing to train on"),
        ({"nearDuplicates": {"permutations": 100}}, "multiple of 16"),
        ({"shuffle": True}, "Extra inputs"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(changed: dict[str, Any], why: str):
    with pytest.raises(ValidationError, match=why):
        dataset(**changed)


def test_folders_whose_names_begin_alike_do_not_overlap():
    assert dataset(sources=["raw/wiki", "raw/wiki-2"]).sources == ("raw/wiki/", "raw/wiki-2/")


def test_two_datasets_of_one_name_are_told_of_at_both_places():
    assert [index for index, _ in repeated_names([dataset(), dataset(name="books"), dataset()])] == [0, 2]


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"tokenizer": FOLDER, "nearDuplicates": {"threshold": 0.7}, "textRecord": "file", "pack": False},
        {"kind": "chat", "trainOn": "assistant", "split": {"salt": "'; rm -rf / #"}, "recordField": "turns"},
    ],
)
def test_the_pods_take_what_the_program_tells_them(changed: dict[str, Any]):
    told = configuration(dataset(**changed), URLS)

    found = pod_configuration.read(json.dumps(told)).model_dump(by_alias=True, mode="json")

    assert {key: found[key] for key in told} == told, "every value arrives as it was said"


def test_a_knob_that_decides_what_a_dataset_is_reaches_the_pods():
    """But for the size of the job, a name, and when it runs."""
    elsewhere = {"name", "workers", "schedule", "deadline_hours"}
    changes: dict[str, Any] = {
        "sources": ["raw/other"],
        "kind": "chat",
        "record_field": "body",
        "text_record": "file",
        "cleaning": {"minCharacters": 3},
        "near_duplicates": {},
        "split": {"testPercent": 1},
        "tokenizer": FOLDER,
        "max_tokens": 128,
        "pack": False,
        "train_on": "assistant",
        "max_bad_records": 0.5,
    }
    assert {*changes, *elsewhere} == set(DatasetSettings.model_fields)
    plain, chat = configuration(dataset(), URLS), configuration(dataset(kind="chat"), URLS)
    for knob, value in changes.items():
        alias = DatasetSettings.model_fields[knob].alias or knob
        about_chat = {"kind": "chat"} if knob == "train_on" else {}
        assert configuration(dataset(**{alias: value}, **about_chat), URLS) != (chat if about_chat else plain), knob


def test_a_run_reads_its_sources_and_writes_its_own_folders_only(recorded: Recorder):
    asked = declared(recorded, dataset(sources=["raw/wiki", "raw/books"], tokenizer=FOLDER), dataset(name="chats"))

    assert {one.service_account for one in asked.granted} == {"dataset-wiki", "dataset-chats"}
    may = {
        (grant.bucket, grant.prefix): grant.access
        for one in asked.granted
        if one.service_account == "dataset-wiki"
        for grant in one.grants
        if isinstance(grant, ObjectGrant)
    }
    assert may == {
        ("data", "raw/wiki/"): "read",
        ("data", "raw/books/"): "read",
        ("data", "processed/wiki/"): "read-write",
        ("data", "work/datasets/wiki/"): "read-write",
        ("models", "tokenizers/llama-3.1/"): "read",
    }


def test_a_run_may_reach_every_place_that_it_is_told_of():
    wanted = dataset(tokenizer=FOLDER)
    told = configuration(wanted, URLS)
    places = [*(one["url"] for one in told["sources"]), told["output"], told["work"], told["tokenizer"]["url"] + "/"]
    open_to_it = {f"s3://llmops-{one.bucket}/{one.prefix}" for one in grants(wanted) if isinstance(one, ObjectGrant)}

    assert set(places) == open_to_it


def test_no_run_may_write_where_another_dataset_lies():
    """Neither by a name that begins like another one's."""
    names = ("wiki", "wiki-2")
    for name in names:
        written = [
            one.prefix for one in grants(dataset(name=name)) if isinstance(one, ObjectGrant) and one.access != "read"
        ]
        others = [f"processed/{other}/current.json" for other in names if other != name]
        assert not [one for one in others for prefix in written if one.startswith(prefix)]


def template(recorded: Recorder, name: str = "dataset-wiki-template") -> dict[str, Any]:
    return recorded.one(TEMPLATE, name).inputs["spec"]


def job_of(spec: dict[str, Any]) -> dict[str, Any]:
    (step,) = spec["templates"]
    return json.loads(step["resource"]["manifest"])


def test_the_command_line_survives_the_script_of_the_operator_and_the_shell_of_ray(recorded: Recorder):
    salt = 'it\'s $HOME `x` "y" {a,b} \\ *'
    declared(recorded, dataset(split={"salt": salt}))
    line = job_of(template(recorded))["spec"]["entrypoint"]
    assert line.startswith("python -m preprocess --config ")

    def shell(script: str) -> str:
        return subprocess.run(["bash", "-ce", script], capture_output=True, text=True, check=True).stdout

    again = shell(f"{sys.executable} -c 'import shlex, sys; print(shlex.join(sys.argv[1:]))' {line}")
    words = json.loads(shell(f"{sys.executable} -c 'import json, sys; print(json.dumps(sys.argv[1:]))' {again}"))

    assert words[:4] == ["python", "-m", "preprocess", "--config"]
    assert json.loads(words[4])["split"]["salt"] == salt
    assert len(words) == 5


def test_every_pod_of_a_run_has_the_image_with_the_code(recorded: Recorder):
    declared(recorded, dataset())
    spec = job_of(template(recorded))["spec"]
    containers = [
        spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0],
        spec["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0],
        spec["submitterPodTemplate"]["spec"]["containers"][0],
    ]
    assert {one["image"].rpartition(":")[0] for one in containers} == {"registry.test/preprocess"}


def test_workers_act_as_the_dataset_and_the_head_does_not(recorded: Recorder):
    declared(recorded, dataset())
    spec = job_of(template(recorded))["spec"]["rayClusterSpec"]

    assert spec["workerGroupSpecs"][0]["template"]["spec"]["serviceAccountName"] == "dataset-wiki"
    assert spec["headGroupSpec"]["template"]["spec"]["serviceAccountName"] == "ray-head"


def test_each_run_has_a_job_of_its_own_and_two_runs_never_work_at_once(recorded: Recorder):
    declared(recorded, dataset(), dataset(name="books"))
    job = job_of(template(recorded))
    longest = len(job["metadata"]["generateName"]) + 5

    assert "name" not in job["metadata"]
    assert longest <= 40 + 6
    locks = [template(recorded, f"dataset-{one}-template")["synchronization"]["mutexes"] for one in ("wiki", "books")]
    assert locks[0] != locks[1]


def test_the_workflow_waits_longer_than_the_job_may_take(recorded: Recorder):
    declared(recorded, dataset(deadlineHours=2))
    spec = template(recorded)
    assert spec["activeDeadlineSeconds"] > job_of(spec)["spec"]["activeDeadlineSeconds"] == 7200


def test_a_schedule_is_there_only_where_one_is_set_and_runs_the_template(recorded: Recorder):
    declared(recorded, dataset(schedule="0 4 * * *"), dataset(name="books"))

    (cron,) = recorded.of(CRON).values()
    assert cron.inputs["spec"]["workflowSpec"] == {"workflowTemplateRef": {"name": "dataset-wiki"}}
    assert "dataset-wiki-template" in cron.depends_on


def test_who_starts_runs_can_make_rayjobs_and_nothing_else(recorded: Recorder):
    declared(recorded, dataset())
    rules = recorded.one("kubernetes:rbac.authorization.k8s.io/v1:Role").inputs["rules"]

    assert {one for rule in rules for one in rule["resources"]} == {"rayjobs", "workflowtaskresults"}
    assert not {"*", "delete", "update"} & {verb for rule in rules for verb in rule["verbs"]}


def test_without_workflows_a_dataset_still_has_its_account(recorded: Recorder):
    declared(recorded, dataset(), workflows=False)

    assert set(recorded.of(ACCOUNT)) == {"dataset-wiki"}
    assert not recorded.of(TEMPLATE)


def test_a_stack_without_datasets_has_nothing_of_them(recorded: Recorder):
    asked = declared(recorded)
    assert not asked.granted
    assert not [one for one in recorded.resources if one.type.startswith("kubernetes:")]


def test_a_run_that_failed_is_told_of_by_one_rule(recorded: Recorder):
    declared(recorded, dataset(), dataset(name="books"))
    (rule,) = recorded.of(RULE).values()
    (alert,) = rule.inputs["spec"]["groups"][0]["rules"]
    assert alert["alert"] == "DatasetFailed"


def test_what_a_run_takes_counts_all_of_its_workers():
    one, four = (sum(r.memory_mib for r in requests(dataset(workers={"maxCount": count}))) for count in (1, 4))
    assert four - one == 3 * 12 * 1024


def test_the_name_of_everything_is_the_datasets():
    assert account(dataset()) == "dataset-wiki"


def problems_of(*datasets: DatasetSettings, **settings: Any) -> dict[str, str]:
    stack = parse({"owner": "a", "costCenter": "b", "registry": {"repositories": ["preprocess"]}, **settings})
    return dict(problems(stack, datasets))


def test_datasets_that_fit_the_stack_are_accepted():
    assert problems_of(dataset(schedule="0 4 * * *"), dataset(name="books")) == {}


def test_a_stack_that_cannot_run_its_datasets_is_told_of_everything_at_once():
    found = problems_of(
        dataset(schedule="0 4 * * *", workers={"memoryGib": 64}),
        dataset(),
        registry={"repositories": []},
        platform={"ray": {"enabled": False}, "workflows": {"enabled": False}, "pipelines": {"enabled": False}},
    )
    assert set(found) == {
        "datasets",
        "datasets[0].name",
        "datasets[1].name",
        "datasets[0].schedule",
        "datasets[0].workers",
        "registry.repositories",
    }
    assert "m6i.2xlarge leaves" in found["datasets[0].workers"]


def test_a_tokenizer_of_the_hub_is_refused_where_nothing_is_fetched_from_outside():
    offline = {"isolation": {"internet": False}}
    assert set(problems_of(dataset(), platform=offline)) == {"datasets[0].tokenizer.source"}
    assert problems_of(dataset(tokenizer=FOLDER), platform=offline) == {}


def test_the_example_is_accepted():
    document = yaml.safe_load((ROOT / "examples" / "dataset.yaml").read_text())
    found = [DatasetSettings.model_validate(one) for one in document["config"]["llmops:datasets"]]
    assert {one.kind for one in found} == {"text", "chat"}
    assert problems_of(*found) == {}
