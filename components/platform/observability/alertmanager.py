"""Alertmanager: which alert reaches whom, and what is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, get_args

from components.platform.openings import SCRAPER, Opening, Pods
from components.settings.platform.alerting import (
    ENTRY_PREFIX,
    AlertingSettings,
    EmailSettings,
    PagerDutySettings,
    ReceiverSettings,
    Severity,
    SlackSettings,
    WebhookSettings,
)

PODS: Final = Pods(namespace="monitoring", labels={"app.kubernetes.io/name": "alertmanager"})
PORT: Final = 9093
NOBODY: Final = "nobody"
"""Receiver that tells nobody."""

WATCHDOG: Final = "Watchdog"
"""Alert that fires all the time: where it stops to arrive, no other would arrive either."""

NODE_GONE: Final = "NodeNotReady"
"""Alert of a node whose kubelet does not answer; it has the label ``node``."""

PIPELINE: Final = "PipelineFailed"
"""Alert of a workflow that failed; it knows the namespace only."""

DATA_RUNS: Final = ("DatasetFailed", "RetrievalIngestionFailed")
"""Alerts of runs that are workflows too, and say more. Both sides last an hour: what else failed is told after that."""

CREDENTIALS: Final = "/etc/alertmanager/credentials"
"""Folder of the receivers' credentials: ``<receiver>/<property>``."""

_SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)
_TEMPLATES: Final = "/etc/alertmanager/config/*.tmpl"
_GROUP_BY: Final = ["alertname", "namespace", "model", "team"]
# Labels of an alert that name its team: an alert on a team's model or budget has the one, what a team's own rules raise
# the other.
_TEAM_LABELS: Final = ("team", "owner")


def openings(settings: AlertingSettings) -> Iterator[Opening]:
    """What Alertmanager reaches, and who reaches it."""
    yield Opening(source=SCRAPER, target=PODS, ports=(PORT,), why="Alerts that fire.")
    yield Opening(source=PODS, target=PODS, ports=(), why="Replicas agree on what was told, by TCP and by UDP.")
    receivers = settings.receivers.values()
    if any(one.email is None for one in receivers):
        yield Opening(source=PODS, target="internet", ports=(443,), why="Receivers of alerts.")
    if mail := sorted({one.email.port for one in receivers if one.email}):
        yield Opening(source=PODS, target="internet", ports=tuple(mail), why="Alerts by mail.")


def unheard(settings: AlertingSettings) -> tuple[Severity, ...]:
    """Severities of which nobody is told."""
    return tuple(severity for severity in _SEVERITIES if not settings.routes.of(severity))


def secret_name(receiver: str) -> str:
    """Name of the Secret with a receiver's credential."""
    return f"{ENTRY_PREFIX}{receiver}"


def credentials(settings: AlertingSettings) -> Mapping[str, str]:
    """For each receiver that has one, the property of its credential, which is its key in the Secret too."""
    return {name: one.credential for name, one in settings.receivers.items() if one.credential}


def configuration(settings: AlertingSettings) -> dict[str, Any]:
    """The configuration. It names files with credentials, and holds none."""
    heartbeat = settings.dead_mans_switch
    return {
        "global": {"resolve_timeout": "5m"},
        "templates": [_TEMPLATES],
        "route": {
            "receiver": NOBODY,
            "group_by": _GROUP_BY,
            "group_wait": f"{settings.group_wait_seconds}s",
            "group_interval": f"{settings.group_minutes}m",
            "repeat_interval": f"{settings.repeat_hours}h",
            "routes": [_watchdog(settings), *_team_routes(settings), *_severity_routes(settings)],
        },
        "inhibit_rules": list(_INHIBITIONS),
        "receivers": [
            {"name": NOBODY},
            *([_receiver("dead-mans-switch", [heartbeat], settings, resolved=False)] if heartbeat else []),
            *(_receiver(_title(names), names, settings) for names in _combinations(settings)),
        ],
    }


def _watchdog(settings: AlertingSettings) -> dict[str, Any]:
    route: dict[str, Any] = {"matchers": [f'alertname="{WATCHDOG}"'], "receiver": NOBODY}
    if settings.dead_mans_switch:
        every = f"{settings.heartbeat_minutes}m"
        # An interval as long as the repetition: a group is looked at, and told, once in that time.
        route |= {
            "receiver": "dead-mans-switch",
            "group_wait": "0s",
            "group_interval": every,
            "repeat_interval": every,
        }
    return route


def _team_routes(settings: AlertingSettings) -> Iterator[dict[str, Any]]:
    """Alerts of a team; a severity for which it names nobody falls through to the platform's."""
    for team, routes in sorted(settings.team_routes.items()):
        for severity in _SEVERITIES:
            if names := routes.of(severity):
                for label in _TEAM_LABELS:
                    yield {
                        "matchers": [f'{label}="{team}"', f'severity="{severity}"'],
                        "receiver": _title(names),
                    }


def _severity_routes(settings: AlertingSettings) -> Iterator[dict[str, Any]]:
    for severity in _SEVERITIES:
        if names := settings.routes.of(severity):
            yield {"matchers": [f'severity="{severity}"'], "receiver": _title(names)}


def _combinations(settings: AlertingSettings) -> list[tuple[str, ...]]:
    """Sets of receivers that are told together: a route has one receiver, which may have several ways."""
    named = [
        routes.of(severity) for routes in (settings.routes, *settings.team_routes.values()) for severity in _SEVERITIES
    ]
    return sorted({tuple(sorted(set(names))) for names in named if names})


def _title(names: Sequence[str]) -> str:
    return "+".join(sorted(set(names)))


def _receiver(title: str, names: Sequence[str], settings: AlertingSettings, *, resolved: bool = True) -> dict[str, Any]:
    made: dict[str, Any] = {"name": title}
    for name in sorted(set(names)):
        one = settings.receivers[name]
        key, ways = _ways(name, one, told_when_over=one.resolved and resolved)
        made.setdefault(key, []).append(ways)
    return made


def _ways(name: str, receiver: ReceiverSettings, *, told_when_over: bool) -> tuple[str, dict[str, Any]]:
    """Key and entry of a receiver in Alertmanager's configuration."""
    common: dict[str, Any] = {"send_resolved": told_when_over}
    file = f"{CREDENTIALS}/{name}/{receiver.credential}"
    match receiver:
        case ReceiverSettings(slack=SlackSettings() as slack):
            return "slack_configs", {**common, **_slack(slack), "api_url_file": file}
        case ReceiverSettings(pagerduty=PagerDutySettings() as pagerduty):
            return "pagerduty_configs", {**common, **_pagerduty(pagerduty), "routing_key_file": file}
        case ReceiverSettings(email=EmailSettings() as email):
            password = {"auth_username": email.username, "auth_password_file": file} if email.username else {}
            return "email_configs", {**common, **_email(email), **password}
        case ReceiverSettings(webhook=WebhookSettings() as webhook):
            return "webhook_configs", {**common, "url_file": file, "max_alerts": webhook.max_alerts}
        case _:  # the settings refuse a receiver without any
            raise ValueError(f"receiver {name} is of no kind")


def _slack(slack: SlackSettings) -> dict[str, Any]:
    return {
        "channel": slack.channel,
        "color": '{{ if ne .Status "firing" }}good{{ else if eq .CommonLabels.severity "critical" }}danger'
        "{{ else }}warning{{ end }}",
        "title": '{{ template "llmops.title" . }}',
        "title_link": "{{ .CommonAnnotations.runbook_url }}",
        "text": '{{ template "llmops.text" . }}',
        "fallback": '{{ template "llmops.title" . }}',
    }


def _pagerduty(pagerduty: PagerDutySettings) -> dict[str, Any]:
    return {
        "url": pagerduty.url,
        "description": '{{ template "llmops.title" . }}',
        "severity": '{{ if eq .CommonLabels.severity "critical" }}critical'
        '{{ else if eq .CommonLabels.severity "warning" }}warning{{ else }}info{{ end }}',
        "details": {
            "firing": '{{ template "llmops.text" . }}',
            "runbook": "{{ .CommonAnnotations.runbook_url }}",
            "dashboard": "{{ .CommonAnnotations.dashboard_url }}",
        },
    }


def _email(email: EmailSettings) -> dict[str, Any]:
    return {
        "to": ", ".join(email.to),
        "from": email.sender,
        "smarthost": f"{email.server}:{email.port}",
        "require_tls": email.port != _IMPLICIT_TLS,  # there TLS is spoken from the start, and not asked for
        "headers": {"Subject": '{{ template "llmops.title" . }}'},
        "html": "",
        "text": '{{ template "llmops.text" . }}',
    }


_IMPLICIT_TLS: Final = 465

# A label that both lack counts as equal: each rule names one that its source is known to have.
_INHIBITIONS: Final[tuple[Mapping[str, Any], ...]] = (
    # The same, less bad.
    {
        "source_matchers": ['severity="critical"'],
        "target_matchers": ['severity=~"warning|info"'],
        "equal": ["alertname", "namespace", "model", "team", "node", "pod"],
    },
    {
        "source_matchers": ['severity="warning"'],
        "target_matchers": ['severity="info"'],
        "equal": ["alertname", "namespace", "model", "team", "node", "pod"],
    },
    # Of a node that is gone, that its agents are gone too.
    {
        "source_matchers": [f'alertname="{NODE_GONE}"'],
        "target_matchers": [f'alertname!="{NODE_GONE}"'],
        "equal": ["node"],
    },
    # Of a run that failed, that a workflow of its namespace failed too.
    {
        "source_matchers": [f'alertname=~"{"|".join(DATA_RUNS)}"'],
        "target_matchers": [f'alertname="{PIPELINE}"'],
        "equal": ["namespace"],
    },
)

TEMPLATES: Final[Mapping[str, str]] = {
    "llmops.tmpl": """\
{{ define "llmops.title" -}}
[{{ .CommonLabels.severity | toUpper }}{{ if ne .Status "firing" }}, OVER{{ end }}] {{ .GroupLabels.alertname }}
{{- with .CommonLabels.model }}, model {{ . }}{{ end }}
{{- with .CommonLabels.namespace }}, {{ . }}{{ end }}
{{- if gt (len .Alerts.Firing) 1 }} ({{ len .Alerts.Firing }}){{ end }} on {{ .CommonLabels.stack }}
{{- end }}
{{ define "llmops.text" -}}
{{ range .Alerts }}{{ if ne .Status "firing" }}Over: {{ end }}{{ .Annotations.summary }}
{{ with .Annotations.description }}{{ . }}
{{ end }}{{ with .Annotations.runbook_url }}Runbook: {{ . }}
{{ end }}{{ with .Annotations.dashboard_url }}Dashboard: {{ . }}
{{ end }}
{{ end }}
{{- end }}
"""
}
"""What is told: one line, and for each alert what it says and where to read on."""
