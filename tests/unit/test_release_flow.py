"""Flows: what is refused before it is rendered, and what Argo is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pulumi
import pytest

from tests.unit.conftest import Recorder
from workloads.release import argo
from workloads.release.flow import INPUTS, Condition, Flow, FlowError, Starter, Task, in_pods, used
from workloads.release.steps import PodStep, ResourceStep, result, results_in, with_results

pytestmark = pytest.mark.unit


def pod(name: str, config: Mapping[str, Any] | None = None, **more: Any) -> PodStep:
    told: dict[str, Any] = {
        "image": "registry.test/x:1", "cpu_millicores": 100, "memory_mib": 64, "service_account": "somebody",
        "deadline_seconds": 60, **more,
    }  # fmt: skip
    return PodStep(name=name, config=config or {}, **told)


def job(name: str = "train", **more: Any) -> ResourceStep:
    manifest = {"apiVersion": "v1", "kind": "TrainJob", "metadata": {"name": "tune", "namespace": "mlops-training"}}
    told: dict[str, Any] = {"success": "status.a == b", "failure": "status.a == c", "deadline_seconds": 60, **more}
    return ResourceStep(name=name, manifest=manifest, **told)


def flow(*tasks: Task, **inputs: str) -> Flow:
    return Flow(name="f", namespace="n", tasks=tasks, inputs=inputs)


def rendered(recorded: Recorder, make: Callable[[], Flow]) -> dict[str, Any]:
    """The specification with every output known."""
    found: list[dict[str, Any]] = []

    def program() -> None:
        pulumi.Output.from_input(argo.spec(make(), pools=(), service_account="somebody")).apply(found.append)

    recorded.run(program)
    return found[0]


LOOK = Task(step=pod("look", gives=("size", "train")))


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ([LOOK, LOOK], "step look: the name is taken"),
        ([Task(step=pod("inputs"))], "step inputs: the name is taken"),
        ([Task(step=pod("b", {"x": result("look", "size")})), LOOK], "uses size of look, which is no step before it"),
        ([LOOK, Task(step=pod("b", {"x": result("look", "weight")}))], "look gives no weight"),
        ([LOOK, Task(step=pod("b"), after=["c"])], "c is no step before it"),
        ([LOOK, Task(step=pod("b"), when=Condition(step="look", result="weight"))], "look gives no weight"),
        ([Task(step=pod("b", {"x": result(INPUTS, "alias")}))], "alias is no input of the flow"),
        ([Task(step=pod("b", {"x": result("run", "name")}))], "a run has no name"),
        ([Task(step=pod("b", {"x": "{{ messages }}"}))], "would be taken for a variable"),
        (
            [
                LOOK,
                Task(step=pod("b", gives=("made",)), when=Condition(step="look", result="train")),
                Task(step=pod("c", {"x": result("b", "made")})),
            ],
            "uses made of b, which may be left out while this one is run",
        ),
    ],
)
def test_a_flow_that_could_not_be_run_is_refused(tasks: list[Task], said: str):
    with pytest.raises(FlowError, match=said):
        flow(*tasks)


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(FlowError) as refused:
        flow(LOOK, LOOK, Task(step=pod("b", {"x": result("look", "weight")})))

    assert len(str(refused.value).splitlines()) == 2


def test_a_step_waits_for_whose_results_it_uses_and_for_who_decides():
    whole = flow(
        LOOK,
        Task(step=pod("other", gives=("x",))),
        Task(
            step=pod("b", {"deep": [{"x": f"s3://{result('other', 'x')}/y"}]}),
            when=Condition(step="look", result="train"),
        ),
    )

    assert whole.needs(whole.tasks[2]) == ["look", "other"]


def test_a_result_that_only_an_output_holds_is_named():
    step = pod("b", {"x": "plain"}, uses=(("look", "size"),))

    assert used(step) == [("look", "size")]


def test_texts_of_results_are_found_and_filled_in():
    text = f"{result('a', 'x')} and {result('b-c', 'yZ')} and {result('a', 'x')}"

    assert results_in(text) == [("a", "x"), ("b-c", "yZ")]
    assert with_results(text, {("a", "x"): "1", ("b-c", "yZ"): "2"}) == "1 and 2 and 1"


def test_gpus_are_asked_for_on_nodes_that_have_them():
    with pytest.raises(ValueError, match="on cpu nodes"):
        pod("b", gpus=1)


def test_a_manifest_without_a_namespace_is_refused():
    with pytest.raises(ValueError, match="no namespace"):
        ResourceStep(name="b", manifest={"metadata": {}}, success="a", failure="b", deadline_seconds=1)


def test_a_step_gets_results_as_its_own_inputs(recorded: Recorder):
    spec = rendered(
        recorded,
        lambda: flow(
            LOOK, Task(step=pod("b", {"x": result("look", "size")}, environment={"E": result("look", "size")}))
        ),
    )
    main, look, b = spec["templates"]

    assert look["outputs"]["parameters"][0] == {"name": "size", "valueFrom": {"path": "/tmp/results/size"}}
    assert main["dag"]["tasks"][1]["arguments"]["parameters"] == [
        {"name": "look_size", "value": "{{tasks.look.outputs.parameters.size}}"}
    ]
    assert json.loads(b["container"]["args"][1]) == {"x": "{{inputs.parameters.look_size}}"}
    assert b["container"]["env"] == [{"name": "E", "value": "{{inputs.parameters.look_size}}"}]


def test_a_step_that_fails_for_good_is_never_tried_again(recorded: Recorder):
    spec = rendered(recorded, lambda: flow(Task(step=pod("a", retries=3)), Task(step=pod("b", retries=0))))
    retried, once = spec["templates"][1:]

    assert retried["retryStrategy"]["limit"] == "3"
    assert retried["retryStrategy"]["expression"] == "!(asInt(lastRetry.exitCode) in [2, 3])"
    assert "retryStrategy" not in once


def test_a_step_that_starts_a_job_holds_its_whole_manifest_and_the_run_s_name(recorded: Recorder):
    starter = Starter(image="registry.test/release:1", service_account="starter")
    spec = rendered(recorded, lambda: in_pods(flow(Task(step=job())), starter))
    told = json.loads(spec["templates"][1]["container"]["args"][1])

    assert spec["templates"][1]["serviceAccountName"] == "starter"
    assert told["manifest"]["kind"] == "TrainJob"
    assert told["run"] == "{{workflow.uid}}"


def test_only_pods_are_rendered():
    with pytest.raises(TypeError, match="train is not a pod"):
        argo.spec(flow(Task(step=job())), pools=(), service_account="somebody")
