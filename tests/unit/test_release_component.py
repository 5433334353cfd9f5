"""Releases as objects: templates, what starts them, accounts, rights, alerts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from components.contract import ObjectGrant
from components.settings.release import ReleaseSettings
from tests.unit import release_stack
from tests.unit.conftest import Recorder
from tests.unit.platform_site import Identities, options, site
from workloads.release import alerts, rights
from workloads.release.argo import METRIC
from workloads.release.component import Releases, ReleasesArgs
from workloads.release.releases import (
    ALIAS,
    BUILDER,
    EVALUATOR,
    GRANTS,
    NAMESPACE,
    PLANNER,
    PROMOTER,
    PUBLISHER,
    STARTER,
    flow_of,
)

pytestmark = pytest.mark.unit

WORKFLOWS = "kubernetes:argoproj.io/v1alpha1:"
RULES = "kubernetes:monitoring.coreos.com/v1:PrometheusRule"


def declared(recorded: Recorder, settings: Mapping[str, Any] | None = None, **changes: Any) -> Identities:
    """Declare one release; the identities that were asked for."""
    identities = Identities()

    def program() -> None:
        where = site(pools=release_stack.POOLS, teams=[release_stack.TEAM], identities=identities)
        one = release_stack.release(where, settings=settings, **changes)
        args = ReleasesArgs(site=where, releases=[one], workflows=(), rules=[where.foundation.cluster.provider])
        Releases("releases", args, options(where))

    recorded.run(program)
    return identities


def template(recorded: Recorder) -> dict[str, Any]:
    return recorded.one(f"{WORKFLOWS}WorkflowTemplate").inputs["spec"]


def templates(recorded: Recorder) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in template(recorded)["templates"]}


def tasks(recorded: Recorder) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in templates(recorded)["flow"]["dag"]["tasks"]}


def config(one: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(one["container"]["args"][1])


def test_steps_come_in_the_order_in_which_a_model_becomes_a_server(recorded: Recorder):
    declared(recorded, {"engine": release_stack.ENGINE, "promote": "automatic"})

    assert list(tasks(recorded)) == [
        "look", "preprocess", "plan", "train", "find", "answer", "evaluate", "register",
        "convert", "build", "sync", "trial", "promote",
    ]  # fmt: skip


def test_a_release_without_an_engine_ends_with_the_alias(recorded: Recorder):
    declared(recorded, {})

    assert list(tasks(recorded))[-2:] == ["evaluate", "register"]


def test_nothing_but_the_candidate_alias_moves_unless_the_settings_say_so(recorded: Recorder):
    declared(recorded, {"engine": release_stack.ENGINE})
    aliases = [config(one)["alias"] for one in templates(recorded).values() if one["name"] in ("register", "promote")]

    assert aliases == [ReleaseSettings().candidate_alias]


def test_every_step_but_the_lookers_may_be_left_out(recorded: Recorder):
    declared(recorded, {"engine": release_stack.ENGINE, "promote": "automatic"})

    assert {name for name, one in tasks(recorded).items() if "when" not in one} == {"look", "plan", "find"}


def test_the_engine_is_built_and_tried_on_the_gpu_that_will_serve_it(recorded: Recorder):
    declared(recorded, {"engine": {**release_stack.ENGINE, "tensorParallel": 4}})
    for name in ("convert", "build", "trial"):
        one = templates(recorded)[name]
        assert one["nodeSelector"] == {"llmops/role": "gpu-inference", "llmops/gpu-model": "a10g"}
        assert one["container"]["resources"]["limits"]["nvidia.com/gpu"] == "4"
        assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in one["tolerations"]


def test_data_that_a_run_chose_reaches_the_training_as_it_was_chosen(recorded: Recorder):
    declared(recorded, {})
    train = templates(recorded)["train"]

    assert train["inputs"]["parameters"] == [{"name": "plan_dataset"}]
    assert '\\"url\\":\\"{{inputs.parameters.plan_dataset}}\\"' in json.dumps(config(train)["manifest"])


def test_the_model_s_key_does_not_depend_on_when_or_where_the_data_lies(recorded: Recorder):
    declared(recorded, {})
    told = config(templates(recorded)["plan"])

    assert "url" not in told["training"]["data"]
    assert told["look"] == config(templates(recorded)["look"])


def test_who_trains_cannot_promote_and_who_promotes_has_no_way_to_objects_or_jobs(recorded: Recorder):
    identities = declared(recorded, {"engine": release_stack.ENGINE, "promote": "automatic"})
    accounts = {name: one["serviceAccountName"] for name, one in templates(recorded).items() if name != "flow"}

    assert {accounts["register"], accounts["promote"]} == {PROMOTER}
    assert {accounts["preprocess"], accounts["train"]} == {STARTER}
    assert {accounts["convert"], accounts["build"], accounts["trial"]} == {BUILDER}
    assert accounts["sync"] == PUBLISHER
    assert {accounts["answer"], accounts["evaluate"]} == {EVALUATOR}
    assert {one.service_account for one in identities.granted} == {*GRANTS} - {PROMOTER, STARTER}
    # What a workflow's own pods may do besides is said by their accounts: none has the run's default.
    assert template(recorded)["serviceAccountName"] == PLANNER


def test_the_model_repository_is_written_by_one_account_only():
    writers = {
        account
        for account, grants in GRANTS.items()
        for one in grants
        if isinstance(one, ObjectGrant) and one.bucket == "models" and one.access == "read-write"
    }
    assert writers == {PUBLISHER}


def test_jobs_are_started_where_the_flow_starts_them_and_nowhere_else(recorded: Recorder):
    declared(recorded, {}, team="research", job="train-job")
    roles = recorded.of("kubernetes:rbac.authorization.k8s.io/v1:Role")
    found = {
        (one.inputs["metadata"]["namespace"], rule["resources"][0]): set(rule["verbs"])
        for one in roles.values()
        for rule in one.inputs["rules"]
    }

    assert found == {
        (NAMESPACE, "workflowtaskresults"): {"create", "patch"},
        ("mlops-data", "rayjobs"): {"create", "delete", "get"},
        ("team-research", "trainjobs"): {"create", "delete", "get"},
        **({(NAMESPACE, "workflows"): {"create", "delete", "get"}} if (NAMESPACE, "workflows") in found else {}),
    }


def test_a_kind_that_steps_may_not_create_is_refused(recorded: Recorder):
    def program() -> None:
        where = release_stack.place()
        flow = flow_of(release_stack.release(where, settings={}), where)
        manifest = {"kind": "Secret", "metadata": {"namespace": "kube-system"}}
        (train,) = (task.step for task in flow.tasks if task.step.name == "train")
        object.__setattr__(train, "manifest", manifest)
        with pytest.raises(ValueError, match="Secret is none of"):
            rights.started([flow])

    recorded.run(program)


def test_a_schedule_runs_everything_and_a_watched_alias_only_what_comes_after_training(recorded: Recorder):
    declared(recorded, {"schedule": "0 1 * * 0", "watchAlias": "release-me", "watchMinutes": 30})
    found = recorded.of(f"{WORKFLOWS}CronWorkflow")

    assert found["release-support-schedule"].inputs["spec"]["schedules"] == ["0 1 * * 0"]
    assert "arguments" not in found["release-support-schedule"].inputs["spec"]["workflowSpec"]
    watch = found["release-support-watch"].inputs["spec"]
    assert watch["schedules"] == ["*/30 * * * *"]
    assert watch["workflowSpec"]["arguments"]["parameters"] == [{"name": ALIAS, "value": "release-me"}]


def test_without_a_schedule_nothing_runs_by_itself_and_nothing_can_be_late(recorded: Recorder):
    declared(recorded, {})

    assert recorded.of(f"{WORKFLOWS}CronWorkflow") == {}
    (group,) = recorded.one(RULES).inputs["spec"]["groups"]
    assert [one["alert"] for one in group["rules"]] == [alerts.FAILED]


def test_alerts_read_the_metric_that_the_controller_makes_of_the_flows(recorded: Recorder):
    declared(recorded, {"schedule": "0 1 * * *", "lateHours": 30})
    (metric,) = template(recorded)["metrics"]["prometheus"]
    (group,) = recorded.one(RULES).inputs["spec"]["groups"]

    assert metric["name"] == METRIC
    assert f"argo_workflows_{METRIC}" == alerts.SERIES
    for one in group["rules"]:
        assert alerts.SERIES in one["expr"]
    assert f"> {30 * 3600}" in group["rules"][1]["expr"]


def test_a_run_is_never_beside_another_of_the_same_release(recorded: Recorder):
    declared(recorded, {})

    assert template(recorded)["synchronization"] == {"mutexes": [{"name": "release-support"}]}


def test_kubeflow_is_given_the_same_steps(recorded: Recorder):
    declared(recorded, {"engine": release_stack.ENGINE})
    document = json.loads(recorded.component_outputs["releases"]["releases"]["support"]["kubeflow"])

    assert [one["name"] for one in document["steps"]] == list(tasks(recorded))
    assert {one["name"]: one["when"] is None for one in document["steps"]} == {
        name: "when" not in one for name, one in tasks(recorded).items()
    }


def test_steps_on_gpus_become_workflows_where_the_gpus_are(recorded: Recorder):
    """The namespace of pipelines has no GPUs."""
    declared(recorded, {"engine": release_stack.ENGINE})
    document = json.loads(recorded.component_outputs["releases"]["releases"]["support"]["kubeflow"])
    steps = {one["name"]: one for one in document["steps"]}
    for name in ("answer", "convert", "build", "trial"):
        told = json.loads(steps[name]["config"])
        assert told["manifest"]["kind"] == "Workflow"
        assert told["manifest"]["metadata"]["namespace"] == NAMESPACE
        assert told["manifest"]["spec"]["entrypoint"] == name
        wanted = {one["name"] for one in templates(recorded)[name]["inputs"]["parameters"]}
        assert {one["name"] for one in told["manifest"]["spec"]["arguments"]["parameters"]} == wanted
    assert json.loads(steps["answer"]["config"])["gives"] == ["answers"]


def test_a_flow_is_the_same_every_time_it_is_rendered(recorded: Recorder):
    """Another text would be another template, and an update of the stack with every preview."""
    declared(recorded, {"engine": release_stack.ENGINE})
    first = template(recorded)
    recorded.resources.clear()
    declared(recorded, {"engine": release_stack.ENGINE})

    assert template(recorded) == first
