"""Grafana: who signs in as what, where it reads, what its pods mount, and that it keeps to itself."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import jmespath
import pulumi
import pytest
from conftest import Recorder
from platform_site import options, site
from pydantic import ValidationError

from components.credentials import CATALOGUE
from components.platform.observability import component
from components.platform.observability.grafana import (
    Dashboards,
    DashboardsArgs,
    openings,
    own_sign_in,
    publish,
    secret_entries,
)
from components.platform.observability.grafana_permissions import SCRIPT
from components.platform.observability.grafana_values import PODS, TRACE_ID, role_expression, values
from components.platform.openings import Opening, Pods
from components.settings.platform import PlatformSettings, rules
from components.settings.platform.grafana import GrafanaSettings
from components.settings.teams import TeamSettings

pytestmark = pytest.mark.unit

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
EXTERNAL_SECRET = "kubernetes:external-secrets.io/v1:ExternalSecret"
JOB = "kubernetes:batch/v1:Job"
ROUTE = "kubernetes:networking.istio.io/v1:VirtualService"
POLICY = "kubernetes:security.istio.io/v1:AuthorizationPolicy"

SSO = {
    "clientId": "grafana",
    "authUrl": "https://id.example.com/authorize",
    "tokenUrl": "https://id.example.com/token",
    "userInfoUrl": "https://id.example.com/userinfo",
}
TEAMS = [TeamSettings(name="search")]


def chosen(recorded: Recorder, settings: dict[str, Any] | None = None) -> dict[str, Any]:
    """The chart's values, with what comes late filled in."""
    found: dict[str, Any] = {}

    def program() -> None:
        pulumi.Output.from_input(values(site(settings, teams=TEAMS))).apply(found.update)

    recorded.run(program)
    return found


def declare(recorded: Recorder, settings: dict[str, Any] | None = None, *, edge: bool = True) -> None:
    def program() -> None:
        place = site(settings, teams=TEAMS)
        parent = Dashboards(
            "dashboards", DashboardsArgs(site=place, secrets_ready=(), databases_ready=()), options(place)
        )
        publish("grafana", place, parent=parent, running=(), edge_ready=() if edge else None)

    recorded.run(program)


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["llmops:platform-admins"], "Admin"),
        (["llmops:viewers", "llmops:ml-engineers"], "Editor"),
        (["llmops:viewers"], "Viewer"),
        (["llmops:team-search"], "Viewer"),
        (["llmops:team-search", "llmops:platform-admins"], "Admin"),
        (["somebody-else"], False),
        ([], False),
    ],
)
def test_groups_of_the_issuer_become_roles_and_strangers_are_refused(recorded: Recorder, groups: list[str], role: Any):
    sso = GrafanaSettings.model_validate({"sso": SSO}).sso
    assert sso
    expression = recorded.run(lambda: role_expression(site(teams=TEAMS), sso))
    assert jmespath.search(expression, {"groups": groups}) == role
    ini = chosen(recorded, {"grafana": {"sso": SSO}})["grafana.ini"]
    assert ini["auth.generic_oauth"]["role_attribute_strict"] is True


def test_a_claim_with_a_colon_and_the_issuers_own_names_of_groups_are_understood(recorded: Recorder):
    given = {**SSO, "groupsClaim": "cognito:groups", "roleGroups": {"platform-admin": "Ops Team"}}
    sso = GrafanaSettings.model_validate({"sso": given}).sso
    assert sso
    expression = recorded.run(lambda: role_expression(site(), sso))
    assert jmespath.search(expression, {"cognito:groups": ["Ops Team"]}) == "Admin"
    assert not jmespath.search(expression, {"cognito:groups": ["llmops:platform-admins"]})


@pytest.mark.parametrize("group", ["a'b", "{{ .Values }}", 'a"b', "a\\b"])
def test_a_group_that_could_break_out_of_the_expression_is_refused(group: str):
    with pytest.raises(ValidationError):
        GrafanaSettings.model_validate({"sso": {**SSO, "roleGroups": {"viewer": group}}})


def test_no_credential_is_in_the_values_and_every_one_comes_from_a_secret_that_is_there(recorded: Recorder):
    settings = {"grafana": {"sso": SSO}}
    found = chosen(recorded, settings)
    declare(recorded, settings)
    keys = {
        (one.inputs["metadata"]["namespace"], one.inputs["spec"]["target"]["name"]): {
            entry["secretKey"] for entry in one.inputs["spec"]["data"]
        }
        for one in recorded.of(EXTERNAL_SECRET).values()
    }
    references = [one["secretKeyRef"] for one in found["envValueFrom"].values()]
    admin = found["admin"]
    references += [{"name": admin["existingSecret"], "key": admin[key]} for key in ("userKey", "passwordKey")]
    assert len(references) == 6
    for reference in references:
        assert reference["key"] in keys["monitoring", reference["name"]]
    for mount in found["extraSecretMounts"]:
        assert ("monitoring", mount["secretName"]) in keys
    sensitive = ("password", "secret_key", "client_secret", "admin_password")
    assert not [key for section in found["grafana.ini"].values() for key in section if key in sensitive]


def test_entries_that_are_read_are_named_and_are_in_the_catalogue(recorded: Recorder):
    settings = {"grafana": {"sso": SSO}}
    declare(recorded, settings)
    known = {credential.purpose for credential in CATALOGUE} | {"grafana-sso"}
    named = set(secret_entries(PlatformSettings.model_validate(settings)))
    assert named <= known
    read = {
        entry["remoteRef"]["key"].removeprefix("test/")
        for one in recorded.of(EXTERNAL_SECRET).values()
        for entry in one.inputs["spec"]["data"]
        if entry["remoteRef"]["key"].startswith("test/")
    }
    assert read == named
    assert GrafanaSettings.model_validate({"sso": SSO}).supplied == {"grafana-sso": ("clientSecret",)}


def test_the_server_of_the_database_is_verified_by_the_certificate_that_is_mounted(recorded: Recorder):
    found = chosen(recorded)
    database = found["grafana.ini"]["database"]
    assert database["ssl_mode"] == "verify-full"
    (mount,) = found["extraSecretMounts"]
    assert database["ca_cert_path"].startswith(f"{mount['mountPath']}/")
    assert found["env"]["GF_DATABASE_HOST"] == "database.test:5432"


def test_every_dashboard_is_mounted_where_a_provider_looks_for_it(recorded: Recorder):
    found = chosen(recorded)
    declare(recorded)
    maps = {one.inputs["metadata"]["name"]: one.inputs["data"] for one in recorded.of(CONFIG_MAP).values()}
    mounts = {mount["configMap"]: mount["mountPath"] for mount in found["extraConfigmapMounts"]}
    assert set(mounts) == set(maps)
    assert len(mounts) >= 8
    providers = found["dashboardProviders"]["dashboards.yaml"]["providers"]
    folders = {provider["options"]["path"]: provider for provider in providers}
    for path in mounts.values():
        assert path.rpartition("/")[0] in folders
    files = {f"{mounts[name]}/{file}" for name, data in maps.items() for file in data}
    assert found["grafana.ini"]["dashboards"]["default_home_dashboard_path"] in files
    assert not any(provider["allowUiUpdates"] for provider in folders.values())


def test_grafana_may_reach_every_data_source(recorded: Recorder):
    place = recorded.run(site)
    ways = [*component.openings(place)]
    sources = chosen(recorded)["datasources"]["datasources.yaml"]["datasources"]
    assert {source["type"] for source in sources} == {"prometheus", "alertmanager", "loki", "tempo"}
    for source in sources:
        port = urlsplit(source["url"]).port
        assert any(
            way.source == PODS
            and isinstance(way.target, Pods)
            and port in way.ports
            and way.target.namespace == "monitoring"
            for way in ways
        ), source["url"]


def test_a_source_that_is_not_installed_is_not_offered(recorded: Recorder):
    off = {"enabled": False}
    found = chosen(recorded, {"logs": off, "traces": off})["datasources"]["datasources.yaml"]["datasources"]
    assert {source["type"] for source in found} == {"prometheus", "alertmanager"}
    assert "exemplarTraceIdDestinations" not in found[0]["jsonData"]


def test_a_line_of_a_log_leads_to_its_trace_and_a_trace_to_its_lines(recorded: Recorder):
    sources = {one["uid"]: one for one in chosen(recorded)["datasources"]["datasources.yaml"]["datasources"]}
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    for line in (f'{{"trace_id": "{trace}"}}', f'{{"level":"info","traceID":"{trace}"}}', f'{{"traceid":"{trace}"}}'):
        found = re.search(TRACE_ID, line)
        assert found
        assert found.group(1) == trace
    assert {field["datasourceUid"] for field in sources["loki"]["jsonData"]["derivedFields"]} == {"tempo"}
    assert sources["tempo"]["jsonData"]["tracesToLogsV2"]["datasourceUid"] == "loki"
    (to_trace,) = sources["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert to_trace["datasourceUid"] == "tempo"


def test_grafana_reads_nothing_of_the_cluster_and_writes_nothing_but_its_own_folders(recorded: Recorder):
    found = chosen(recorded)
    assert found["rbac"] == {"create": False}
    assert found["automountServiceAccountToken"] is False
    assert not any(sidecar["enabled"] for sidecar in found["sidecar"].values())
    assert found["containerSecurityContext"]["readOnlyRootFilesystem"] is True


def test_plugins_of_the_image_stay_as_they_are_and_those_in_use_stay_on(recorded: Recorder):
    found = chosen(recorded)
    plugins = found["grafana.ini"]["plugins"]
    assert plugins["preinstall_disabled"] is True
    used = {source["type"] for source in found["datasources"]["datasources.yaml"]["datasources"]}
    assert not used & set(plugins["disable_plugins"].split(","))
    assert "plugins" not in found


def test_it_is_published_at_one_host_which_hides_its_metrics(recorded: Recorder):
    declare(recorded)
    route = recorded.one(ROUTE)
    assert route.inputs["spec"]["hosts"] == ["grafana.llm.internal"]
    policy = recorded.one(POLICY).inputs["spec"]
    assert policy["action"] == "DENY"
    (operation,) = [rule["to"][0]["operation"] for rule in policy["rules"]]
    assert operation["hosts"] == ["grafana.llm.internal", "grafana.llm.internal:*"]
    assert "/metrics" in operation["paths"]
    assert "grafana-metrics-hidden" in route.depends_on
    settings = PlatformSettings()
    assert own_sign_in(settings) == ("grafana.llm.internal",)
    assert chosen(recorded)["grafana.ini"]["server"]["root_url"] == "https://grafana.llm.internal"


@pytest.mark.parametrize("settings", [{"grafana": {"host": ""}}, {"gateway": {"enabled": False}}])
def test_without_a_host_or_a_gateway_it_is_reached_by_port_forward_only(recorded: Recorder, settings: dict[str, Any]):
    declare(recorded, settings)
    assert not recorded.of(ROUTE)
    assert own_sign_in(PlatformSettings.model_validate(settings)) == ()
    ways = recorded.run(lambda: openings(site(settings)))
    assert not [way for way in ways if isinstance(way.source, Pods) and way.source.namespace == "istio-ingress"]
    # A browser sends no cookie that must be secure to http://localhost.
    assert chosen(recorded, settings)["grafana.ini"]["security"]["cookie_secure"] is False


def test_the_internet_is_open_to_it_only_for_a_sign_in(recorded: Recorder):
    def to_the_internet(settings: dict[str, Any]) -> list[Opening]:
        return [way for way in recorded.run(lambda: openings(site(settings))) if way.target == "internet"]

    assert to_the_internet({}) == []
    assert [way.source for way in to_the_internet({"grafana": {"sso": SSO}})] == [PODS]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"sso": SSO, "host": ""}, "sso needs a host"),
        ({"localAdmin": False}, "nobody can sign in"),
        ({"nodePrices": {"g5.xlarge": -1}}, "greater than or equal to 0"),
    ],
)
def test_settings_with_which_nobody_could_sign_in_are_refused(section: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        GrafanaSettings.model_validate(section)


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"metrics": {"enabled": False}}, "platform.grafana.enabled"),
        ({"secrets": {"enabled": False}}, "platform.grafana.enabled"),
        ({"grafana": {"host": "grafana.elsewhere.example"}}, "platform.grafana.host"),
        ({"grafana": {"sso": SSO}, "gateway": {"enabled": False}}, "platform.grafana.sso"),
    ],
)
def test_what_it_lacks_is_said_at_preview(settings: dict[str, Any], path: str):
    assert path in [found for found, _ in rules.grafana(PlatformSettings.model_validate(settings))]


def test_nothing_is_lacking_by_default_nor_where_it_is_off():
    assert not list(rules.grafana(PlatformSettings()))
    off = {"grafana": {"enabled": False}, "metrics": {"enabled": False}, "secrets": {"enabled": False}}
    assert not list(rules.grafana(PlatformSettings.model_validate(off)))


class Folders:
    """A server with the two calls of Grafana's that the job makes."""

    def __init__(self, *, missing_for: int = 0, password: str = "right") -> None:
        self.permissions: dict[str, Any] = {}
        self.asked = 0
        folders = self
        expected = "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                folders.asked += 1
                status = 200
                if self.headers.get("Authorization") != expected:
                    status = 401
                elif self.command == "GET" and folders.asked <= missing_for:
                    status = 404
                elif self.command == "POST":
                    folders.permissions[self.path] = json.loads(body)
                self.send_response(status)
                self.end_headers()

            do_GET = do_POST = answer  # noqa: N815 the base class's names

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@contextmanager
def serving(folders: Folders) -> Iterator[str]:
    thread = threading.Thread(target=folders.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{folders.server.server_port}"
    finally:
        folders.server.shutdown()
        folders.server.server_close()


def run_job(
    recorded: Recorder, folders: Folders, settings: dict[str, Any], **more: str
) -> subprocess.CompletedProcess[str]:
    declare(recorded, settings)
    (container,) = recorded.one(JOB, "grafana-permissions").inputs["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["/bin/sh", "-c", SCRIPT]
    plain = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    assert {one["name"] for one in container["env"]} - set(plain) == {"ADMIN", "PASSWORD"}
    with serving(folders) as url:
        given = {**plain, "GRAFANA": url, "ADMIN": "admin", "PASSWORD": "right", "PAUSE": "0", **more}
        return subprocess.run(
            ["/bin/sh", "-c", SCRIPT],
            check=False,
            env={"PATH": os.environ["PATH"], **given},
            capture_output=True,
            text=True,
            timeout=60,
        )


def test_the_job_lets_every_folder_be_read_and_money_by_those_who_may(recorded: Recorder):
    folders = Folders(missing_for=2)
    done = run_job(recorded, folders, {"grafana": {"moneyReaders": "Editor"}})
    assert done.returncode == 0, done.stdout + done.stderr
    everybody = [{"role": "Viewer", "permission": 1}, {"role": "Editor", "permission": 1}]
    assert folders.permissions == {
        "/api/folders/models/permissions": {"items": everybody},
        "/api/folders/platform/permissions": {"items": everybody},
        "/api/folders/training/permissions": {"items": everybody},
        "/api/folders/money/permissions": {"items": [{"role": "Editor", "permission": 1}]},
    }


def test_the_job_says_what_to_do_when_the_administrators_password_was_changed(recorded: Recorder):
    done = run_job(recorded, Folders(password="another"), {}, TRIES="2")
    assert done.returncode != 0
    assert "grafana-admin" in done.stdout
    assert "right" not in done.stdout + done.stderr


def test_another_wish_makes_another_job(recorded: Recorder):
    declare(recorded, {"grafana": {"moneyReaders": "Admin"}})
    job = recorded.one(JOB, "grafana-permissions")
    assert "name" not in job.inputs["metadata"]
    (container,) = job.inputs["spec"]["template"]["spec"]["containers"]
    assert "money=Admin" in next(one["value"] for one in container["env"] if one["name"] == "FOLDERS")


def test_the_job_may_reach_grafana(recorded: Recorder):
    declare(recorded)
    labels = recorded.one(JOB, "grafana-permissions").inputs["spec"]["template"]["metadata"]["labels"]
    ways = recorded.run(lambda: openings(site()))
    assert any(way.source == Pods(namespace="monitoring", labels=labels) and way.target == PODS for way in ways)


def test_it_goes_away_whole(recorded: Recorder):
    settings = {"grafana": {"enabled": False}}
    assert chosen(recorded, settings) == {"enabled": False}
    assert recorded.run(lambda: openings(site(settings))) == ()
    assert secret_entries(PlatformSettings.model_validate(settings)) == ()
