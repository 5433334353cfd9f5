"""Alarms: one encrypted topic for the stack, plus short ways to put an alarm on a metric or on an event's absence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pulumi
from pulumi_aws import cloudwatch, sns

from components.aws.keys import PUBLISHERS
from components.aws.policy import ANYONE, Account, Statement, render


@dataclass(frozen=True, kw_only=True)
class AlarmsArgs:
    """What the topic needs.

    Attributes:
        prefix: ``<project>-<stack>``; part of the topic's name, and of the mails' sender.
        account: Where the topic lives.
        kms_key_arn: The logs key; its policy admits the services that publish here.
        emails: Who is told; each address must confirm the subscription from the mail that AWS sends.
    """

    prefix: str
    account: Account
    kms_key_arn: pulumi.Input[str]
    emails: Sequence[str]


class Alarms(pulumi.ComponentResource):
    """The topic to which alarms, database events and the budget report."""

    topic_arn: pulumi.Output[str]

    def __init__(self, name: str, args: AlarmsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:aws:Alarms", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        topic = sns.Topic(
            f"{name}-topic",
            name=f"{args.prefix}-alarms",
            display_name=f"{args.prefix} alarms",
            kms_master_key_id=args.kms_key_arn,
            opts=child,
        )
        policy = sns.TopicPolicy(
            f"{name}-policy", arn=topic.arn, policy=render(topic_policy(topic.arn, args.account)), opts=child
        )
        for email in args.emails:
            sns.TopicSubscription(f"{name}-{email}", topic=topic.arn, protocol="email", endpoint=email, opts=child)
        # From the policy and not from the topic: who publishes must wait until it may; RDS checks at once.
        self.topic_arn = policy.arn
        self.register_outputs({"topicArn": self.topic_arn})


def topic_policy(topic_arn: pulumi.Input[str], account: Account) -> tuple[Statement, ...]:
    """Services of this account publish; nobody does without TLS."""
    return (
        Statement(
            sid="ServicesPublish",
            principal={"Service": PUBLISHERS},
            actions=("sns:Publish",),
            resources=(topic_arn,),
            conditions={"StringEquals": {"aws:SourceAccount": account.id}},
        ),
        Statement(
            sid="OnlyWithTls",
            effect="Deny",
            principal=ANYONE,
            actions=("sns:Publish",),
            resources=(topic_arn,),
            conditions={"Bool": {"aws:SecureTransport": "false"}},
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """When a metric is worth a message.

    Attributes:
        description: What is wrong and what to do; it is the text of the message.
        namespace: Such as ``AWS/RDS``.
        metric: Such as ``CPUUtilization``.
        statistic: How the samples of one period become one number.
        above: Alarm when it is greater than this; set this or ``below``.
        below: Alarm when it is less than this.
        period_seconds: Length of one period.
        periods: In how many periods in a row it must hold.
        missing_data: What no data means; ``notBreaching`` for metrics that exist only when something happens.
    """

    description: str
    namespace: str
    metric: str
    statistic: Literal["Average", "Maximum", "Minimum", "Sum"] = "Average"
    above: float | None = None
    below: float | None = None
    period_seconds: int = 300
    periods: int = 3
    missing_data: Literal["missing", "notBreaching", "breaching"] = "missing"

    def __post_init__(self) -> None:
        if (self.above is None) == (self.below is None):
            raise ValueError(f"alarm on {self.metric}: set above or below, one of them")


def metric_alarm(
    name: str,
    alarm: Alarm,
    *,
    dimensions: Mapping[str, pulumi.Input[str]],
    topic_arn: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> cloudwatch.MetricAlarm:
    """Put ``alarm`` on the metric of one resource; the topic hears when it starts and when it is over."""
    return cloudwatch.MetricAlarm(
        name,
        alarm_description=alarm.description,
        namespace=alarm.namespace,
        metric_name=alarm.metric,
        dimensions=dimensions,
        statistic=alarm.statistic,
        comparison_operator="GreaterThanThreshold" if alarm.below is None else "LessThanThreshold",
        threshold=alarm.above if alarm.below is None else alarm.below,
        period=alarm.period_seconds,
        evaluation_periods=alarm.periods,
        treat_missing_data=alarm.missing_data,
        alarm_actions=[topic_arn],
        ok_actions=[topic_arn],
        opts=opts,
    )


def absence_alarm(
    name: str,
    *,
    description: str,
    event: Mapping[str, Any],
    hours: int,
    topic_arn: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
    after: Sequence[pulumi.Resource] = (),
) -> cloudwatch.MetricAlarm:
    """Tell the topic when an event has not come for ``hours``, and when it comes again.

    AWS has no metric of a backup's age, but an event of each that is finished. A rule counts them: EventBridge keeps
    ``TriggeredRules`` for rules without a target too. No data is no event, hence an alarm.

    Args:
        name: Prefix of the resources.
        description: What is wrong and what to do; it is the text of the message.
        event: Pattern of the event, as EventBridge takes it; values may be outputs.
        hours: At most 168, the longest time that an alarm looks back (PutMetricAlarm, ``Period``).
        topic_arn: Who is told.
        opts: Options of the resources.
        after: What the first event comes from; an alarm that was there before would ring at once.
    """
    rule = cloudwatch.EventRule(
        name, description=f"Counts for an alarm: {name}", event_pattern=pulumi.Output.json_dumps(event), opts=opts
    )
    return metric_alarm(
        name,
        Alarm(
            description=description,
            namespace="AWS/Events",
            metric="TriggeredRules",
            statistic="Sum",
            below=1,
            period_seconds=3600,
            periods=hours,
            missing_data="breaching",
        ),
        dimensions={"RuleName": rule.name},
        topic_arn=topic_arn,
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=list(after))),
    )
