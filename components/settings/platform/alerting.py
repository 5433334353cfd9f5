"""Alerting: who is told what, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from components.settings.base import Email, Name, Section

Severity = Literal["critical", "warning", "info"]
"""``critical``: somebody must act now. ``warning``: in working hours. ``info``: read when something else is wrong."""

ENTRY_PREFIX: Final = "alerting-"
"""Beginning of the secret store's entries with receivers' credentials: ``alerting-<receiver>``."""

HttpsUrl = Annotated[str, Field(pattern=r"^https://[^\s\"]+$")]
Channel = Annotated[str, Field(pattern=r"^[#@]?[^\s#@,\"]+$")]


class SlackSettings(Section):
    """A channel of Slack, or of what takes its webhooks. The webhook's URL is property ``url`` of the entry.

    Attributes:
        channel: Such as ``#ml-alerts``; a webhook of a Slack app writes to its own channel, whatever stands here.
    """

    channel: Channel


class PagerDutySettings(Section):
    """A service of PagerDuty. The integration key (Events API v2) is property ``routingKey`` of the entry.

    Attributes:
        url: Where events go; ``https://events.eu.pagerduty.com/v2/enqueue`` for accounts in Europe.
    """

    url: HttpsUrl = "https://events.pagerduty.com/v2/enqueue"


class EmailSettings(Section):
    """Mail, by a server that takes TLS. With a user name its password is property ``password`` of the entry.

    Attributes:
        to: Addresses.
        sender: Address that it comes from.
        server: Host of the mail server, outside of the stack's network or with a public address.
        port: Its port; TLS is asked for by STARTTLS, and on 465 spoken from the start.
        username: User at the mail server; empty for none.
    """

    to: Annotated[tuple[Email, ...], Field(min_length=1)]
    sender: Email
    server: Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9.-]*$")]
    port: Annotated[int, Field(ge=1, le=65_535)] = 587
    username: str = ""


class WebhookSettings(Section):
    """Anything that takes Alertmanager's own JSON by HTTPS. Its URL is property ``url`` of the entry.

    Attributes:
        max_alerts: Alerts in one message at most; 0 for all.
    """

    max_alerts: Annotated[int, Field(ge=0)] = 0


class ReceiverSettings(Section):
    """One way to reach people; exactly one of the four.

    Its credential is in the secret store's entry ``alerting-<name>``, which the operator of the stack fills in. Until
    then nothing is sent there, and an alert of Alertmanager's own says so.

    Attributes:
        slack: A channel of Slack.
        pagerduty: A service of PagerDuty.
        email: Mail.
        webhook: Anything else.
        resolved: Tell too when it is over.
    """

    slack: SlackSettings | None = None
    pagerduty: PagerDutySettings | None = None
    email: EmailSettings | None = None
    webhook: WebhookSettings | None = None
    resolved: bool = True

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        given = [name for name in ("slack", "pagerduty", "email", "webhook") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of slack, pagerduty, email, webhook; got {', '.join(given) or 'none'}")
        return self

    @property
    def credential(self) -> str:
        """Property of the entry that holds the credential; empty where none is needed."""
        if self.pagerduty:
            return "routingKey"
        if self.email:
            return "password" if self.email.username else ""
        return "url"


class RouteSettings(Section):
    """Who is told, by severity; names of receivers.

    Attributes:
        critical: Who must act now.
        warning: Who looks in working hours.
        info: Who reads on.
    """

    critical: tuple[Name, ...] = ()
    warning: tuple[Name, ...] = ()
    info: tuple[Name, ...] = ()

    def of(self, severity: Severity) -> tuple[str, ...]:
        """Receivers of a severity."""
        found: tuple[str, ...] = getattr(self, severity)
        return found

    @property
    def named(self) -> Iterator[tuple[Severity, str]]:
        """Every receiver with the severity for which it is named."""
        for name in self.critical:
            yield "critical", name
        for name in self.warning:
            yield "warning", name
        for name in self.info:
            yield "info", name


class AlertingSettings(Section):
    """Who is told of alerts (Alertmanager).

    Attributes:
        runbook_base_url: Where people read the folder ``docs/runbooks`` of this repository, such as
            ``https://github.com/acme/platform/blob/main/docs/runbooks``; an alert links to its page there. The default
            is the folder itself.
        receivers: Ways to reach people, by name.
        routes: Who is told. Where nobody is named for a severity, nobody is told, and the preview warns.
        team_routes: By team, who is told of alerts that the team owns. A severity for which it names nobody goes where
            it would go without the team.
        dead_mans_switch: Receiver that is told all the time that alerts arrive, and raises the alarm itself when that
            stops; empty for none.
        heartbeat_minutes: How often it is told.
        group_wait_seconds: How long the first alert of a group waits for the others.
        group_minutes: How long a group waits before it tells of further alerts.
        repeat_hours: When it tells again of what still lasts.
        volume_gib: Volume of each Alertmanager; it keeps silences, and what it has told.
    """

    runbook_base_url: Annotated[str, Field(pattern=r"^(https?://\S+[^/\s]|docs/runbooks)$")] = "docs/runbooks"
    receivers: dict[Name, ReceiverSettings] = Field(default_factory=dict[str, ReceiverSettings])
    routes: RouteSettings = RouteSettings()
    team_routes: dict[Name, RouteSettings] = Field(default_factory=dict[str, RouteSettings])
    dead_mans_switch: Name | Literal[""] = ""
    heartbeat_minutes: Annotated[int, Field(ge=1, le=60)] = 5
    group_wait_seconds: Annotated[int, Field(ge=5, le=600)] = 30
    group_minutes: Annotated[int, Field(ge=1, le=60)] = 5
    repeat_hours: Annotated[int, Field(ge=1, le=168)] = 12
    volume_gib: Annotated[int, Field(ge=1, le=100)] = 1

    @model_validator(mode="after")
    def _receivers_exist(self) -> Self:
        named: list[tuple[str, str]] = [(f"routes.{severity}", name) for severity, name in self.routes.named]
        for team, routes in self.team_routes.items():
            named += [(f"teamRoutes.{team}.{severity}", name) for severity, name in routes.named]
        if self.dead_mans_switch:
            named.append(("deadMansSwitch", self.dead_mans_switch))
        unknown = [f"{where} names {name}" for where, name in named if name not in self.receivers]
        if unknown:
            there = ", ".join(sorted(self.receivers)) or "none"
            raise ValueError(f"{'; '.join(unknown)}; there are receivers {there}")
        return self

    @property
    def supplied(self) -> Mapping[str, tuple[str, ...]]:
        """Entries of the secret store that the operator fills in, with their properties."""
        return {
            f"{ENTRY_PREFIX}{name}": (receiver.credential,)
            for name, receiver in self.receivers.items()
            if receiver.credential
        }
