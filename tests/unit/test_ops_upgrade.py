"""``python -m ops upgrade``: what is refused, what is named, and what the page of versions says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from components import versions
from ops.plan.preview import Preview, parse
from ops.upgrade import matrix, planning, support
from ops.upgrade.cli import app
from ops.upgrade.minors import Range, common, path_problem, skew_problems
from ops.upgrade.stack_versions import chart_name, read
from sandbox.toolchain.control_plane import KUBERNETES_VERSION

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
URN = "urn:pulumi:dev::llmops::"


def resource(type_: str, name: str, **inputs: Any) -> dict[str, Any]:
    return {"urn": f"{URN}{type_}::{name}", "type": type_, "custom": True, "inputs": inputs}


def stack(kubernetes: str = "1.35", nodes: str = "", proxy: str = "v1.35.3-eksbuild.18") -> list[dict[str, Any]]:
    """A small stack on AWS: control plane, nodes, kube-proxy, two releases, a database."""
    release = resource(
        "kubernetes:helm.sh/v3:Release",
        "platform-scheduling",
        chart="volcano",
        version="1.15.1",
        repositoryOpts={"repo": "https://volcano-sh.github.io/helm-charts"},
    )
    release["outputs"] = {
        "resourceNames": {
            "Deployment.apps/apps/v1": ["volcano-system/volcano-scheduler"],
            "ConfigMap/v1": ["volcano-system/volcano"],
        }
    }
    return [
        {**resource("pulumi:pulumi:Stack", "llmops-dev"), "outputs": {"cloud": "aws", "kubernetesVersion": kubernetes}},
        resource("aws:eks/cluster:Cluster", "cluster", version=kubernetes),
        resource("aws:eks/nodeGroup:NodeGroup", "cpu", version=nodes or kubernetes),
        resource("aws:eks/addon:Addon", "proxy", addonName="kube-proxy", addonVersion=proxy),
        resource("aws:rds/instance:Instance", "database", identifier="llmops-dev", engineVersion="17"),
        resource(
            "kubernetes:helm.sh/v3:Release", "platform-gateway", chart="oci://quay.io/jetstack/charts/cert-manager"
        ),
        release,
    ]


def previewed(*steps: dict[str, Any], errors: tuple[str, ...] = ()) -> Preview:
    told = [{"severity": "error", "message": error} for error in errors]
    return parse({"steps": list(steps), "diagnostics": told, "changeSummary": {}})


def step(op: str, one: dict[str, Any], *paths: str, kind: str = "update", **new: Any) -> dict[str, Any]:
    changed = {**one, "inputs": {**one["inputs"], **new}}
    return {
        "op": op,
        "urn": one["urn"],
        "oldState": one,
        "newState": changed,
        "detailedDiff": {path: {"kind": kind} for path in paths},
    }


def planned(*arguments: str, tmp_path: Path, state: list[dict[str, Any]] | None = None) -> Any:
    file = tmp_path / "state.json"
    file.write_text(json.dumps({"version": 3, "deployment": {"resources": state or stack()}}))
    return CliRunner().invoke(app, ["plan", "--from", str(file), *arguments])


def test_two_minors_at_once_are_refused_with_the_way(tmp_path: Path):
    answer = planned("--kubernetes", "1.37", tmp_path=tmp_path)
    assert answer.exit_code == 1
    assert "1.35 → 1.36 → 1.37; plan 1.36 first" in answer.stdout
    assert path_problem(35, 36, ("1.35", "1.36")) == ""
    assert "goes down" in path_problem(35, 34, ("1.34", "1.35"))
    assert "not among the versions" in path_problem(36, 37, ("1.36",))


def test_a_minor_that_a_chart_does_not_support_names_the_chart_and_may_be_accepted(tmp_path: Path):
    answer = planned("--kubernetes", "1.36", tmp_path=tmp_path)
    assert answer.exit_code == 1
    assert "volcano: its publisher supports" in answer.stdout
    accepted = planned("--kubernetes", "1.36", "--accept", "volcano", tmp_path=tmp_path)
    assert accepted.exit_code == 0, accepted.output
    assert "accepted: volcano" in accepted.stdout
    assert "Move first, in an update of their own: volcano" in accepted.stdout
    misspelt = planned("--kubernetes", "1.36", "--accept", "vulcano", tmp_path=tmp_path)
    assert misspelt.exit_code == 2
    assert "no such chart" in misspelt.stderr


def test_a_stack_that_stands_outside_the_range_already_is_told_so(tmp_path: Path):
    """One that an older release of this program brought up."""
    state = stack("1.31", proxy="v1.31.2-eksbuild.1")
    state.append(resource("kubernetes:helm.sh/v3:Release", "mesh", chart="istiod", version="1.30.3"))
    answer = planned(tmp_path=tmp_path, state=state)
    assert answer.exit_code == 1
    assert "istiod: needs Kubernetes from 1.32" in answer.stdout


def test_the_control_plane_comes_before_the_nodes_and_the_add_on_between(tmp_path: Path):
    steps = planning.steps(planning.build(stack(), target="1.36", accept=["volcano"]))
    order = [next(index for index, one in enumerate(steps) if words in one) for words in (
        "Back up", "kube-proxy to its version", "upgrades the control plane", "Add-ons that go with it",
        "Node groups follow", "cluster autoscaler moves", "ops drift",
    )]  # fmt: skip
    assert order == sorted(order)
    elsewhere = [{**stack("1.35")[0], "outputs": {"cloud": "onprem", "kubernetesVersion": "1.35"}}]
    steps = planning.steps(planning.build(elsewhere, target="1.36"))
    assert next(i for i, one in enumerate(steps) if "Whoever runs the cluster" in one) < next(
        i for i, one in enumerate(steps) if "Set cluster.kubernetesVersion" in one
    )


def test_nodes_are_at_most_three_minors_behind_and_never_ahead():
    assert skew_problems(36, {"node group cpu": "1.33", "kube-proxy": "v1.35.3-eksbuild.18"}) == []
    assert "4 minors older" in skew_problems(36, {"node group cpu": "1.32"})[0]
    assert "newer than the control plane" in skew_problems(35, {"kube-proxy": "v1.36.0-eksbuild.1"})[0]
    old = planning.build(stack("1.35", nodes="1.32"), target="1.36", accept=["volcano"])
    assert any("node group cpu (1.32)" in one for one in old.objections)


def test_replacing_a_database_is_refused_and_says_what_is_lost_and_why():
    state = stack()
    database = next(one for one in state if one["type"].startswith("aws:rds"))
    preview = previewed(step("replace", database, "identifier", kind="update-replace", identifier="other"))
    plan = planning.build(state, preview=preview, accept=["volcano"])
    assert plan.objections == (
        "database (aws:rds/instance:Instance) would be replaced, and with it the databases: identifier",
    )


def test_a_stateless_replacement_is_listed_and_not_refused():
    state = [*stack(), resource("aws:iam/rolePolicy:RolePolicy", "policy", role="a")]
    plan = planning.build(state, preview=previewed(step("replace", state[-1], "role", kind="update-replace", role="b")))
    assert [one.name for one in plan.replaced] == ["policy"]
    assert plan.objections == ()


def test_a_preview_that_failed_is_no_plan():
    plan = planning.build(stack(), preview=previewed(errors=("settings are wrong",)))
    assert plan.objections == ("the preview failed: settings are wrong",)


def test_restarts_name_the_workloads_of_a_release_and_what_moves_the_pods_of_nodes():
    state = stack()
    by_name = {one["urn"].rsplit("::", 1)[1]: one for one in state}
    preview = previewed(
        step("update", by_name["platform-scheduling"], "version", version="1.16.0"),
        step("update", by_name["cpu"], "version", version="1.36"),
        step("update", by_name["database"], "backupRetentionPeriod", backupRetentionPeriod=8),
        step("update", by_name["proxy"], "addonVersion", addonVersion="v1.36.0-eksbuild.1"),
    )
    plan = planning.build(state, preview=preview)
    told = {one.what: one for one in plan.restarts}
    assert told["pods of release platform-scheduling"].workloads == ("Deployment volcano-system/volcano-scheduler",)
    assert any(what.startswith("cpu: its nodes are replaced") for what in told)
    assert {one.name for one in plan.updated} == {"database", "proxy"}


def test_moved_versions_are_named_from_both_states():
    before, after = stack(), stack("1.36", proxy="v1.36.0-eksbuild.1")
    plan = planning.build(before, preview=previewed(), after=after, accept=["volcano"])
    assert (plan.current, plan.target) == (35, 36)
    assert [(one.name, one.after) for one in plan.moved] == [
        ("control plane", "1.36"),
        ("kube-proxy", "v1.36.0-eksbuild.1"),
        ("cpu", "1.36"),
    ]


@pytest.mark.parametrize("name", sorted(versions.CHARTS))
def test_a_chart_is_known_from_the_inputs_of_its_release_and_from_a_mirror(name: str):
    chart = versions.CHARTS[name]
    if chart.repository.startswith("oci://"):
        inputs: dict[str, Any] = {"chart": f"{chart.repository}/{chart.name}"}
    else:
        inputs = {"chart": chart.name, "repositoryOpts": {"repo": chart.repository}}
    assert chart_name(inputs) == name
    assert chart_name({"chart": f"oci://registry.internal/charts/{chart.name}"}) == name


def test_the_versions_of_a_state_come_from_the_cluster_and_not_only_from_what_was_exported():
    state = [one for one in stack("1.34") if one["type"] != "pulumi:pulumi:Stack"]
    assert (read(state).cloud, read(state).kubernetes) == ("aws", "1.34")


def test_every_pinned_chart_has_a_row_that_was_read_at_its_version():
    """A pin that moves makes this fail: look at what the new chart says of Kubernetes, and write its version there."""
    assert set(support.CHARTS) == set(versions.CHARTS)
    assert set(support.TREES) == set(versions.TREES)
    stale = [
        f"{row.name}: read at {row.support.read_at}, pinned {row.version}" for row in matrix.rows() if row.is_stale
    ]
    assert not stale, stale


def test_the_pinned_kubernetes_is_in_the_range_of_everything():
    assert matrix.problems(matrix.rows(), int(versions.KUBERNETES.split(".")[1])) == {}


def test_ranges_meet_where_all_of_them_hold():
    assert common([Range(32), Range(23, 35), Range()]) == Range(32, 35)
    assert common([Range(36), Range(None, 35)]).is_empty
    assert str(Range(32)) == "from 1.32"


def test_the_page_of_versions_is_current():
    """``python -m ops upgrade matrix --markdown > docs/versions.md`` writes it anew."""
    assert (ROOT / "docs" / "versions.md").read_text() == matrix.markdown(KUBERNETES_VERSION)


def test_the_matrix_as_json_names_who_is_against_a_version():
    answer = CliRunner().invoke(app, ["matrix", "--json"])
    assert answer.exit_code == 0
    outside = json.loads(answer.stdout)["kubernetes"]["outside"]
    assert outside[versions.KUBERNETES] == {}
    assert "volcano" in outside["1.36"]


def test_a_state_without_kubernetes_and_a_file_that_is_none_end_with_2(tmp_path: Path):
    empty = planned(tmp_path=tmp_path, state=[resource("aws:s3/bucket:Bucket", "one")])
    assert empty.exit_code == 2
    assert "names no version of Kubernetes" in empty.stderr
    answer = CliRunner().invoke(app, ["plan", "--from", str(tmp_path / "nothing.json")])
    assert answer.exit_code == 2
    assert planned("--kubernetes", "latest", tmp_path=tmp_path).exit_code == 2
