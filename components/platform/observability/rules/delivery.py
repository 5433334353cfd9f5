"""What keeps the platform in order: Argo CD, certificates, secrets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from components.platform.observability.rules.facts import SiteFacts
from components.platform.observability.rules.model import HOUR, MINUTE, NOW, Alert, Group
from components.platform.observability.rules.promql import by_team

_DAY_SECONDS: Final = 86400
_EXPIRES_DAYS: Final = 3

_APPLICATION: Final = "{{ $labels.name }} of project {{ $labels.project }}"


def groups(facts: SiteFacts) -> Iterator[Group]:
    """Rules about delivery, for each system that there is."""
    settings = facts.settings
    if settings.delivery.enabled:
        yield Group(name="delivery", rules=[_OUT_OF_SYNC, _DEGRADED, _SYNC_FAILED])
    if settings.certificates.enabled:
        yield Group(name="certificates", rules=[_NOT_READY, _OVERDUE, _EXPIRING, _ISSUER])
    if settings.secrets.enabled:
        yield Group(name="secrets", rules=[_SECRET, _STORE])


_OUT_OF_SYNC: Final = Alert(
    name="ApplicationOutOfSync",
    expression='argocd_app_info{sync_status="OutOfSync"} == 1',
    lasting=HOUR,
    severity="warning",
    summary=f"{_APPLICATION} is not what Git says",
    description="For an hour the cluster has differed from {{ $labels.repo }}: nobody synced, or somebody changed it.",
    page="delivery",
    dashboard="platform",
)

_DEGRADED: Final = Alert(
    name="ApplicationDegraded",
    expression='argocd_app_info{health_status=~"Degraded|Missing"} == 1',
    lasting=15 * MINUTE,
    severity="warning",
    summary=f"{_APPLICATION} is {{{{ $labels.health_status }}}}",
    description="Argo CD has applied it, and it does not run as it should.",
    page="delivery",
    dashboard="platform",
)

_SYNC_FAILED: Final = Alert(
    name="ApplicationSyncFailed",
    expression='sum by (name, project) (increase(argocd_app_sync_total{phase=~"Error|Failed"}[15m])) > 0',
    lasting=NOW,
    severity="warning",
    summary=f"{_APPLICATION} could not be synced",
    description="What Git says was refused, or a hook failed. The version before is still there.",
    page="delivery",
    dashboard="platform",
)

_CERTIFICATE: Final = "{{ $labels.namespace }}/{{ $labels.name }}"

_NOT_READY: Final = Alert(
    name="CertificateNotReady",
    expression='max by (namespace, name) (certmanager_certificate_ready_status{condition="True"}) == 0',
    lasting=15 * MINUTE,
    severity="warning",
    summary=f"The certificate {_CERTIFICATE} is not ready",
    description="It was not issued, or not issued anew. What serves it goes on with the old one, if there is one.",
    page="delivery",
    dashboard="platform",
)

_OVERDUE: Final = Alert(
    name="CertificateRenewalOverdue",
    expression="time() - max by (namespace, name) (certmanager_certificate_renewal_timestamp_seconds > 0) > 6 * 3600",
    lasting=NOW,
    severity="warning",
    summary=f"The certificate {_CERTIFICATE} should have been renewed",
    description="Its renewal is overdue by {{ $value | humanizeDuration }}; nothing has failed yet.",
    page="delivery",
    dashboard="platform",
)

_EXPIRING: Final = Alert(
    name="CertificateExpiring",
    expression=(
        "max by (namespace, name) (certmanager_certificate_expiration_timestamp_seconds > 0) - time() "
        f"< {_EXPIRES_DAYS} * {_DAY_SECONDS}"
    ),
    lasting=NOW,
    severity="critical",
    summary=f"The certificate {_CERTIFICATE} expires",
    description="In {{ $value | humanizeDuration }} clients refuse it.",
    page="delivery",
    dashboard="platform",
)

_ISSUER: Final = Alert(
    name="IssuerNotReady",
    expression='max by (name) (certmanager_clusterissuer_ready_status{condition="True"}) == 0',
    lasting=15 * MINUTE,
    severity="warning",
    summary="The issuer {{ $labels.name }} is not ready",
    description="No certificate of it is issued or renewed.",
    page="delivery",
    dashboard="platform",
)

_SECRET: Final = Alert(
    name="SecretSyncFailing",
    expression=by_team(
        'max by (namespace, name) (externalsecret_status_condition{condition="Ready",status="False"}) == 1'
    ),
    lasting=15 * MINUTE,
    severity="warning",
    summary="The secret {{ $labels.namespace }}/{{ $labels.name }} is not synced",
    description="Pods go on with the value that they have; a rotated password, or a new pod, fails.",
    page="delivery",
    dashboard="platform",
)

_STORE: Final = Alert(
    name="SecretStoreUnreachable",
    expression='max by (name) (clustersecretstore_status_condition{condition="Ready",status="False"}) == 1',
    lasting=10 * MINUTE,
    severity="critical",
    summary="The secret store {{ $labels.name }} cannot be read",
    description="No secret of the platform is synced.",
    page="delivery",
    dashboard="platform",
)
