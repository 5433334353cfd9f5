"""What systems of the platform need of one another, and of the account."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from components.settings.platform import PlatformSettings

# Special-use names (RFC 6761, RFC 6762, ICANN's reservation of .internal): nobody can prove to own one.
_RESERVED = ("internal", "local", "localhost", "test", "example", "invalid", "home.arpa")


def acme(platform: PlatformSettings, setting: str, zone: str) -> Iterator[tuple[str, str]]:
    """Paths and messages: what a public certificate authority lacks; ``setting`` is where the cloud's zone is named."""
    certificates, domain = platform.certificates, platform.gateway.domain
    if not certificates.enabled or certificates.issuer != "acme":
        return
    path = "platform.certificates.issuer"
    if certificates.acme.email is None:
        yield path, "acme needs platform.certificates.acme.email, where warnings go before a certificate expires"
    if not zone:
        where = f"{setting}, the public zone" if setting else "a public zone of AWS or Google Cloud"
        yield path, f"acme needs {where} in which the domain is proven"
    if any(domain == name or domain.endswith(f".{name}") for name in _RESERVED):
        yield path, f"acme cannot sign platform.gateway.domain {domain}: it is no public name; set one, or private"


def gateway(platform: PlatformSettings) -> Iterator[tuple[str, str]]:
    """Paths and messages: what the gateway lacks."""
    if not platform.gateway.enabled:
        return
    for name, enabled in (("mesh", platform.mesh.enabled), ("certificates", platform.certificates.enabled)):
        if not enabled:
            yield "platform.gateway.enabled", f"needs platform.{name}.enabled"
    limits = platform.gateway.rate_limits
    if limits.enabled and limits.counting == "global" and not platform.secrets.enabled:
        yield "platform.gateway.rateLimits.counting", "global needs platform.secrets.enabled, for the cache's password"


def model_gateway(platform: PlatformSettings, hosted: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Paths and messages: what the model gateway lacks; ``hosted`` are the names of the hosted models."""
    settings, domain = platform.model_gateway, platform.gateway.domain
    for index, name in enumerate(hosted):
        if name in hosted[:index]:
            yield f"hostedModels[{index}].name", f"must be unique; got {name}"
    if not settings.enabled:
        if hosted:
            yield "hostedModels", "needs platform.modelGateway.enabled: clients reach them through it"
        return
    if not platform.secrets.enabled:
        yield "platform.modelGateway.enabled", "needs platform.secrets.enabled, for its keys and its database"
    for name, host in (("host", settings.host), ("adminHost", settings.admin_host)):
        if host and platform.gateway.enabled and host.partition(".")[2] != domain:
            message = f"must be one label below platform.gateway.domain {domain}; got {host}"
            yield f"platform.modelGateway.{name}", message
    if settings.admin_host and settings.admin_host in (settings.host, f"api.{domain}"):
        yield "platform.modelGateway.adminHost", "must differ from the API's host"


def experiments(platform: PlatformSettings) -> Iterator[tuple[str, str]]:
    """Paths and messages: what experiment tracking lacks."""
    settings, domain = platform.experiments, platform.gateway.domain
    if not settings.enabled:
        return
    if not platform.secrets.enabled:
        yield "platform.experiments.enabled", "needs platform.secrets.enabled, for its database and its accounts"
    host = settings.published_at(domain)
    if host and platform.gateway.enabled and host.partition(".")[2] != domain:
        yield "platform.experiments.host", f"must be one label below platform.gateway.domain {domain}; got {host}"


def vectors(platform: PlatformSettings) -> Iterator[tuple[str, str]]:
    """Paths and messages: what the vector database lacks."""
    if not platform.vectors.enabled:
        return
    for name, enabled, why in (
        ("secrets", platform.secrets.enabled, "for its accounts"),
        ("mesh", platform.mesh.enabled, "which encrypts what goes to it"),
    ):
        if not enabled:
            yield "platform.vectors.enabled", f"needs platform.{name}.enabled, {why}"


def delivery(platform: PlatformSettings) -> Iterator[tuple[str, str]]:
    """Paths and messages: what delivery from Git lacks."""
    if not platform.delivery.enabled:
        return
    if not platform.secrets.enabled:
        yield "platform.delivery.enabled", "needs platform.secrets.enabled, for Argo CD's credentials"
    host, domain = platform.delivery.host, platform.gateway.domain
    if host and platform.gateway.enabled and host.partition(".")[2] != domain:
        yield "platform.delivery.host", f"must be one label below platform.gateway.domain {domain}; got {host}"


def workflows(platform: PlatformSettings) -> Iterator[tuple[str, str]]:
    """Paths and messages: what workflows lack."""
    settings, domain = platform.workflows, platform.gateway.domain
    if not settings.enabled:
        return
    if not platform.secrets.enabled:
        yield "platform.workflows.enabled", "needs platform.secrets.enabled, for its archive"
    if settings.host and platform.gateway.enabled and settings.host.partition(".")[2] != domain:
        yield (
            "platform.workflows.host",
            f"must be one label below platform.gateway.domain {domain}; got {settings.host}",
        )


def pipelines(platform: PlatformSettings, teams: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Paths and messages: what pipelines lack; ``teams`` are the names of the teams."""
    settings, gateway = platform.pipelines, platform.gateway
    if not settings.enabled:
        return
    if settings.multi_user and not teams:
        yield "platform.pipelines.multiUser", "needs teams, each of which has a namespace; there are none"
    for name, enabled, why in (
        ("secrets", platform.secrets.enabled, "for its database"),
        ("delivery", platform.delivery.enabled, "which applies them"),
        ("workflows", platform.workflows.enabled, "which runs them"),
    ):
        if not enabled:
            yield "platform.pipelines.enabled", f"needs platform.{name}.enabled, {why}"
    if not settings.host or not gateway.enabled:
        return
    if settings.host.partition(".")[2] != gateway.domain:
        yield (
            "platform.pipelines.host",
            f"must be one label below platform.gateway.domain {gateway.domain}; got {settings.host}",
        )
    if gateway.authentication.mode != "jwt" and not settings.multi_user:
        message = (
            "needs platform.gateway.authentication.mode jwt or platform.pipelines.multiUser, for without them it has "
            f"no sign-in; got {gateway.authentication.mode}"
        )
        yield "platform.pipelines.host", message


def training(platform: PlatformSettings) -> Iterator[tuple[str, str]]:
    """Paths and messages: what training jobs lack."""
    settings = platform.training
    if not settings.enabled:
        return
    if not platform.scheduling.enabled:
        yield "platform.training.enabled", "needs platform.scheduling.enabled, which starts the nodes of a job together"
    if settings.pytorch_jobs and not platform.delivery.enabled:
        yield "platform.training.pytorchJobs", "needs platform.delivery.enabled, which applies the Training Operator"


def serving(platform: PlatformSettings) -> Iterator[tuple[str, str]]:
    """Paths and messages: what serving of models lacks."""
    settings = platform.serving
    if not settings.enabled:
        return
    if not platform.certificates.enabled:
        yield "platform.serving.enabled", "needs platform.certificates.enabled, for the webhooks' certificate"
    if settings.activation.enabled and not platform.autoscaling.enabled:
        message = "needs platform.autoscaling.enabled: KEDA starts the servers; or set it to false"
        yield "platform.serving.activation.enabled", message
    autoscaler, cold_start = platform.controllers.cluster_autoscaler, settings.cold_start
    needed = cold_start.node_seconds * (100 + cold_start.margin_percent) / 100
    if autoscaler.enabled and needed > autoscaler.max_node_provision_minutes * 60:
        yield (
            "platform.serving.coldStart.nodeSeconds",
            f"with its margin {needed:g} s, but platform.controllers.clusterAutoscaler.maxNodeProvisionMinutes gives a "
            f"node up after {autoscaler.max_node_provision_minutes}; raise that, or lower this",
        )


def grafana(platform: PlatformSettings) -> Iterator[tuple[str, str]]:
    """Paths and messages: what dashboards lack."""
    settings, domain = platform.grafana, platform.gateway.domain
    if not settings.enabled:
        return
    for name, enabled, why in (
        ("metrics", platform.metrics.enabled, "which it shows and with which it is installed"),
        ("secrets", platform.secrets.enabled, "for its database"),
    ):
        if not enabled:
            yield "platform.grafana.enabled", f"needs platform.{name}.enabled, {why}"
    host = settings.published_at(domain)
    if host and platform.gateway.enabled and host.partition(".")[2] != domain:
        yield "platform.grafana.host", f"must be one label below platform.gateway.domain {domain}; got {host}"
    if settings.sso and not platform.gateway.enabled:
        yield "platform.grafana.sso", "needs platform.gateway.enabled: the issuer sends people back through it"


def alerting(platform: PlatformSettings, teams: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Paths and messages: what telling people of alerts lacks; ``teams`` are the names of the teams."""
    settings = platform.alerting
    for team in settings.team_routes:
        if team not in teams:
            yield f"platform.alerting.teamRoutes.{team}", f"must be a team; there are {', '.join(teams) or 'none'}"
    if not settings.receivers:
        return
    if not platform.metrics.enabled:
        yield "platform.alerting.receivers", "needs platform.metrics.enabled: nothing else raises alerts"
    elif settings.supplied and not platform.secrets.enabled:
        yield "platform.alerting.receivers", "needs platform.secrets.enabled, for the receivers' credentials"


def retention(platform: PlatformSettings, bucket_days: int) -> Iterator[tuple[str, str]]:
    """Paths and messages: what the bucket of logs and traces would forget before those whose index names it."""
    for name, section in (("logs", platform.logs), ("traces", platform.traces)):
        if section.enabled and section.retention_days >= bucket_days:
            yield (
                f"platform.{name}.retentionDays",
                f"must be below objects.logRetentionDays, {bucket_days}, after which the bucket deletes; "
                f"got {section.retention_days}",
            )
