"""The platform at a glance: what is wrong, what is nearly full, what is out of order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from components.platform.observability.dashboards.model import WIDTH, Board, Choice, Panel, Query, Row, Threshold
from components.platform.observability.dashboards.queries import or_zero, rate, sums
from components.platform.observability.rules.recorded import GATEWAY_ERRORS
from components.platform.site import Site

_DAY = 24 * 3600
_IDLE = 'node_cpu_seconds_total{mode="idle"}'
_CONTAINERS = '{namespace=~"$namespace",container!=""}'


def board(site: Site) -> Board:
    """The dashboard."""
    return Board(
        name="platform",
        title="Platform overview",
        description="What is wrong now, what is nearly full, and whether delivery, credentials and backups are in "
        "order. Start here.",
        folder="platform",
        tags=["platform"],
        choices=[
            Choice(name="namespace", title="Namespace", query="label_values(kube_namespace_status_phase, namespace)")
        ],
        rows=[_now(site), _alerts(), _capacity(), _nodes(), *_order(site), _watchers(site)],
        logs=("argocd", "kube-system"),
    )


def _count(title: str, description: str, expression: str, *thresholds: Threshold, width: int = 4) -> Panel:
    return Panel(
        title=title,
        description=description,
        queries=[Query(expression=or_zero(expression))],
        kind="stat",
        width=width,
        height=4,
        decimals=0,
        thresholds=thresholds,
    )


def _now(site: Site) -> Row:
    some, one = Threshold(value=1, severity="warning"), Threshold(value=1)
    panels = [
        _count(
            "Critical alerts",
            "Alerts that somebody must act on now; the table below names them.",
            'count(ALERTS{alertstate="firing",severity="critical"})',
            one,
        ),
        _count(
            "Warnings",
            "Alerts for working hours.",
            'count(ALERTS{alertstate="firing",severity="warning"})',
            some,
        ),
        _count(
            "Nodes not ready",
            "Nodes that the cluster cannot use.",
            sums('kube_node_status_condition{condition="Ready",status!="true"}'),
            some,
        ),
        _count(
            "Pods that wait",
            "Pods without a node.",
            sums('kube_pod_status_phase{phase="Pending"}'),
        ),
        _count(
            "Targets down",
            "Sources of metrics that do not answer: what they would say is not known.",
            "count(up == 0)",
            some,
        ),
    ]
    if site.settings.gateway.enabled:
        panels.append(
            Panel(
                title="Errors at the gateway",
                description="Share of requests from outside that got a status of 500 or more.",
                queries=[Query(expression=GATEWAY_ERRORS)],
                kind="stat",
                unit="percentunit",
                width=4,
                height=4,
                decimals=2,
                nothing="No requests",
                thresholds=[Threshold(value=0.05, alert="GatewayErrors")],
            )
        )
    return Row(title="Now", panels=panels)


def _alerts() -> Row:
    return Row(
        title="Alerts",
        panels=[
            Panel(
                title="Firing",
                description="Alerts that fire now. Alerting in the menu has their descriptions, and links to runbooks.",
                queries=[
                    Query(
                        expression="max by (alertname, severity, owner, team, model, namespace) "
                        '(ALERTS{alertstate="firing",severity=~"critical|warning"})'
                    )
                ],
                kind="table",
                width=24,
                hidden_labels=("Value",),
                nothing="Nothing is wrong that a rule knows",
            )
        ],
    )


def _capacity() -> Row:
    used, hard = (
        f'sum by (namespace, resource) (kube_resourcequota{{namespace=~"$namespace",type="{kind}"}})'
        for kind in ("used", "hard")
    )
    asked, there = (
        'sum(kube_pod_container_resource_requests{{resource="{}"}} * on (namespace, pod) group_left () '
        '(kube_pod_status_phase{{phase="Running"}} == 1))',
        'sum(kube_node_status_allocatable{{resource="{}"}})',
    )
    return Row(
        title="Capacity",
        panels=[
            Panel(
                title="Requested of what nodes have",
                description="Share of the nodes' CPU and memory that running pods have reserved.",
                queries=[
                    Query(expression=f"{asked.format(kind)} / {there.format(kind)}", legend=kind)
                    for kind in ("cpu", "memory")
                ],
                unit="percentunit",
                most=1,
            ),
            Panel(
                title="Quotas nearly used",
                description="Resources of a namespace's quota of which more than four fifths are used: the next pod "
                "may be refused.",
                queries=[
                    Query(expression=f"topk(20, {used} / ({hard} > 0) > 0.8)", legend="{{namespace}} {{resource}}")
                ],
                kind="bars",
                unit="percentunit",
                most=1,
                thresholds=[Threshold(value=0.9, alert="QuotaNearlyUsed", severity="warning"), Threshold(value=1)],
                nothing="None above 80 %",
            ),
            Panel(
                title="Volumes",
                description="Share of each claimed volume in use, the fullest ten.",
                queries=[
                    Query(
                        expression="topk(10, max by (namespace, persistentvolumeclaim) (1 - "
                        'kubelet_volume_stats_available_bytes{namespace=~"$namespace"} / '
                        'kubelet_volume_stats_capacity_bytes{namespace=~"$namespace"}))',
                        legend="{{namespace}} {{persistentvolumeclaim}}",
                    )
                ],
                kind="bars",
                unit="percentunit",
                most=1,
                thresholds=[Threshold(value=0.9, alert="VolumeNearlyFull", limit=0.1, severity="warning")],
            ),
        ],
    )


def _nodes() -> Row:
    return Row(
        title="Nodes and pods",
        panels=[
            Panel(
                title="CPU of nodes",
                description="Share of the time in which CPUs worked, by node.",
                queries=[
                    Query(
                        expression=f"1 - avg by (instance) ({rate(_IDLE)})",
                        legend="{{instance}}",
                    )
                ],
                unit="percentunit",
                most=1,
            ),
            Panel(
                title="Memory of nodes",
                description="Share of the memory that is in use and cannot be given back, by node.",
                queries=[
                    Query(
                        expression="1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes",
                        legend="{{instance}}",
                    )
                ],
                unit="percentunit",
                most=1,
            ),
            Panel(
                title="Disks of nodes",
                description="Share of the disk with images, logs and temporary files in use, by node.",
                queries=[
                    Query(
                        expression='max by (instance) (1 - node_filesystem_avail_bytes{fstype=~"ext4|xfs"} / '
                        'node_filesystem_size_bytes{fstype=~"ext4|xfs"})',
                        legend="{{instance}}",
                    )
                ],
                unit="percentunit",
                most=1,
                thresholds=[Threshold(value=0.9, alert="NodeDiskFilling", limit=0.1, severity="warning")],
            ),
            Panel(
                title="Memory by pod",
                description="Memory of the ten largest pods.",
                queries=[
                    Query(
                        expression="topk(10, sum by (namespace, pod) "
                        f"(container_memory_working_set_bytes{_CONTAINERS}))",
                        legend="{{namespace}} {{pod}}",
                    )
                ],
                unit="bytes",
            ),
            Panel(
                title="CPU by pod",
                description="CPUs that the ten busiest pods use.",
                queries=[
                    Query(
                        expression="topk(10, sum by (namespace, pod) "
                        f"({rate(f'container_cpu_usage_seconds_total{_CONTAINERS}')}))",
                        legend="{{namespace}} {{pod}}",
                    )
                ],
            ),
            Panel(
                title="Restarts",
                description="Restarts of containers in the last hour, the ten with most.",
                queries=[
                    Query(
                        expression="topk(10, sum by (namespace, pod) "
                        '(increase(kube_pod_container_status_restarts_total{namespace=~"$namespace"}[1h])) > 0)',
                        legend="{{namespace}} {{pod}}",
                    )
                ],
                kind="bars",
                decimals=0,
                thresholds=[Threshold(value=1, severity="warning"), Threshold(value=5)],
                nothing="None",
            ),
        ],
    )


def _order(site: Site) -> Iterator[Row]:
    settings = site.settings
    panels: list[Panel] = []
    some = Threshold(value=1, severity="warning")
    if settings.delivery.enabled:
        panels.append(
            _count(
                "Applications out of order",
                "Applications of Argo CD that are not as in Git, or not healthy.",
                'count(argocd_app_info{sync_status!="Synced"} or argocd_app_info{health_status!="Healthy"})',
                some,
                width=6,
            )
        )
    if settings.secrets.enabled:
        panels.append(
            _count(
                "Credentials not brought",
                "ExternalSecrets that are not ready: what reads them keeps the last value, or does not start.",
                'count(externalsecret_status_condition{condition="Ready",status="False"} == 1)',
                some,
                width=6,
            )
        )
    if settings.certificates.enabled:
        panels.append(
            Panel(
                title="Next certificate to expire",
                description="Days until the first certificate expires. They are renewed at a third of their life; "
                "in the last days nobody has.",
                queries=[
                    Query(expression=f"(min(certmanager_certificate_expiration_timestamp_seconds) - time()) / {_DAY}")
                ],
                kind="stat",
                width=6,
                height=4,
                decimals=0,
                thresholds=[Threshold(value=3, alert="CertificateExpiring", limit=3 * _DAY, below=True)],
            )
        )
    if settings.backups.enabled:
        panels.append(
            Panel(
                title="Oldest last backup",
                description="Hours since the last good backup of the schedule that is furthest behind.",
                queries=[Query(expression="(time() - min(velero_backup_last_successful_timestamp > 0)) / 3600")],
                kind="stat",
                width=6,
                height=4,
                decimals=0,
                thresholds=[Threshold(value=26, alert="BackupMissed", limit=26 * 3600)],
                nothing="No backup yet",
            )
        )
    if panels:
        yield Row(title="Order", panels=panels)


def _watchers(site: Site) -> Row:
    settings = site.settings
    panels = [
        Panel(
            title="Series in Prometheus",
            description="Series that Prometheus holds; each takes some KiB. A jump is a label that runs wild.",
            queries=[Query(expression="max by (pod) (prometheus_tsdb_head_series)", legend="{{pod}}")],
        ),
        Panel(
            title="Notifications",
            description="Notifications of alerts a minute, and those that failed, by way.",
            queries=[
                Query(
                    expression=f"{sums(rate('alertmanager_notifications_total'), 'integration')} * 60",
                    legend="{{integration}}",
                ),
                Query(
                    expression=f"{sums(rate('alertmanager_notifications_failed_total'), 'integration')} * 60",
                    legend="{{integration}} failed",
                ),
            ],
        ),
    ]
    if settings.logs.enabled:
        panels.append(
            Panel(
                title="Logs taken and refused",
                description="Bytes of logs a second that Loki took; lines a second that it refused, by reason.",
                queries=[
                    Query(expression=sums(rate("loki_distributor_bytes_received_total")), legend="bytes"),
                    Query(
                        expression=sums(rate("loki_discarded_samples_total"), "reason"),
                        legend="lines refused: {{reason}}",
                    ),
                ],
            )
        )
    if settings.traces.enabled:
        panels.append(
            Panel(
                title="Spans taken and lost",
                description="Parts of traces a second that the collector took, and that it could not pass on.",
                queries=[
                    Query(expression=sums(rate("otelcol_receiver_accepted_spans_total")), legend="taken"),
                    Query(
                        expression=sums(rate("otelcol_exporter_send_failed_spans_total"), "exporter"),
                        legend="lost on the way to {{exporter}}",
                    ),
                ],
                unit="ops",
            )
        )
    return Row(title="The watchers themselves", panels=[replace(one, width=WIDTH // len(panels)) for one in panels])
