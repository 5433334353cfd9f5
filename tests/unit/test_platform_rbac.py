"""Roles: what ML engineers and viewers get, and above all what they do not."""

from __future__ import annotations

import pytest

from components.platform.rbac import ADMINISTRATOR, ROLES, Binding, Permission, bindings

pytestmark = pytest.mark.unit

GROUPS = {"platform-admin": "llmops:platform-admins", "ml-engineer": "llmops:ml-engineers", "viewer": "llmops:viewers"}
TEAMS = {"nlp": "llmops:team-nlp", "search": "llmops:team-search"}
RULES = [(role, one) for role, permissions in ROLES.items() for one in permissions]


def of(group: str) -> set[tuple[str, str | None]]:
    return {(one.role, one.namespace) for one in bindings(GROUPS, TEAMS) if one.group == group}


@pytest.mark.parametrize(("role", "permission"), RULES, ids=lambda one: str(one)[:60])
def test_no_role_of_ours_has_a_wildcard_or_reads_a_secret(role: str, permission: Permission):
    assert "*" not in {permission.group, *permission.resources, *permission.verbs}
    assert permission.resources
    assert permission.verbs
    assert not {"secrets", "serviceaccounts/token"} & set(permission.resources)
    assert not {"escalate", "bind", "impersonate"} & set(permission.verbs)


def test_what_separates_namespaces_is_changed_by_no_role():
    bounds = {"resourcequotas", "limitranges", "networkpolicies", "nodes", "namespaces", "externalsecrets", "roles"}
    for role, permission in RULES:
        if bounds & set(permission.resources):
            assert set(permission.verbs) <= {"get", "list", "watch"}, (role, permission)


def test_viewers_only_look_and_open_no_session():
    for permission in ROLES["llmops-viewer"]:
        assert set(permission.verbs) <= {"get", "list", "watch"}
        assert {name for name in permission.resources if "/" in name} <= {"pods/log"}


def test_viewers_see_whatever_ml_engineers_work_with():
    seen = {(one.group, name) for one in ROLES["llmops-viewer"] for name in one.resources}
    for permission in ROLES["llmops-ml-engineer"]:
        assert {(permission.group, name) for name in permission.resources if "/" not in name} <= seen


def test_the_only_unlimited_role_is_kubernetes_own_and_only_platform_admins_have_it():
    unlimited = [one for one in bindings(GROUPS, TEAMS) if one.role not in ROLES]
    assert unlimited == [Binding(title="platform-admins", group="llmops:platform-admins", role=ADMINISTRATOR)]


def test_ml_engineers_have_no_role_where_the_platform_runs():
    assert {namespace for _, namespace in of("llmops:ml-engineers")} == {
        None,
        "mlops-data",
        "mlops-serving",
        "mlops-training",
    }
    assert {role for role, namespace in of("llmops:ml-engineers") if namespace is None} == {"llmops-catalogue"}


def test_a_team_is_bound_in_its_own_namespace_and_in_no_other():
    assert of("llmops:team-nlp") == {("llmops-catalogue", None), ("llmops-ml-engineer", "team-nlp")}


def test_where_the_model_gateways_keys_are_nobody_opens_a_session():
    roles = {role for role, namespace in of("llmops:ml-engineers") if namespace == "mlops-serving"}
    for permission in (one for role in roles for one in ROLES[role]):
        assert not {"pods/exec", "pods/portforward"} & set(permission.resources)
        if "pods" in permission.resources:
            assert "create" not in permission.verbs


def test_nobody_creates_pods_without_a_controller():
    """The VPC CNI would not hold them to network policies."""
    assert [one for _, one in RULES if one.group == "" and "pods" in one.resources and "create" in one.verbs] == []


def test_bindings_have_names_of_their_own():
    titles = [one.title for one in bindings(GROUPS, TEAMS)]
    assert len(set(titles)) == len(titles)
