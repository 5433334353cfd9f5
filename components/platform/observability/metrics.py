"""The metrics stack: Prometheus, Alertmanager, and what they read of nodes and objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi

from components.charts import release
from components.platform.mesh import plaintext_port
from components.platform.namespaces import MESH_LABEL
from components.platform.observability import alertmanager, state_metrics
from components.platform.observability.monitors import declare, monitors, scraped_here
from components.platform.observability.monitors.model import NAMESPACE, WITH_TOKEN
from components.platform.observability.monitors.observers import OPERATOR, operator_port
from components.platform.observability.monitors.servers import KUBELET_SERVICE
from components.platform.openings import SCRAPER, Opening
from components.platform.quotas import Allowance
from components.platform.secrets import external_secret
from components.platform.site import Site
from components.settings.platform import PlatformSettings
from components.settings.platform.alerting import AlertingSettings
from components.settings.platform.metrics import FILLED, MetricsSettings

PORT: Final = 9090
ALERTMANAGER_URL: Final = f"http://alertmanager-operated.{NAMESPACE}.svc.cluster.local:{alertmanager.PORT}"

_TOKEN_FOLDER: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_PRIORITY: Final = "platform-critical"
_RELOADER: Final = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}


def openings(site: Site) -> Iterator[Opening]:
    """What the metrics stack reaches, and who reaches it; its way to the API server is that of its namespace."""
    settings = site.settings
    yield from alertmanager.openings(settings.alerting)
    # Every other system has its own opening for this reader.
    yield from scraped_here(site)
    if settings.certificates.enabled:
        yield Opening(
            source="control-plane",
            target=OPERATOR,
            ports=(operator_port(site),),
            why="The API server asks before it stores rules.",
        )


def allowance(settings: PlatformSettings) -> Allowance:
    """What the namespace may ask for besides its share, where volumes and memory are set above their defaults."""
    metrics, alerting, usual = settings.metrics, settings.alerting, MetricsSettings()
    replicas = 2 if settings.highly_available else 1
    volumes = metrics.volume_gib - usual.volume_gib + alerting.volume_gib - AlertingSettings().volume_gib
    return Allowance(
        cpu_millicores=0,
        memory_mib=max(0, replicas * (metrics.memory_mib - usual.memory_mib)),
        disk_gib=0,
        volumes_gib=max(0, replicas * volumes),
    )


@dataclass(frozen=True, kw_only=True)
class MetricsArgs:
    """What the metrics stack needs.

    Attributes:
        site: Where it is installed.
        grafana: Values of the subchart Grafana.
        secrets_ready: ``SecretSync.ready``: receivers' credentials come through it.
        mesh_ready: ``Mesh.ready``: who reads from outside of the mesh is let through.
        certificates: ``CertManager.ready``: the certificate of the webhook that checks rules.
        after: What Grafana's pods mount.
    """

    site: Site
    grafana: Mapping[str, Any]
    secrets_ready: Sequence[pulumi.Resource]
    mesh_ready: Sequence[pulumi.Resource]
    certificates: Sequence[pulumi.Resource]
    after: Sequence[pulumi.Resource] = ()


class Metrics(pulumi.ComponentResource):
    """One release, with the definitions of monitors and rules; then what is read of every system."""

    ready: tuple[pulumi.Resource, ...]
    """The release, with which the definitions of monitors and rules come."""

    def __init__(self, name: str, args: MetricsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Metrics", name, None, opts)
        site = args.site
        settings = site.settings
        _warn_of_silence(settings.alerting)
        asked = self._let_outsiders_ask(name, args)
        stack = release(
            f"{name}-release",
            "kube-prometheus-stack",
            release_name="kube-prometheus-stack",
            namespace=NAMESPACE,
            values=values(site, stack=pulumi.get_stack(), grafana=args.grafana),
            parent=self,
            after=[*site.namespaces[NAMESPACE], *args.certificates, *args.after],
            timeout_seconds=900,  # volumes are made, and Grafana makes its tables
        )
        for receiver, key in alertmanager.credentials(settings.alerting).items():
            external_secret(
                f"{name}-{receiver}",
                namespace=NAMESPACE,
                secret_name=alertmanager.secret_name(receiver),
                data={key: (alertmanager.secret_name(receiver), key)},
                site=site,
                parent=self,
                after=args.secrets_ready,
            )
        declare(name, monitors(site), parent=self, after=[stack])
        self.ready = (stack, *asked)
        self.register_outputs({})

    def _let_outsiders_ask(self, name: str, args: MetricsArgs) -> tuple[pulumi.Resource, ...]:
        """KEDA is not in the mesh, and scales models by what it asks Prometheus."""
        settings = args.site.settings
        if not (settings.mesh.enabled and settings.autoscaling.enabled):
            return ()
        return (
            plaintext_port(
                f"{name}-asked",
                namespace=NAMESPACE,
                labels=SCRAPER.labels,
                ports=[PORT],
                parent=self,
                after=[*args.site.namespaces[NAMESPACE], *args.mesh_ready],
            ),
        )


def _warn_of_silence(settings: AlertingSettings) -> None:
    if silent := alertmanager.unheard(settings):
        pulumi.log.warn(
            f"platform.alerting.routes: nobody is told of alerts with severity {', '.join(silent)}; name receivers"
        )


def values(site: Site, *, stack: str, grafana: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the chart.

    Args:
        site: Where it is installed.
        stack: Name of the stack; a label of every alert.
        grafana: Values of the subchart.
    """
    return {
        # Ours are declared beside the release: with one limit of samples, one label ``job``, one test over all of them.
        **_no_monitors(),
        # Ours cover what these do, have a runbook in this repository, and leave out what nobody here could act on.
        "defaultRules": {"create": False},
        "prometheusOperator": _operator(site),
        "prometheus": _prometheus(site, stack),
        "alertmanager": _alertmanager(site),
        "grafana": dict(grafana),
        "kube-state-metrics": state_metrics.values(site),
        "prometheus-node-exporter": {
            "prometheus": {"monitor": {"enabled": False}},
            "priorityClassName": _PRIORITY,
            # Also on nodes that drain, or are tainted for somebody: their disks fill up as others' do.
            "tolerations": [{"operator": "Exists"}],
            "resources": {"requests": {"cpu": "15m", "memory": "40Mi"}, "limits": {"memory": "128Mi"}},
        },
    }


def _no_monitors() -> dict[str, Any]:
    off: dict[str, Any] = {"enabled": False}
    return {
        "kubeApiServer": off,
        "kubelet": off,
        "coreDns": off,
        "kubeControllerManager": off,
        "kubeEtcd": off,
        "kubeProxy": off,
        "kubeScheduler": off,
    }


def _operator(site: Site) -> dict[str, Any]:
    """The operator. One replica: while it is away Prometheus goes on, and new rules wait."""
    checked = site.settings.certificates.enabled
    return {
        # The API server calls its webhook and has no identity in the mesh.
        "podLabels": {MESH_LABEL: "none"},
        "admissionWebhooks": {
            "enabled": checked,
            # The operator looks at each rule once more: with Ignore a rule can be mended while it is away.
            "failurePolicy": "Ignore",
            "patch": {"enabled": False},
            "certManager": {"enabled": checked},
        },
        "tls": {"enabled": checked},
        "kubeletService": {"name": KUBELET_SERVICE},
        # Endpoints hold a thousand addresses at most, and Kubernetes gives them up.
        "kubeletEndpointsEnabled": False,
        "kubeletEndpointSliceEnabled": True,
        "serviceMonitor": {"selfMonitor": False},
        "logFormat": "json",
        "nodeSelector": site.system_nodes,
        "priorityClassName": _PRIORITY,
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "prometheusConfigReloader": {"resources": _RELOADER},
    }


def _prometheus(site: Site, stack: str) -> dict[str, Any]:
    settings = site.settings.metrics
    namespaces = {"matchLabels": {"app.kubernetes.io/part-of": "llmops"}}
    everything = {f"{kind}SelectorNilUsesHelmValues": False for kind in ("serviceMonitor", "podMonitor", "rule")}
    return {
        "serviceMonitor": {"selfMonitor": False},
        **_budget(site),
        "prometheusSpec": {
            "replicas": site.replicas,
            **_placement(site, SCRAPER.labels),
            "priorityClassName": _PRIORITY,
            "logFormat": "json",
            "externalLabels": {"stack": stack},
            "scrapeInterval": f"{settings.scrape_seconds}s",
            "evaluationInterval": f"{settings.scrape_seconds}s",
            "retention": f"{settings.retention_days}d",
            "retentionSize": f"{int(settings.volume_gib * 1024 * FILLED)}MiB",
            **_volume("storageSpec", site, settings.volume_gib),
            "sampleLimit": settings.samples_per_target,
            # A pod that is asked decides nothing else: it can neither send Prometheus elsewhere nor have it read files.
            "arbitraryFSAccessThroughSMs": {"deny": True},
            "scrapeClasses": [
                {
                    "name": WITH_TOKEN,
                    "authorization": {"type": "Bearer", "credentialsFile": f"{_TOKEN_FOLDER}/token"},
                    # Kubelets and operators sign their certificates themselves. Network policies say who can answer.
                    "tlsConfig": {"insecureSkipVerify": True},
                }
            ],
            "serviceDiscoveryRole": "EndpointSlice",
            **everything,
            **{f"{kind}NamespaceSelector": namespaces for kind in ("serviceMonitor", "podMonitor", "rule")},
            # What stands in a team's namespace can only speak of that namespace: its rules see no other's series.
            "enforcedNamespaceLabel": "namespace",
            "excludedFromEnforcement": [
                {"group": "monitoring.coreos.com", "resource": kind, "namespace": NAMESPACE}
                for kind in ("podmonitors", "prometheusrules", "servicemonitors")
            ],
            "enableServiceLinks": False,
            "resources": {
                "requests": {"cpu": "290m", "memory": f"{settings.memory_mib}Mi"},
                # A restart reads the write-ahead log back, and queries over many days load many series.
                "limits": {"memory": f"{2 * settings.memory_mib}Mi"},
            },
        },
    }


def _alertmanager(site: Site) -> dict[str, Any]:
    settings = site.settings.alerting
    receivers = sorted(alertmanager.credentials(settings))
    return {
        "config": alertmanager.configuration(settings),
        "templateFiles": dict(alertmanager.TEMPLATES),
        "serviceMonitor": {"selfMonitor": False},
        "serviceAccount": {"automountServiceAccountToken": False},
        **_budget(site),
        "alertmanagerSpec": {
            "replicas": site.replicas,
            # Whoever may write one elsewhere would have every alert of that namespace sent where they like.
            "alertmanagerConfigNamespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
            **_placement(site, alertmanager.PODS.labels),
            "priorityClassName": _PRIORITY,
            "automountServiceAccountToken": False,
            "logFormat": "json",
            **_volume("storage", site, settings.volume_gib),
            # Optional: a credential that nobody has filled in yet keeps one receiver from being told, and not all.
            "volumes": [
                {"name": name, "secret": {"secretName": name, "optional": True}}
                for name in map(alertmanager.secret_name, receivers)
            ],
            "volumeMounts": [
                {
                    "name": alertmanager.secret_name(receiver),
                    "mountPath": f"{alertmanager.CREDENTIALS}/{receiver}",
                    "readOnly": True,
                }
                for receiver in receivers
            ],
            "enableServiceLinks": False,
            "resources": {"requests": {"cpu": "15m", "memory": "48Mi"}, "limits": {"memory": "128Mi"}},
        },
    }


def _budget(site: Site) -> dict[str, Any]:
    return {"podDisruptionBudget": {"enabled": True, "minAvailable": 1}} if site.highly_available else {}


def _placement(site: Site, labels: Mapping[str, str]) -> dict[str, Any]:
    """On system nodes, replicas apart: by node always, by zone where there is room."""
    found: dict[str, Any] = {"nodeSelector": site.system_nodes, "podAntiAffinity": ""}
    if site.highly_available:
        found["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": unless,
                "labelSelector": {"matchLabels": dict(labels)},
            }
            for key, unless in (
                ("kubernetes.io/hostname", "DoNotSchedule"),
                ("topology.kubernetes.io/zone", "ScheduleAnyway"),
            )
        ]
    return found


def _volume(key: str, site: Site, size_gib: int) -> dict[str, Any]:
    claim = {
        "storageClassName": site.foundation.cluster.default_storage_class,
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": f"{size_gib}Gi"}},
    }
    return {
        key: {"volumeClaimTemplate": {"spec": claim}},
        # They go with the stack, and nothing else would delete them. A replica that comes back finds its own.
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
    }
