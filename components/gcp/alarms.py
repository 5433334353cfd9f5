"""Alarms: one notification channel for each person, plus short ways to put an alert policy on a metric or a log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pulumi
from pulumi_gcp import monitoring


@dataclass(frozen=True, kw_only=True)
class AlarmsArgs:
    """What the channels need.

    Attributes:
        prefix: ``<project>-<stack>``; part of the channels' names.
        emails: Who is told.
    """

    prefix: str
    emails: Sequence[str]


class Alarms(pulumi.ComponentResource):
    """Where alarms of the database and the cache, and the budget, report."""

    channels: tuple[pulumi.Output[str], ...]

    def __init__(self, name: str, args: AlarmsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:gcp:Alarms", name, None, opts)
        self.channels = tuple(
            monitoring.NotificationChannel(
                f"{name}-{email}",
                display_name=f"{args.prefix}: {email}",
                type="email",
                labels={"email_address": email},
                opts=pulumi.ResourceOptions(parent=self),
            ).name
            for email in args.emails
        )
        self.register_outputs({"channels": list(self.channels)})


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """When a metric is worth a message.

    Attributes:
        description: What is wrong and what to do; it is the text of the message.
        metric: Such as ``cloudsql.googleapis.com/database/cpu/utilization``.
        resource: Monitored resource that has it, such as ``cloudsql_database``.
        above: Alarm when it is greater than this.
        aligner: How the samples of one period become one number.
        period_seconds: Length of one period.
        duration_seconds: For how long it must hold; a multiple of 60.
    """

    description: str
    metric: str
    resource: str
    above: float
    aligner: Literal["ALIGN_MEAN", "ALIGN_MAX"] = "ALIGN_MEAN"
    period_seconds: int = 300
    duration_seconds: int = 900


def metric_alarm(
    name: str,
    alarm: Alarm,
    *,
    display_name: str,
    labels: Mapping[str, pulumi.Input[str]],
    channels: Sequence[pulumi.Input[str]],
    opts: pulumi.ResourceOptions,
) -> monitoring.AlertPolicy:
    """Put ``alarm`` on the metric of the one resource that ``labels`` tell; the channels hear when it is over too."""
    selectors = [pulumi.Output.concat(f' AND resource.labels.{key} = "', value, '"') for key, value in labels.items()]
    return monitoring.AlertPolicy(
        name,
        display_name=display_name,
        combiner="OR",
        conditions=[
            {
                "display_name": display_name,
                "condition_threshold": {
                    "filter": pulumi.Output.concat(
                        f'metric.type = "{alarm.metric}" AND resource.type = "{alarm.resource}"', *selectors
                    ),
                    "comparison": "COMPARISON_GT",
                    "threshold_value": alarm.above,
                    "duration": f"{alarm.duration_seconds}s",
                    "aggregations": [
                        {"alignment_period": f"{alarm.period_seconds}s", "per_series_aligner": alarm.aligner}
                    ],
                },
            }
        ],
        documentation={"content": alarm.description, "mime_type": "text/markdown"},
        notification_channels=list(channels),
        opts=opts,
    )


def log_alarm(
    name: str,
    *,
    display_name: str,
    description: str,
    filter: pulumi.Input[str],
    channels: Sequence[pulumi.Input[str]],
    opts: pulumi.ResourceOptions,
) -> monitoring.AlertPolicy:
    """Tell the channels when a log has an entry that ``filter`` finds, once an hour at most."""
    return monitoring.AlertPolicy(
        name,
        display_name=display_name,
        combiner="OR",
        conditions=[{"display_name": display_name, "condition_matched_log": {"filter": filter}}],
        # An alert on a log must have a limit, and closes by itself: nothing says that it is over.
        alert_strategy={"notification_rate_limit": {"period": "3600s"}, "auto_close": "86400s"},
        documentation={"content": description, "mime_type": "text/markdown"},
        notification_channels=list(channels),
        opts=opts,
    )
