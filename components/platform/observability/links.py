"""Where the alerts of a stack point: its runbooks, and Grafana where that is published."""

from __future__ import annotations

from components.platform.observability.grafana_values import published_at, root_url
from components.platform.observability.rules import Links
from components.platform.site import Site


def links(site: Site) -> Links:
    """Links of every alert of a stack, whoever declares it."""
    settings = site.settings
    return Links(
        owner=site.owner,
        runbooks=settings.alerting.runbook_base_url,
        grafana=root_url(settings) if published_at(settings) else "",
    )
