"""Argo CD: who may do what through it, what it may do itself, and what it leaves behind."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pulumi
import pytest
import yaml
from aws_stack import run
from conftest import Recorder
from platform_site import Identities, options, site
from pydantic import ValidationError

from components.capacity.ec2 import shape_of
from components.contract import NodePool
from components.platform.gitops import (
    FINALIZER,
    GitOps,
    GitOpsArgs,
    credentials,
    entries,
    openings,
)
from components.platform.gitops_values import (
    REDIS_SECRET,
    controller_rules,
    redis_is_replicated,
    server_rules,
    values,
)
from components.platform.openings import GATEWAY, Pods
from components.platform.projects import policy_csv, project_specs
from components.platform.secrets import SecretSync, SecretSyncArgs
from components.platform.site import Site
from components.settings.platform.delivery import DeliverySettings
from components.settings.teams import TeamSettings

pytestmark = pytest.mark.unit

RELEASE = "kubernetes:helm.sh/v3:Release"
EXTERNAL_SECRET = "kubernetes:external-secrets.io/v1:ExternalSecret"
PROJECT = "kubernetes:argoproj.io/v1alpha1:AppProject"
APPLICATION_SET = "kubernetes:argoproj.io/v1alpha1:ApplicationSet"

REPOSITORY = "https://github.com/acme/platform.git"
NLP = TeamSettings(name="nlp", repositories=("https://github.com/acme/nlp.git",))
VISION = TeamSettings(name="vision")
SSO = {"issuer": "https://id.example.com", "clientId": "argocd"}
FULL: dict[str, Any] = {
    "host": "argocd.example.com",
    "sso": SSO,
    "repository": {"url": REPOSITORY, "credentials": "github-app"},
}

Decided = TypeVar("Decided")


def decide(ask: Callable[[Site], Decided], delivery: dict[str, Any] | None = None, **more: Any) -> Decided:
    """What a deciding function says of a site."""
    found: list[Decided] = []
    settings = {"delivery": delivery or {}, "highlyAvailable": more.pop("highly_available", True)}
    run(lambda: found.append(ask(site(settings, **more))))
    return found[0]


def install(delivery: dict[str, Any], teams: Iterable[TeamSettings] = (NLP, VISION)) -> None:
    def program() -> None:
        here = site({"delivery": delivery}, teams=tuple(teams))
        wanted = entries(here.settings.delivery)
        secrets = SecretSync("secrets", SecretSyncArgs(site=here, entries=wanted), options(here))
        GitOps("gitops", GitOpsArgs(site=here, secrets=secrets.ready), options(here))

    run(program)


def system_nodes(count: int) -> NodePool:
    return NodePool(
        name="system",
        role="system",
        shapes=(shape_of("m6i.xlarge", 100),),
        min_size=count,
        max_size=6,
        spot=False,
        labels={},
        taints=(),
    )


class Policy:
    """Argo CD's model over a policy: what is allowed by one line and denied by none."""

    def __init__(self, *texts: str) -> None:
        lines = [[part.strip() for part in line.split(",")] for text in texts for line in text.splitlines()]
        self._rules = [tuple(line[1:]) for line in lines if line[0] == "p"]
        self._members = [(line[1], line[2]) for line in lines if line[0] == "g"]
        assert all(len(rule) == 5 for rule in self._rules)
        # Argo CD's own two roles, in short.
        self._rules += [("role:admin", "*", "*", "*", "allow"), ("role:readonly", "*", "get", "*", "allow")]

    def allows(self, group: str, resource: str, action: str, target: str) -> bool:
        subjects, added = {group}, True
        while added:
            found = {role for member, role in self._members if member in subjects}
            added = not found <= subjects
            subjects |= found
        request = (resource, action, target)
        effects = {
            rule[4] for rule in self._rules if rule[0] in subjects and all(map(fnmatch.fnmatchcase, request, rule[1:4]))
        }
        return effects == {"allow"}


def policy(delivery: dict[str, Any] | None = None) -> Policy:
    """The whole policy: the stack's, and what the projects' roles add."""

    def texts(here: Site) -> list[str]:
        roles = [(project, role) for project, spec in project_specs(here).items() for role in spec.get("roles", ())]
        return [
            policy_csv(here),
            *("\n".join(role["policies"]) for _, role in roles),
            *(f"g, {group}, proj:{project}:{role['name']}" for project, role in roles for group in role["groups"]),
        ]

    return Policy(*decide(texts, delivery, teams=(NLP, VISION)))


ADMIN, ENGINEER, VIEWER = "llmops:platform-admins", "llmops:ml-engineers", "llmops:viewers"
ADE = "llmops:team-nlp"  # a member of the team


@pytest.mark.parametrize(
    ("group", "resource", "action", "target", "allowed"),
    [
        (ADMIN, "applications", "delete", "team-nlp/chat", True),
        (ENGINEER, "applications", "get", "team-nlp/chat", True),
        (ENGINEER, "applications", "sync", "platform/llama", True),
        (ENGINEER, "applications", "override", "platform/llama", False),
        (ENGINEER, "applications", "delete", "platform/llama", False),
        (ENGINEER, "applications", "sync", "team-nlp/chat", False),
        (VIEWER, "applications", "get", "platform/llama", True),
        (VIEWER, "applications", "sync", "platform/llama", False),
        (ADE, "applications", "create", "team-nlp/chat", True),
        (ADE, "applications", "action/apps/Deployment/restart", "team-nlp/chat", True),
        (ADE, "logs", "get", "team-nlp/chat", True),
        (ADE, "applications", "get", "team-vision/detector", False),
        (ADE, "applications", "create", "default/anything", False),
        (ADE, "applications", "create", "platform/anything", False),
        (ADE, "exec", "create", "team-nlp/chat", False),
        (ADE, "projects", "update", "team-nlp", False),
        ("everybody", "applications", "get", "platform/llama", False),
    ],
)
def test_people_may_do_what_their_groups_say(
    recorded: Recorder, group: str, resource: str, action: str, target: str, allowed: bool
):
    assert policy().allows(group, resource, action, target) is allowed


def test_groups_have_the_names_that_the_sign_in_gives_them(recorded: Recorder):
    sso = {**SSO, "roleGroups": {"platform-admin": "SRE"}, "teamGroups": {"nlp": "Natural Language"}}
    named = policy({"host": "argocd.example.com", "sso": sso})

    assert named.allows("SRE", "applications", "delete", "platform/llama")
    assert named.allows("Natural Language", "applications", "sync", "team-nlp/chat")
    assert not named.allows(ADMIN, "applications", "get", "platform/llama")
    assert named.allows(VIEWER, "applications", "get", "platform/llama"), "not renamed"


def test_a_group_that_would_break_out_of_its_line_is_refused():
    with pytest.raises(ValidationError, match="roleGroups"):
        DeliverySettings.model_validate(
            {"host": "a.example.com", "sso": {**SSO, "roleGroups": {"viewer": "x, role:admin\ng, y"}}}
        )


def test_a_team_delivers_from_its_repositories_into_its_namespace_and_nothing_for_the_whole_cluster(
    recorded: Recorder,
):
    specs = decide(project_specs, FULL, teams=(NLP, VISION))

    nlp = specs["team-nlp"]
    assert nlp["sourceRepos"] == ["https://github.com/acme/nlp.git", REPOSITORY]
    assert [one["namespace"] for one in nlp["destinations"]] == ["team-nlp"]
    assert nlp["clusterResourceWhitelist"] == []
    assert nlp["orphanedResources"]["warn"] is True
    refused = {(one["group"], one["kind"]) for one in nlp["namespaceResourceBlacklist"]}
    assert {
        ("", "Secret"),
        ("", "ResourceQuota"),
        ("networking.k8s.io", "NetworkPolicy"),
        ("rbac.authorization.k8s.io", "RoleBinding"),
        ("external-secrets.io", "*"),
    } <= refused


def test_no_project_takes_every_source_or_every_place(recorded: Recorder):
    for name, spec in decide(project_specs, FULL, teams=(NLP,)).items():
        assert not [source for source in spec["sourceRepos"] if "*" in source], name
        assert not [one for one in spec["destinations"] if "*" in one["namespace"] + one["server"]], name
        places = {one["namespace"] for one in spec["destinations"]}
        assert not places & {"argocd", "istio-system", "external-secrets", "cert-manager", "kube-system"}, name


def test_the_project_that_argo_cd_makes_open_to_all_is_taken_over_and_closed(recorded: Recorder):
    install(FULL)

    default = recorded.one(PROJECT, "gitops-project-default").inputs
    assert default["metadata"]["annotations"]["pulumi.com/patchForce"] == "true"
    assert default["spec"]["sourceRepos"] == default["spec"]["destinations"] == []


def test_nothing_reads_or_writes_secrets_of_other_namespaces():
    for rules in (controller_rules(), server_rules()):
        for rule in rules:
            core = set(rule["apiGroups"]) & {"", "*"}
            assert not (core and set(rule["resources"]) & {"secrets", "*"})
            assert "*" not in rule["verbs"]


def test_the_controller_can_apply_what_workloads_are_made_of():
    def may(group: str, resource: str, verb: str) -> bool:
        return any(
            group in rule["apiGroups"] and {resource, "*"} & set(rule["resources"]) and verb in rule["verbs"]
            for rule in controller_rules()
        )

    for group, resource in (
        ("apps", "deployments"),
        ("batch", "jobs"),
        ("", "services"),
        ("", "persistentvolumeclaims"),
        ("serving.kserve.io", "inferenceservices"),
        ("ray.io", "rayclusters"),
        ("keda.sh", "scaledobjects"),
        ("external-secrets.io", "externalsecrets"),
    ):
        assert all(may(group, resource, verb) for verb in ("list", "watch", "create", "patch", "delete")), resource
    assert not may("", "namespaces", "create")
    assert not may("rbac.authorization.k8s.io", "clusterroles", "create")
    assert not may("external-secrets.io", "clustersecretstores", "create")


def test_every_credential_is_read_by_the_operator_and_none_is_in_the_release(recorded: Recorder):
    identities = Identities()

    def program() -> None:
        here = site({"delivery": FULL}, identities=identities)
        secrets = SecretSync("secrets", SecretSyncArgs(site=here, entries=entries(here.settings.delivery)))
        GitOps("gitops", GitOpsArgs(site=here, secrets=secrets.ready))

    run(program)

    asked = {
        data["remoteRef"]["key"].removeprefix("test/")
        for secret in recorded.of(EXTERNAL_SECRET).values()
        for data in secret.inputs["spec"]["data"]
    }
    (granted,) = identities.granted
    assert asked == set(granted.grants[0].entries)  # type: ignore[union-attr]  # the operator has a SecretGrant only
    assert {"argocd-repository", "argocd-sso"} <= asked
    release = recorded.one(RELEASE, "gitops-release").inputs["values"]
    assert release["configs"]["secret"] == {"createSecret": False}
    assert release["redisSecretInit"] == {"enabled": False}


def test_secrets_are_labelled_as_argo_cd_looks_for_them():
    found = credentials(DeliverySettings.model_validate(FULL))

    for wanted in found.values():
        assert wanted.template["metadata"]["labels"]["app.kubernetes.io/part-of"] == "argocd"
    repository = found["argocd-repository"].template
    assert repository["metadata"]["labels"]["argocd.argoproj.io/secret-type"] == "repository"
    assert repository["data"]["url"] == REPOSITORY
    assert repository["data"]["githubAppPrivateKey"] == "{{ .githubAppPrivateKey }}"


def test_templates_read_only_what_is_fetched():
    for wanted in credentials(DeliverySettings.model_validate(FULL)).values():
        read = {
            text.removeprefix("{{ .").removesuffix(" }}")
            for text in wanted.template.get("data", {}).values()
            if text.startswith("{{")
        }
        assert read <= set(wanted.data)


def test_no_kind_of_webhook_is_open_to_everybody():
    data = credentials(DeliverySettings())["argocd-secret"].template["data"]

    hosts = {"azuredevops.password", "bitbucket.uuid", "bitbucketserver.secret", "github.secret", "gitlab.secret"}
    for host in (*hosts, "gogs.secret"):
        assert data[f"webhook.{host}"] == "{{ .webhook }}"


def test_pods_that_need_the_password_of_redis_do_not_start_without_it(recorded: Recorder):
    chart = decide(values)

    for part in ("controller", "server", "repoServer"):
        (source,) = chart[part]["envFrom"]
        assert source["secretRef"] == {"name": REDIS_SECRET}, "and not optional"


@pytest.mark.parametrize(
    ("highly_available", "nodes", "replicated"), [(True, 3, True), (True, 2, False), (False, 3, False)]
)
def test_redis_is_replicated_only_where_three_hosts_are_always_there(
    recorded: Recorder, highly_available: bool, nodes: int, replicated: bool
):
    pools = (system_nodes(nodes),)
    assert decide(redis_is_replicated, highly_available=highly_available, pools=pools) is replicated
    chart = decide(values, highly_available=highly_available, pools=pools)
    assert chart["redis-ha"]["enabled"] is replicated
    targets = {
        next(iter(way.target.labels.values()), "")
        for way in decide(openings, highly_available=highly_available, pools=pools)
        if isinstance(way.target, Pods) and 6379 in way.ports
    }
    assert targets == ({"redis-ha-haproxy", "redis-ha"} if replicated else {"argocd-redis"})


def test_replicas_are_two_but_for_the_controller_which_could_not_share_one_cluster(recorded: Recorder):
    chart = decide(values)

    assert {part: chart[part]["replicas"] for part in ("server", "repoServer", "applicationSet", "controller")} == {
        "server": 2,
        "repoServer": 2,
        "applicationSet": 2,
        "controller": 1,
    }
    assert "pdb" not in chart["controller"], "a budget over one replica would keep its node from being drained"


def test_the_gateway_reaches_the_server_alone_and_only_the_repository_server_reaches_git(recorded: Recorder):
    ways = decide(openings, FULL)

    assert [way.target.labels for way in ways if way.source == GATEWAY and isinstance(way.target, Pods)] == [
        {"app.kubernetes.io/name": "argocd-server"}
    ]
    git = [way.source for way in ways if way.target == "internet" and 22 in way.ports]
    assert [pods.labels for pods in git if isinstance(pods, Pods)] == [{"app.kubernetes.io/name": "argocd-repo-server"}]
    kubernetes = [way.source for way in ways if way.target == "api-server"]
    assert not [
        pods for pods in kubernetes if isinstance(pods, Pods) and "repo-server" in pods.labels["app.kubernetes.io/name"]
    ], "what renders strangers' manifests does not reach the API server"


def test_sign_in_is_by_the_issuer_and_its_secret_is_a_reference(recorded: Recorder):
    config = decide(values, {**FULL, "localAdmin": False})["configs"]

    assert config["cm"]["admin.enabled"] is False
    oidc = yaml.safe_load(config["cm"]["oidc.config"])
    assert oidc["clientSecret"] == "$argocd-sso:clientSecret"
    assert "groups" in oidc["requestedScopes"]


@pytest.mark.parametrize(
    ("delivery", "message"),
    [
        ({"mode": "argocd"}, "mode argocd needs"),
        ({"sso": SSO}, r"sso needs delivery\.host"),
        ({"localAdmin": False}, "nobody can sign in"),
        ({"repository": {"url": REPOSITORY, "credentials": "ssh"}}, "cannot be used with the url"),
        ({"repository": {"url": REPOSITORY, "path": "../other"}}, "path"),
        ({"repository": {"url": REPOSITORY, "path": "a", "applicationsPath": "a/b"}}, "must lie apart"),
        ({"repository": {"url": REPOSITORY, "credentialsUrl": "https://github.com/acme"}}, "credentialsUrl"),
    ],
)
def test_settings_that_cannot_work_are_refused(delivery: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        DeliverySettings.model_validate(delivery)


def test_the_operator_is_told_which_entries_to_fill_in():
    settings = DeliverySettings.model_validate(FULL)

    assert settings.supplied == {
        "argocd-repository": ("githubAppID", "githubAppInstallationID", "githubAppPrivateKey"),
        "argocd-sso": ("clientSecret",),
    }
    assert set(settings.supplied) <= set(entries(settings))
    assert DeliverySettings().supplied == {}


def test_each_team_and_the_platform_have_a_folder_of_applications(recorded: Recorder):
    install(FULL)

    spec = recorded.one(APPLICATION_SET).inputs["spec"]
    found = {
        one["git"]["values"]["project"]: (one["git"]["directories"][0]["path"], one["git"]["values"]["namespace"])
        for one in spec["generators"]
    }
    assert found == {
        "platform": ("applications/test/platform/*", "mlops-system"),
        "team-nlp": ("applications/test/team-nlp/*", "team-nlp"),
        "team-vision": ("applications/test/team-vision/*", "team-vision"),
    }
    assert spec["goTemplateOptions"] == ["missingkey=error"]


def test_without_a_repository_nothing_is_synced(recorded: Recorder):
    install({})

    assert not recorded.of(APPLICATION_SET)
    assert recorded.one(PROJECT, "gitops-project-platform").inputs["spec"]["sourceRepos"] == []


def test_applications_and_their_objects_go_before_the_controller_that_removes_them(recorded: Recorder):
    install(FULL)

    applications = recorded.one(APPLICATION_SET)
    annotations = applications.inputs["metadata"]["annotations"]
    assert annotations["pulumi.com/deletionPropagationPolicy"] == "foreground"
    assert applications.inputs["spec"]["template"]["metadata"]["finalizers"] == [FINALIZER]
    assert {"gitops-release", "gitops-project-platform", "gitops-project-team-nlp"} <= applications.depends_on


@pytest.mark.parametrize("on", [True, False])
def test_self_healing_and_pruning_are_settings(recorded: Recorder, on: bool):
    install({**FULL, "selfHeal": on, "prune": on})

    spec = recorded.one(APPLICATION_SET).inputs["spec"]
    automated = spec["template"]["spec"]["syncPolicy"]["automated"]
    assert (automated["selfHeal"], automated["prune"]) == (on, on)
    assert automated["allowEmpty"] is False
    assert spec["syncPolicy"]["applicationsSync"] == ("sync" if on else "create-update")


def test_argo_cd_without_external_secrets_is_refused(recorded: Recorder):
    def program() -> None:
        here = site({"secrets": {"enabled": False}})
        GitOps("gitops", GitOpsArgs(site=here, secrets=()))

    with pytest.raises(pulumi.RunError, match=r"platform\.secrets\.enabled"):
        run(program)
