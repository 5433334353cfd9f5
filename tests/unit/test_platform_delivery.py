"""A workload's objects, by this program or through Git: the same objects, and never a secret."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from aws_stack import run
from conftest import Recorder
from platform_site import options, site

from components.platform.delivery import WAVE, Delivery, DeliveryArgs, DeliveryMode, rendered_output
from components.platform.gitops import FINALIZER
from ops.render import RenderError, main, render

pytestmark = pytest.mark.unit

APPLICATION = "kubernetes:argoproj.io/v1alpha1:Application"
SETTINGS = {"delivery": {"repository": {"url": "https://github.com/acme/platform.git"}}}

CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "chat", "annotations": {WAVE: "-1"}},
    "data": {"snake_case": "kept as it is", "match_labels": "too"},
}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "chat", "namespace": "mlops-serving"},
    "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "chat"}}},
}
RESOURCE = {
    "apiVersion": "serving.kserve.io/v1alpha1",
    "kind": "ClusterServingRuntime",
    "metadata": {"name": "vllm"},
    "spec": {"containers": []},
}


def deliver(
    mode: DeliveryMode | None, *manifests: Mapping[str, Any], settings: Mapping[str, Any] = SETTINGS
) -> dict[str, Any]:
    """Deliver a workload; returns what would be the stack's output."""
    found: dict[str, Any] = {}

    def program() -> None:
        here = site(settings)
        arguments = DeliveryArgs(site=here, workload="chat", namespace="mlops-serving", manifests=manifests, mode=mode)
        delivery = Delivery("chat", arguments, options(here))
        pulumi.Output.from_input(rendered_output(here, [delivery])).apply(found.update)

    run(program)
    return found


def late(value: str) -> pulumi.Output[str]:
    return pulumi.Output.from_input(value)


def by_identity(objects: list[Mapping[str, Any]]) -> dict[tuple[str, ...], Mapping[str, Any]]:
    found = {
        (one["apiVersion"], one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]): one
        for one in objects
    }
    assert len(found) == len(objects)
    return found


def test_both_ways_give_the_same_objects(recorded: Recorder, tmp_path: Path):
    manifests = (CONFIG, {**DEPLOYMENT, "data": {"host": late("db.example.com")}}, RESOURCE)
    deliver("pulumi", *manifests)
    applied = by_identity([one.inputs for one in recorded.resources if one.parent == "chat"])

    render(json.loads(json.dumps(deliver_output := {"rendered": deliver("argocd", *manifests)})), tmp_path)

    folder = tmp_path / deliver_output["rendered"]["root"] / "chat"
    names = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert by_identity([yaml.safe_load((folder / name).read_text()) for name in names]) == applied
    assert len(applied) == 3


def test_objects_have_the_types_of_the_typed_classes_and_keep_their_keys(recorded: Recorder):
    deliver("pulumi", CONFIG, DEPLOYMENT, RESOURCE)

    assert recorded.one("kubernetes:core/v1:ConfigMap").inputs["data"] == CONFIG["data"]
    assert recorded.one("kubernetes:apps/v1:Deployment").name == "chat-deployment-chat"
    assert recorded.one("kubernetes:serving.kserve.io/v1alpha1:ClusterServingRuntime").provider == "cluster"


def test_a_later_wave_waits_for_the_one_before_it(recorded: Recorder):
    last = {**CONFIG, "metadata": {"name": "after", "annotations": {WAVE: "5"}}}
    deliver("pulumi", DEPLOYMENT, last, CONFIG)

    assert recorded.one("kubernetes:apps/v1:Deployment").depends_on == {"chat-configmap-chat"}
    assert recorded.one("kubernetes:core/v1:ConfigMap", "chat-configmap-after").depends_on == {"chat-deployment-chat"}


def test_an_object_without_a_namespace_lands_in_the_workloads(recorded: Recorder):
    deliver("pulumi", CONFIG, RESOURCE)

    assert recorded.one("kubernetes:core/v1:ConfigMap").inputs["metadata"]["namespace"] == "mlops-serving"
    runtime = recorded.one("kubernetes:serving.kserve.io/v1alpha1:ClusterServingRuntime")
    assert "namespace" not in runtime.inputs["metadata"]


def test_through_git_there_is_one_application_that_heals_itself_and_takes_its_objects_along(recorded: Recorder):
    output = deliver("argocd", CONFIG)

    application = recorded.one(APPLICATION)
    assert application.inputs["metadata"]["finalizers"] == [FINALIZER]
    spec = application.inputs["spec"]
    assert spec["source"]["path"] == f"{output['root']}/chat" == "deploy/test/chat"
    assert spec["project"] == "platform"
    assert spec["syncPolicy"]["automated"]["selfHeal"] is True
    assert not recorded.of("kubernetes:core/v1:ConfigMap"), "applied twice"


def test_the_mode_comes_from_the_stack_unless_the_workload_has_its_own(recorded: Recorder):
    by_default = {"delivery": {**SETTINGS["delivery"], "mode": "argocd"}}

    assert deliver(None, CONFIG, settings=by_default)["workloads"].keys() == {"chat"}
    assert deliver("pulumi", CONFIG, settings=by_default)["workloads"] == {}


def test_git_without_a_repository_is_refused(recorded: Recorder):
    with pytest.raises(pulumi.RunError, match=r"chat: delivery argocd needs platform\.delivery\.enabled"):
        deliver("argocd", CONFIG, settings={})


@pytest.mark.parametrize("mode", ["pulumi", "argocd"])
@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({**CONFIG, "kind": "Secret"}, "chat: Secret mlops-serving/chat: a Secret must not be"),
        ({**DEPLOYMENT, "metadata": {"name": "a", "namespace": "argocd"}}, "Deployment argocd/a: workloads go to"),
    ],
)
def test_what_git_must_not_hold_is_refused_in_both_modes(
    recorded: Recorder, mode: DeliveryMode, manifest: Mapping[str, Any], message: str
):
    with pytest.raises(pulumi.RunError, match=message):
        deliver(mode, manifest)


@pytest.mark.parametrize("mode", ["pulumi", "argocd"])
def test_a_secret_value_fails_the_update_and_names_the_object(recorded: Recorder, mode: DeliveryMode):
    leaking = {**CONFIG, "data": {"url": pulumi.Output.concat("postgres://u:", pulumi.Output.secret("p"), "@host")}}

    with pytest.raises(Exception, match="chat: ConfigMap chat holds a secret value"):
        deliver(mode, DEPLOYMENT, leaking)


def test_the_same_object_twice_is_refused(recorded: Recorder):
    with pytest.raises(pulumi.RunError, match="is there twice"):
        deliver("pulumi", DEPLOYMENT, {**DEPLOYMENT, "spec": {}})


# What `make render` does with the outputs


def outputs(**workloads: Any) -> dict[str, Any]:
    return {"rendered": {"root": "deploy/dev", "workloads": workloads}}


def tree(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_the_same_objects_are_the_same_bytes_whatever_the_order_of_their_keys(tmp_path: Path):
    render(outputs(chat=[CONFIG, DEPLOYMENT]), tmp_path / "one")
    shuffled = [dict(reversed(list(one.items()))) for one in (DEPLOYMENT, CONFIG)]
    render(outputs(chat=shuffled), tmp_path / "two")

    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert not render(outputs(chat=[CONFIG, DEPLOYMENT]), tmp_path / "one"), "a second run changes nothing"


def test_what_no_workload_has_any_more_is_removed_and_other_stacks_are_left_alone(tmp_path: Path):
    other = tmp_path / "deploy" / "prod" / "chat" / "kustomization.yaml"
    other.parent.mkdir(parents=True)
    other.write_text("prod")
    render(outputs(chat=[CONFIG, DEPLOYMENT], search=[CONFIG]), tmp_path)

    changes = render(outputs(chat=[CONFIG]), tmp_path)

    assert [str(path) for path in changes.written] == ["deploy/dev/chat/kustomization.yaml"]
    assert {path.name for path in (tmp_path / "deploy" / "dev").iterdir()} == {"chat"}
    assert len(list((tmp_path / "deploy" / "dev" / "chat").iterdir())) == 2
    assert other.read_text() == "prod"


def test_a_link_out_of_the_repository_is_not_followed(tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("keep")
    checkout = tmp_path / "checkout"
    (checkout / "deploy").mkdir(parents=True)
    (checkout / "deploy" / "dev").symlink_to(outside)

    with pytest.raises(RenderError, match="leads out of"):
        render(outputs(chat=[CONFIG]), checkout)
    assert (outside / "precious").read_text() == "keep"


@pytest.mark.parametrize(
    ("rendered", "message"),
    [
        (None, "no output rendered"),
        ("[secret]", "is a secret"),
        ({"root": "../elsewhere", "workloads": {}}, "no folder inside a repository"),
        ({"root": "/etc", "workloads": {}}, "no folder inside a repository"),
        ({"root": "a", "workloads": {"../b": []}}, "cannot be a folder's name"),
        ({"root": "a", "workloads": {"chat": "[secret]"}}, "chat: an object holds a secret value"),
        ({"root": "a", "workloads": {"chat": [{**CONFIG, "kind": "Secret"}]}}, "Secret chat must not be in Git"),
        (
            {"root": "a", "workloads": {"chat": [{**CONFIG, "data": {"key": "[secret]"}}]}},
            r"ConfigMap chat holds a secret value in data\.key",
        ),
        ({"root": "a", "workloads": {"chat": [CONFIG, CONFIG]}}, "is there twice"),
    ],
)
def test_what_cannot_go_to_git_is_refused_and_nothing_is_written(tmp_path: Path, rendered: Any, message: str):
    with pytest.raises(RenderError, match=message):
        render({"rendered": rendered} if rendered else {}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_names_that_differ_only_by_namespace_or_group_have_files_of_their_own(tmp_path: Path):
    render(
        outputs(
            chat=[
                CONFIG,
                {**CONFIG, "metadata": {"name": "chat", "namespace": "mlops-data"}},
                {**CONFIG, "apiVersion": "example.org/v1"},
            ]
        ),
        tmp_path,
    )
    assert len(list((tmp_path / "deploy" / "dev" / "chat").iterdir())) == 4


def test_the_command_reads_what_pulumi_prints_and_says_what_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    arguments = ["--directory", str(tmp_path)]

    def command(*more: str) -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(outputs(chat=[CONFIG]))))
        return main([*arguments, *more])

    assert command("--check") == 1, "stale"
    assert tree(tmp_path) == {}
    assert command() == 0
    assert "write  deploy/dev/chat/kustomization.yaml" in capsys.readouterr().out
    assert command("--check") == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("{}"))
    assert main(arguments) == 2
    assert "no output rendered" in capsys.readouterr().err
