"""Who is told of an alert, and that no credential is in what is told to Alertmanager."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from components.platform.observability import alertmanager
from components.platform.observability.alertmanager import configuration, credentials, openings, unheard
from components.platform.observability.rules import SiteFacts, groups
from components.settings.platform import PlatformSettings, rules
from components.settings.platform.alerting import AlertingSettings

pytestmark = pytest.mark.unit

RECEIVERS: dict[str, Any] = {
    "chat": {"slack": {"channel": "#ml-alerts"}},
    "oncall": {"pagerduty": {}},
    "mail": {"email": {"to": ["ml@example.com"], "sender": "alerts@example.com", "server": "smtp.example.com"}},
    "hook": {"webhook": {}},
}


def settings(**given: Any) -> AlertingSettings:
    return AlertingSettings.model_validate({"receivers": RECEIVERS, **given})


def told(configured: AlertingSettings, **labels: str) -> str:
    """The receiver of an alert; every matcher that is written here is an equation."""
    route = configuration(configured)["route"]
    for one in route["routes"]:
        if all(labels.get(name) == value for name, value in equations(one)):
            return one["receiver"]
    return route["receiver"]


def equations(route: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for matcher in route["matchers"]:
        name, value = matcher.split("=", 1)
        yield name, json.loads(value)


def receiver(configured: AlertingSettings, name: str) -> dict[str, Any]:
    (found,) = (one for one in configuration(configured)["receivers"] if one["name"] == name)
    return found


def ways(found: Mapping[str, Any]) -> set[str]:
    return {key for key in found if key.endswith("_configs")}


def test_without_receivers_nobody_is_told_and_that_is_known():
    silent = AlertingSettings()
    assert told(silent, severity="critical", alertname="ModelErrors") == alertmanager.NOBODY
    assert unheard(silent) == ("critical", "warning", "info")


def test_a_severity_goes_to_all_who_are_named_for_it():
    configured = settings(routes={"critical": ["oncall", "chat"], "warning": ["chat"]})
    everybody = receiver(configured, told(configured, severity="critical"))
    assert ways(everybody) == {"pagerduty_configs", "slack_configs"}
    assert ways(receiver(configured, told(configured, severity="warning"))) == {"slack_configs"}
    assert told(configured, severity="info") == alertmanager.NOBODY
    assert unheard(configured) == ("info",)


@pytest.mark.parametrize("label", ["team", "owner"])
def test_a_team_is_told_of_what_it_owns_and_the_platform_of_what_the_team_names_nobody_for(label: str):
    configured = settings(
        routes={"critical": ["oncall"], "warning": ["chat"]}, teamRoutes={"nlp": {"critical": ["hook"]}}
    )
    of_team = {label: "nlp"}
    assert told(configured, severity="critical", **of_team) == "hook"
    assert told(configured, severity="warning", **of_team) == "chat"
    assert told(configured, severity="critical", **{label: "search"}) == "oncall"


def test_the_watchdog_wakes_nobody_and_goes_to_the_switch_where_there_is_one():
    quiet = settings(routes={"critical": ["oncall"]})
    assert told(quiet, alertname="Watchdog", severity="critical") == alertmanager.NOBODY

    watched = settings(routes={"critical": ["oncall"]}, deadMansSwitch="hook", heartbeatMinutes=2)
    name = told(watched, alertname="Watchdog", severity="critical")
    (way,) = receiver(watched, name)["webhook_configs"]
    assert way["send_resolved"] is False, "that it is over would be told when nobody can tell anything"
    (route,) = (one for one in configuration(watched)["route"]["routes"] if one["receiver"] == name)
    # A message is sent again when the group is looked at and the repetition is over: both must be that short.
    assert route["group_interval"] == route["repeat_interval"] == "2m"


def test_every_receiver_reads_its_credential_from_the_file_that_is_mounted_for_it():
    mail = {**RECEIVERS["mail"]["email"], "username": "alerts"}
    configured = AlertingSettings.model_validate(
        {
            "receivers": {**RECEIVERS, "mail": {"email": mail}},
            "routes": {"critical": sorted(RECEIVERS)},
        }
    )
    everybody = receiver(configured, told(configured, severity="critical"))
    files = {
        value
        for key in ways(everybody)
        for one in everybody[key]
        for field, value in one.items()
        if field.endswith("_file")
    }
    assert files == {f"{alertmanager.CREDENTIALS}/{name}/{key}" for name, key in credentials(configured).items()}
    assert credentials(configured).keys() == RECEIVERS.keys()
    assert {entry.removeprefix("alerting-") for entry in configured.supplied} == RECEIVERS.keys()


def test_mail_without_a_user_name_needs_no_credential():
    assert "mail" not in credentials(settings())


def test_only_what_receivers_need_is_open_to_the_internet():
    def outside(configured: AlertingSettings) -> set[int]:
        return {port for way in openings(configured) if way.target == "internet" for port in way.ports}

    assert outside(AlertingSettings()) == set()
    assert outside(AlertingSettings.model_validate({"receivers": {"mail": RECEIVERS["mail"]}})) == {587}
    assert outside(settings()) == {443, 587}


def test_replicas_reach_each_other_by_every_protocol():
    """Gossip is by UDP, and a way with ports would be for TCP alone."""
    (own,) = (way for way in openings(AlertingSettings()) if way.source == way.target)
    assert own.ports == ()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"routes": {"critical": ["nobody"]}}, "routes.critical names nobody"),
        ({"teamRoutes": {"nlp": {"info": ["nobody"]}}}, "teamRoutes.nlp.info names nobody"),
        ({"deadMansSwitch": "nobody"}, "deadMansSwitch names nobody"),
        ({"receivers": {"two": {"webhook": {}, "pagerduty": {}}}}, "got pagerduty, webhook"),
        ({"receivers": {"none": {}}}, "got none"),
    ],
)
def test_settings_that_would_tell_nobody_are_refused(given: dict[str, Any], said: str):
    with pytest.raises(ValidationError, match=said):
        settings(**given)


def test_an_inhibition_never_silences_what_is_about_something_else():
    """Labels that both lack count as equal: a rule compares everything that tells two alerts apart, or names one."""
    for rule in configuration(settings())["inhibit_rules"]:
        by_name = any("alertname" in matcher for matcher in rule["source_matchers"])
        assert by_name or {"alertname", "namespace", "model", "team"} <= set(rule["equal"])


def test_alerts_that_are_treated_by_name_exist():
    known = {alert.name: alert for group in groups(SiteFacts(settings=PlatformSettings())) for alert in group.alerts}
    assert alertmanager.WATCHDOG in known
    # The rule that silences by node would silence everything without a node if its source had none either.
    assert "by (node)" in known[alertmanager.NODE_GONE].expression


LACKING: list[tuple[dict[str, Any], str]] = [
    ({"alerting": {"teamRoutes": {"nlp": {}}}}, "platform.alerting.teamRoutes.nlp"),
    ({"alerting": {"receivers": RECEIVERS}, "metrics": {"enabled": False}}, "platform.alerting.receivers"),
    ({"alerting": {"receivers": RECEIVERS}, "secrets": {"enabled": False}}, "platform.alerting.receivers"),
    ({"alerting": {"receivers": {"mail": RECEIVERS["mail"]}}, "secrets": {"enabled": False}}, ""),
    ({"alerting": {"receivers": RECEIVERS, "teamRoutes": {"search": {}}}}, ""),
]


@pytest.mark.parametrize(("platform", "path"), LACKING)
def test_what_alerting_lacks_is_said_at_preview(platform: dict[str, Any], path: str):
    found = [where for where, _ in rules.alerting(PlatformSettings.model_validate(platform), ["search"])]
    assert found == ([path] if path else [])
