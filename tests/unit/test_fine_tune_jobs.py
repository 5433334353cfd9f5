"""Jobs of fine-tunes: as whom they run, where, what they are told, and what is refused of them together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from conftest import Recorder
from fine_tune_settings import SHARED_MEMORY_GIB, TUNE, planned, tune
from platform_site import Identities, options, site

from components import contract
from components.aws.nodes import pool_of
from components.platform.experiments import TRACKING_URI
from components.platform.observability.monitors.learning import TRAINING_PORT
from components.settings import Settings, parse
from components.settings.datasets import DatasetSettings
from components.settings.fine_tunes import FineTuneSettings
from components.settings.nodes import table
from workloads.training.component import FineTunes, FineTunesArgs
from workloads.training.image.finetune.config import FineTuneConfig, model_key
from workloads.training.jobs import Addresses, command, fine_tune_config, fine_tune_job, grants, openings
from workloads.training.rules import plans, problems

pytestmark = pytest.mark.unit

POOLS = tuple(pool_of(group) for group in table())
ADDRESSES = Addresses(data="s3://stack-data", models="s3://stack-models", mlflow="s3://stack-mlflow")
DATASET = DatasetSettings.model_validate(
    {
        "name": "support",
        "sources": ["raw/support/"],
        "tokenizer": {"source": "hf://meta-llama/Llama-3.1-8B-Instruct", "revision": "a" * 40},
    }
)
TEAM: dict[str, Any] = {"name": "nlp", "gpus": 2, "vcpu": 16, "memoryGib": 128}


def configured(settings: FineTuneSettings, **more: Any) -> FineTuneConfig:
    return fine_tune_config(settings, ADDRESSES, image_tag="0123456789ab", **more)


def job(settings: FineTuneSettings, **more: Any) -> dict[str, Any]:
    return fine_tune_job(
        settings,
        planned(settings),
        configured(settings),
        image="registry.test/training:0123456789ab",
        owner="ml-platform",
        shared_memory_gib=SHARED_MEMORY_GIB,
        pools=POOLS,
        **more,
    )


def template(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return manifest["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]


def test_the_program_reads_what_the_job_tells_it():
    settings = tune(method="full", zero={"stage": 3, "offload": "optimizer"}, nodes=8, learning={"learningRate": 1e-5})
    (container,) = template(job(settings))["spec"]["containers"]
    assert container["command"][:2] == ["torchrun", "--shutdown-timeout=90"]
    told = FineTuneConfig.model_validate_json(container["command"][-1])
    assert told == configured(settings)
    assert told.optimization.learning_rate == 1e-5
    assert told.zero is not None
    assert told.zero.offload == "optimizer"


def test_a_run_that_cannot_be_logged_fails_before_it_learns():
    """Where the Secret with an account is missing, the address is there all the same: the first question is refused."""
    (container,) = template(job(tune(team="nlp")))["spec"]["containers"]
    assert {"name": "MLFLOW_TRACKING_URI", "value": TRACKING_URI} in container["env"]


def test_the_time_to_save_ends_before_the_pod_does():
    pod = template(job(tune()))["spec"]
    (shutdown,) = [word for word in command(configured(tune())) if word.startswith("--shutdown-timeout=")]
    assert int(shutdown.partition("=")[2]) < pod["terminationGracePeriodSeconds"] < 120


@pytest.mark.parametrize("kind", ["pytorch-job", "train-job"])
def test_both_kinds_ask_for_the_same(kind: str):
    settings = tune(job=kind, nodes=2, team="nlp")
    manifest, needs = job(settings), planned(settings).host
    text = json.dumps(manifest)
    assert manifest["metadata"]["namespace"] == "team-nlp"
    assert manifest["metadata"]["labels"]["llmops/team"] == "nlp"
    assert f'"memory": "{needs.memory_mib}Mi"' in text
    assert '"serviceAccountName": "fine-tune-support"' in text
    assert '"llmops/metrics": "training"' in text
    assert '"llmops/gpu-model": "a10g"' in text


def test_a_job_of_a_person_is_named_by_the_api_server_and_that_of_a_pipeline_by_the_pipeline():
    assert job(tune())["metadata"]["generateName"] == "fine-tune-support-"
    assert "name" not in job(tune())["metadata"]
    assert job(tune(), name="fine-tune-support-x")["metadata"]["name"] == "fine-tune-support-x"


def test_it_may_read_its_data_and_its_base_and_write_its_own_folders_only():
    found = {(one.bucket, one.prefix): one.access for one in grants(tune())}
    assert found == {
        ("data", "processed/support/"): "read",
        ("models", "llama-3.1-8b/"): "read",
        ("models", "checkpoints/support/"): "read-write",
        ("mlflow", "artifacts/fine-tunes/support/"): "read-write",
    }
    told = configured(tune())
    for url in (told.output.models, told.output.checkpoints):
        bucket, _, path = url.removeprefix("s3://stack-").partition("/")
        assert found[bucket, f"{path}/"] == "read-write"  # pyright: ignore[reportArgumentType] a role by its name
    assert all(one.prefix for one in grants(tune(dataset=None, data="s3://data/mine", base={"source": "models:/m/3"})))


def test_places_in_the_stacks_buckets_get_their_real_names():
    told = configured(tune(dataset=None, data="s3://data/processed/mine"))
    assert told.base == "s3://stack-models/llama-3.1-8b"
    assert told.data.url == "s3://stack-data/processed/mine"
    assert configured(tune(dataset=None, data="s3://elsewhere/mine")).data.url == "s3://elsewhere/mine"
    assert configured(tune(), data_url="s3://stack-data/processed/support/abc").data.url.endswith("/abc")


def test_the_key_of_a_model_is_of_what_decides_it_and_of_nothing_else():
    def key(settings: FineTuneSettings, *, data_key: str = "d", processes: int = 1) -> str:
        return model_key(configured(settings), data_key=data_key, processes=processes)

    same = key(tune())
    assert key(tune(checkpoints={"everyMinutes": 5}, restarts=3, team="nlp", registeredModel="other")) == same
    changed = [
        key(tune(), data_key="e"),
        key(tune(), processes=2),
        key(tune(learning={"seed": 3})),
        key(tune(lora={"rank": 8})),
        key(tune(merge=False)),
        key(tune(method="qlora")),
        key(tune(base={**TUNE["base"], "source": "s3://models/llama-3.2-8b"})),
    ]
    assert len({same, *changed}) == 1 + len(changed)


def test_metrics_of_runs_are_read_where_runs_are():
    found = openings([tune(), tune(name="other", team="nlp"), tune(name="third", team="nlp")])
    assert [one.ports for one in found] == [(TRAINING_PORT,)] * 2


def declared(recorded: Recorder, *fine_tunes: FineTuneSettings) -> Identities:
    identities = Identities()

    def program() -> None:
        here = site(identities=identities, pools=POOLS)
        registry = replace(
            here.foundation.registry,
            repositories={"training": pulumi.Output.from_input("registry.test/training")},
        )
        here = replace(here, foundation=replace(here.foundation, registry=registry))
        FineTunes(
            "fine-tunes",
            FineTunesArgs(site=here, fine_tunes=fine_tunes, plans={one.name: planned(one) for one in fine_tunes}),
            options(here),
        )

    recorded.run(program)
    return identities


def test_nothing_runs_and_everything_is_there_to_start_it(recorded: Recorder):
    identities = declared(recorded, tune(), tune(name="second", job="train-job"))
    kinds = sorted(one.type.rpartition(":")[2] for one in recorded.resources if one.type.startswith("kubernetes:"))
    assert kinds == ["ConfigMap", "ConfigMap", "ServiceAccount", "ServiceAccount"]
    jobs = {
        one.inputs["metadata"]["name"]: json.loads(one.inputs["data"]["job.json"])
        for one in recorded.of("kubernetes:core/v1:ConfigMap").values()
    }
    assert {name: one["kind"] for name, one in jobs.items()} == {
        "fine-tune-support": "PyTorchJob",
        "fine-tune-second": "TrainJob",
    }
    (container,) = template(jobs["fine-tune-support"])["spec"]["containers"]
    assert {"name": "AWS_DEFAULT_REGION", "value": "us-east-1"} in container["env"]
    repository, _, tag = container["image"].partition(":")
    assert repository == "registry.test/training"
    assert FineTuneConfig.model_validate_json(container["command"][-1]).image == tag
    assert {one.service_account for one in identities.granted} == {"fine-tune-support", "fine-tune-second"}
    assert all(isinstance(one, contract.ObjectGrant) and one.prefix for it in identities.granted for one in it.grants)


def stack(**more: Any) -> Settings:
    return parse({"owner": "ml", "costCenter": "1", "teams": [TEAM], **more})


def wrong(*fine_tunes: FineTuneSettings, **more: Any) -> dict[str, str]:
    return dict(problems(stack(**more), fine_tunes, [DATASET]))


def test_a_fine_tune_that_can_work_is_accepted():
    assert wrong(tune()) == {}
    assert wrong(tune(team="nlp")) == {}
    assert set(plans(stack(), [tune()])) == {"support"}


@pytest.mark.parametrize(
    ("changes", "path", "why"),
    [
        ({"team": "search"}, "fineTunes[0].team", "must be one of the stack's teams nlp; got search"),
        (
            {"team": "nlp", "nodes": 3},
            "fineTunes[0].team",
            "a run asks for 3 GPUs, and team nlp may have 2; raise gpus",
        ),
        ({"dataset": "manual"}, "fineTunes[0].dataset", "must be one of the stack's datasets support; got manual"),
        ({"method": "full"}, "fineTunes[0].gpu", "it would fit with method: lora"),
    ],
)
def test_what_cannot_work_is_refused_at_its_path(changes: dict[str, Any], path: str, why: str):
    assert why in wrong(tune(**changes))[path]


def test_the_example_fits():
    content = yaml.safe_load((Path(__file__).resolve().parents[2] / "examples" / "fine-tune.yaml").read_text())[
        "config"
    ]
    fine_tunes = [FineTuneSettings.model_validate(one) for one in content["llmops:fineTunes"]]
    datasets = [DatasetSettings.model_validate(one) for one in content["llmops:datasets"]]
    assert fine_tunes
    assert list(problems(stack(), fine_tunes, datasets)) == []
    assert fine_tunes[0].base.source.endswith(f"@{datasets[0].tokenizer.revision}"), "the tokens are the base model's"


def test_two_of_one_name_are_refused():
    assert "name must be unique" in wrong(tune(), tune())["fineTunes[1]"]
    found = wrong(tune(), tune(name="second", registeredModel="support"))
    assert "registeredModel must be unique" in found["fineTunes[1]"]


@pytest.mark.parametrize(
    ("platform", "path"),
    [
        ({"training": {"enabled": False}}, "fineTunes"),
        ({"training": {"pytorchJobs": False}}, "fineTunes[0].job"),
        ({"isolation": {"internet": False}}, "fineTunes[0].base.source"),
    ],
)
def test_what_a_fine_tune_needs_of_the_platform_must_be_there(platform: dict[str, Any], path: str):
    hub = {"source": f"hf://meta-llama/Llama-3.1-8B-Instruct@{'a' * 40}"}
    assert path in wrong(tune(base=hub), platform=platform)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"dataset": None}, "either dataset or data must be set"),
        ({"data": "s3://data/x"}, "either dataset or data must be set"),
        ({"method": "qlora", "zero": {}}, "zero does not go with method qlora"),
        ({"zero": {"stage": 2, "offload": "all"}}, "offload: all needs stage 3"),
        ({"base": {"source": "hf://meta-llama/Llama-3.1-8B"}}, "must name the commit"),
        ({"base": {"source": "hosted://bedrock/model"}}, "a hosted model cannot be tuned"),
        ({"merge": False, "release": {}}, "release needs merge: true"),
        ({"zeros": {}}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_fine_tune_says_what_is_wrong(changes: dict[str, Any], why: str):
    with pytest.raises(ValueError, match=why):
        tune(**changes)
