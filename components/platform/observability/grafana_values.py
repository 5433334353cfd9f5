"""Values of the Grafana chart: configuration, data sources, where dashboards lie, who signs in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from components.platform.databases import CA_KEY
from components.platform.observability.dashboards import folders_of
from components.platform.observability.dashboards.model import DATA_SOURCES, FOLDERS
from components.platform.observability.logs import LOKI_URL
from components.platform.observability.metrics import ALERTMANAGER_URL
from components.platform.observability.traces import TEMPO_URL
from components.platform.openings import Namespace, Pods
from components.platform.placement import ON_DIFFERENT_NODES, selecting
from components.platform.site import Site
from components.settings.platform import PlatformSettings
from components.settings.platform.grafana import GrafanaSsoSettings
from components.settings.platform.metrics import PROMETHEUS_URL

NAMESPACE: Final[Namespace] = "monitoring"
NAME: Final = "grafana"
"""Of the Deployment, the Service and the database."""

PORT: Final = 3000
SERVICE_PORT: Final = 80
PODS: Final = Pods(namespace=NAMESPACE, labels={"app.kubernetes.io/name": NAME})

SECRET: Final = "grafana"
DATABASE_SECRET: Final = "grafana-database"
CA_SECRET: Final = f"{DATABASE_SECRET}-ca"

CONNECTIONS: Final = 40
"""Connections to the database at most: two replicas, each with a pool for its tables and one for its resource API."""

_POOL: Final = 8
TRACE_ID: Final = r'"(?:trace_?id|traceID)"\s*:\s*"([0-9a-f]{32})"'
"""Where a JSON line of a log names its trace."""

_CA_FOLDER: Final = "/etc/grafana-database-ca"
_DASHBOARDS_FOLDER: Final = "/etc/grafana-dashboards"

# Data sources that come with the image as plugins of their own, each a process that would run all the time.
_UNUSED_PLUGINS: Final = (
    "elasticsearch",
    "grafana-postgresql-datasource",
    "grafana-pyroscope-datasource",
    "influxdb",
    "jaeger",
    "mssql",
    "mysql",
    "opentsdb",
    "stackdriver",
    "zipkin",
)


def published_at(settings: PlatformSettings) -> str:
    """Host at the gateway; empty where there is none."""
    if not (settings.grafana.enabled and settings.gateway.enabled):
        return ""
    return settings.grafana.published_at(settings.gateway.domain)


def root_url(settings: PlatformSettings) -> str:
    """Where people reach it; through a port-forward where it is not published."""
    host = published_at(settings)
    return f"https://{host}" if host else f"http://localhost:{PORT}"


def config_map_of(board: str) -> str:
    """Name of the ConfigMap with a dashboard, and of the volume with it."""
    return f"dashboard-{board}"


def values(site: Site) -> dict[str, Any]:
    """Values for the subchart ``grafana`` of kube-prometheus-stack."""
    if not site.settings.grafana.enabled:
        return {"enabled": False}
    dashboards = folders_of(site)
    several = site.highly_available
    return {
        "fullnameOverride": NAME,
        "replicas": site.replicas,
        # One goes before its successor comes: the namespace's share holds no third.
        "deploymentStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        **({"podDisruptionBudget": {"maxUnavailable": 1}} if several else {}),
        "topologySpreadConstraints": [selecting(ON_DIFFERENT_NODES, PODS.labels)] if several else [],
        "nodeSelector": site.system_nodes,
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "768Mi"}},
        "containerSecurityContext": {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "startupProbe": {
            # The first start makes the tables.
            "httpGet": {"path": "/api/health", "port": NAME},
            "periodSeconds": 5,
            "failureThreshold": 60,
        },
        # Nothing in it speaks to the API server: dashboards and data sources are mounted. The chart's sidecars would be
        # allowed to read every ConfigMap and every Secret of the cluster.
        "rbac": {"create": False},
        "serviceAccount": {"autoMount": False},
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "sidecar": {"dashboards": {"enabled": False}, "datasources": {"enabled": False}},
        "defaultDashboardsEnabled": False,
        "testFramework": {"enabled": False},
        "serviceMonitor": {"enabled": False},
        "service": {"port": SERVICE_PORT, "targetPort": PORT},
        "admin": {"existingSecret": SECRET, "userKey": "admin-user", "passwordKey": "admin-password"},
        "grafana.ini": configuration(site),
        "env": _environment(site),
        "envValueFrom": _from_secrets(site),
        "datasources": {"datasources.yaml": {"apiVersion": 1, "prune": True, "datasources": data_sources(site)}},
        "dashboardProviders": {"dashboards.yaml": {"apiVersion": 1, "providers": _providers(dashboards)}},
        "extraConfigmapMounts": _mounts(dashboards),
        "extraSecretMounts": [
            {
                "name": "database-ca",
                "secretName": CA_SECRET,
                "defaultMode": 0o440,
                "mountPath": _CA_FOLDER,
                "readOnly": True,
            }
        ],
        "extraEmptyDirMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }


def configuration(site: Site) -> dict[str, Any]:
    """``grafana.ini``; credentials come by the environment."""
    settings = site.settings.grafana
    found: dict[str, Any] = {
        "server": {"domain": published_at(site.settings) or "localhost", "root_url": root_url(site.settings)},
        "log.console": {"format": "json"},
        "database": {
            "type": "postgres",
            "name": NAME,
            "ssl_mode": "verify-full",
            "ca_cert_path": f"{_CA_FOLDER}/{CA_KEY}",
            "max_open_conn": _POOL,
            "conn_max_lifetime": 1800,  # s; connections do not outlive a failover for long
        },
        "security": {
            "cookie_secure": bool(published_at(site.settings)),
            "disable_gravatar": True,
            "content_security_policy": True,
        },
        "auth": {"disable_login_form": not settings.local_admin},
        # Rules are Prometheus's: what is defined here would reach nobody. The pages with alerts and silences stay.
        "unified_alerting": {"execute_alerts": False},
        # Pushed updates need a Redis where there are replicas, and nothing here pushes.
        "live": {"max_connections": 0},
        "users": {"default_theme": "system"},
        "dashboards": {"default_home_dashboard_path": f"{_path('platform', 'platform')}/platform.json"},
        # Nothing is told to Grafana's makers, asked of them or fetched from them. Without `preinstall_disabled` it
        # replaces the data sources that lie in the image by what it finds on the internet, which fails where the file
        # system is read-only, and the data source is gone (grafana/grafana issues 131490 and 130921).
        "analytics": {
            "reporting_enabled": False,
            "check_for_updates": False,
            "check_for_plugin_updates": False,
            "feedback_links_enabled": False,
        },
        "news": {"news_feed_enabled": False},
        "snapshots": {"external_enabled": False},
        "plugins": {
            "preinstall_disabled": True,
            "plugin_admin_enabled": False,
            "public_key_retrieval_disabled": True,
            "disable_plugins": ",".join(_UNUSED_PLUGINS),
        },
    }
    if settings.sso:
        found["auth.generic_oauth"] = _sign_in(settings.sso)
    return found


def _sign_in(sso: GrafanaSsoSettings) -> dict[str, Any]:
    return {
        "enabled": True,
        "name": sso.name,
        "client_id": sso.client_id,
        "scopes": " ".join(sso.scopes),
        "auth_url": sso.auth_url,
        "token_url": sso.token_url,
        "api_url": sso.user_info_url,
        "use_pkce": True,
        "use_refresh_token": True,
        "allow_sign_up": True,  # who has no role is refused, so this admits nobody else
        "role_attribute_strict": True,
        "auto_login": False,
    }


def role_expression(site: Site, sso: GrafanaSsoSettings) -> str:
    """JMESPath from a person's claims to a role; nothing for who is in no group, and then they are refused."""
    cluster = site.foundation.cluster
    groups = {**cluster.access_groups, **sso.role_groups}
    teams = {**cluster.team_groups, **sso.team_groups}
    holders: list[tuple[str, str]] = [
        (groups["platform-admin"], "Admin"),
        (groups["ml-engineer"], "Editor"),
        (groups["viewer"], "Viewer"),
        *((teams[team.name], "Viewer") for team in site.teams),
    ]
    claim = f"{json.dumps(sso.groups_claim)}[*]"
    return " || ".join(f"contains({claim}, '{group}') && '{role}'" for group, role in holders)


def _environment(site: Site) -> dict[str, Any]:
    """What is known only when the foundation is there, or what the chart's file would quote wrongly."""
    database, sso = site.foundation.database, site.settings.grafana.sso
    address = database.host.apply(lambda host: database.port.apply(lambda port: f"{host}:{port}"))
    return {
        "GF_DATABASE_HOST": address,
        **({"GF_AUTH_GENERIC_OAUTH_ROLE_ATTRIBUTE_PATH": role_expression(site, sso)} if sso else {}),
    }


def _from_secrets(site: Site) -> dict[str, Any]:
    wanted = {
        "GF_DATABASE_USER": (DATABASE_SECRET, "username"),
        "GF_DATABASE_PASSWORD": (DATABASE_SECRET, "password"),
        "GF_SECURITY_SECRET_KEY": (SECRET, "secret-key"),
        **({"GF_AUTH_GENERIC_OAUTH_CLIENT_SECRET": (SECRET, "client-secret")} if site.settings.grafana.sso else {}),
    }
    return {
        variable: {"secretKeyRef": {"name": secret, "key": key}} for variable, (secret, key) in sorted(wanted.items())
    }


def data_sources(site: Site) -> list[dict[str, Any]]:
    """Where Grafana reads; their uids are those that dashboards name."""
    settings = site.settings
    found = [_prometheus(settings), _alertmanager()]
    if settings.logs.enabled:
        found.append(_loki(settings))
    if settings.traces.enabled:
        found.append(_tempo(settings))
    return found


def _to_trace() -> dict[str, str]:
    return {"datasourceUid": DATA_SOURCES["traces"], "urlDisplayLabel": "Trace"}


def _prometheus(settings: PlatformSettings) -> dict[str, Any]:
    traces = {"exemplarTraceIdDestinations": [{"name": "trace_id", **_to_trace()}]} if settings.traces.enabled else {}
    return {
        **_source("metrics", "Prometheus", "prometheus", PROMETHEUS_URL),
        "isDefault": True,
        "jsonData": {
            "timeInterval": f"{settings.metrics.scrape_seconds}s",
            "httpMethod": "POST",
            "prometheusType": "Prometheus",
            "manageAlerts": True,  # its rules are shown
            "allowAsRecordingRulesTarget": False,
            **traces,
        },
    }


def _alertmanager() -> dict[str, Any]:
    return {
        **_source("alerts", "Alertmanager", "alertmanager", ALERTMANAGER_URL),
        "jsonData": {"implementation": "prometheus", "handleGrafanaManagedAlerts": False},
    }


def _loki(settings: PlatformSettings) -> dict[str, Any]:
    url = "$${__value.raw}"  # a single dollar would be a variable of the file
    to_trace = [
        # A field of a JSON line, and structured metadata.
        {"name": "Trace", "matcherRegex": TRACE_ID, "url": url, **_to_trace()},
        {"name": "trace_id", "matcherType": "label", "matcherRegex": "trace_id", "url": url, **_to_trace()},
    ]
    return {
        **_source("logs", "Loki", "loki", LOKI_URL),
        "jsonData": {"manageAlerts": False, "derivedFields": to_trace if settings.traces.enabled else []},
    }


def _tempo(settings: PlatformSettings) -> dict[str, Any]:
    to_logs = {
        "datasourceUid": DATA_SOURCES["logs"],
        "spanStartTimeShift": "-5m",
        "spanEndTimeShift": "5m",
        "customQuery": True,
        # Lines of the span's namespace with the trace's id in them, as text or as metadata.
        "tags": [{"key": "k8s.namespace.name", "value": "namespace"}],
        "query": '{$${__tags}} |= "$${__trace.traceId}"',
    }
    return {
        **_source("traces", "Tempo", "tempo", TEMPO_URL),
        "jsonData": {
            "nodeGraph": {"enabled": True},
            **({"tracesToLogsV2": to_logs} if settings.logs.enabled else {}),
        },
    }


def _source(role: str, name: str, kind: str, url: str) -> dict[str, Any]:
    return {
        "name": name,
        "uid": DATA_SOURCES[role],
        "type": kind,
        "access": "proxy",
        "url": url,
        "editable": False,
    }


def _path(folder: str, board: str) -> str:
    return f"{_DASHBOARDS_FOLDER}/{folder}/{board}"


def _providers(dashboards: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "name": folder,
            "folder": FOLDERS[folder],
            "folderUid": folder,
            "type": "file",
            "disableDeletion": False,
            "allowUiUpdates": False,
            "updateIntervalSeconds": 30,
            "options": {"path": f"{_DASHBOARDS_FOLDER}/{folder}"},
        }
        for folder in sorted(set(dashboards.values()))
    ]


def _mounts(dashboards: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "name": config_map_of(board),
            "configMap": config_map_of(board),
            "mountPath": _path(folder, board),
            "readOnly": True,
            "optional": True,  # Grafana starts without a dashboard; the kubelet adds it when it is there
        }
        for board, folder in sorted(dashboards.items())
    ]
