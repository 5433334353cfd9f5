"""The topic of a stack, and alarms that say what to do."""

from __future__ import annotations

import json

import pulumi
import pytest
from aws_stack import HERE, KEY, PREFIX, TOPIC, run, statements
from conftest import ACCOUNT, Recorder

from components.aws.alarms import Alarm, Alarms, AlarmsArgs, absence_alarm, metric_alarm
from components.aws.keys import key_policy

pytestmark = pytest.mark.unit


def alarms():
    args = AlarmsArgs(prefix=PREFIX, account=HERE, kms_key_arn=KEY, emails=["ops@example.com", "ml@example.com"])
    return Alarms("alarms", args)


def test_the_topic_is_encrypted_and_every_address_is_subscribed(recorded: Recorder):
    run(alarms)
    assert recorded.one("aws:sns/topic:Topic").inputs["kmsMasterKeyId"] == KEY
    subscriptions = recorded.of("aws:sns/topicSubscription:TopicSubscription").values()
    assert {(s.inputs["protocol"], s.inputs["endpoint"]) for s in subscriptions} == {
        ("email", "ops@example.com"),
        ("email", "ml@example.com"),
    }


def test_services_of_this_account_may_publish_and_the_key_knows_every_one_of_them(recorded: Recorder):
    """An encrypted topic drops what its publisher cannot encrypt, and nobody is told."""
    run(alarms)
    publish = statements(recorded, "aws:sns/topicPolicy:TopicPolicy")["ServicesPublish"]
    assert publish["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    key = {statement.sid: statement for statement in key_policy("logs", HERE)}["AlarmsPublish"]
    assert key.principal is not None
    assert set(publish["Principal"]["Service"]) == set(key.principal["Service"])


def test_publishing_without_tls_is_denied(recorded: Recorder):
    run(alarms)
    deny = statements(recorded, "aws:sns/topicPolicy:TopicPolicy")["OnlyWithTls"]
    assert (deny["Effect"], deny["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_who_uses_the_topic_waits_until_services_may_publish_to_it(recorded: Recorder):
    recorded.outputs["aws:sns/topicPolicy:TopicPolicy"] = {"arn": "after-the-policy"}
    run(alarms)
    assert recorded.component_outputs["alarms"]["topicArn"] == "after-the-policy"


@pytest.mark.parametrize(
    ("bound", "operator"), [({"above": 80}, "GreaterThanThreshold"), ({"below": 80}, "LessThanThreshold")]
)
def test_an_alarm_tells_when_it_starts_and_when_it_is_over(bound, operator, recorded: Recorder):
    alarm = Alarm(description="Do this.", namespace="AWS/RDS", metric="CPUUtilization", **bound)

    def program():
        parent = pulumi.ComponentResource("test:index:Parent", "parent")
        opts = pulumi.ResourceOptions(parent=parent)
        metric_alarm("cpu", alarm, dimensions={"DBInstanceIdentifier": "db"}, topic_arn=TOPIC, opts=opts)

    run(program)
    made = recorded.one("aws:cloudwatch/metricAlarm:MetricAlarm").inputs
    assert (made["comparisonOperator"], made["threshold"]) == (operator, 80)
    assert made["alarmActions"] == made["okActions"] == [TOPIC]
    assert made["alarmDescription"] == "Do this."


@pytest.mark.parametrize("bounds", [{}, {"above": 1, "below": 2}])
def test_an_alarm_has_one_bound(bounds):
    with pytest.raises(ValueError, match="set above or below, one of them"):
        Alarm(description="", namespace="AWS/RDS", metric="CPUUtilization", **bounds)


def test_an_event_that_does_not_come_is_an_alarm_and_no_data_is_no_event(recorded: Recorder):
    """It looks back in whole hours, at most 7 days, as CloudWatch takes it; and it waits for what sends the first."""

    def program():
        parent = pulumi.ComponentResource("test:index:Parent", "parent")
        opts = pulumi.ResourceOptions(parent=parent)
        absence_alarm(
            "backups",
            description="Do this.",
            event={"source": ["aws.rds"], "detail": {"SourceIdentifier": [pulumi.Output.from_input("db")]}},
            hours=26,
            topic_arn=TOPIC,
            opts=opts,
            after=[pulumi.ComponentResource("test:index:Server", "server")],
        )

    run(program)
    rule = recorded.one("aws:cloudwatch/eventRule:EventRule")
    alarm = recorded.one("aws:cloudwatch/metricAlarm:MetricAlarm").inputs
    assert json.loads(rule.inputs["eventPattern"]) == {"source": ["aws.rds"], "detail": {"SourceIdentifier": ["db"]}}
    assert (alarm["comparisonOperator"], alarm["threshold"]) == ("LessThanThreshold", 1)
    assert (alarm["treatMissingData"], alarm["statistic"]) == ("breaching", "Sum")
    assert alarm["period"] * alarm["evaluationPeriods"] == 26 * 3600 <= 7 * 86400
    assert list(alarm["dimensions"]) == ["RuleName"]
