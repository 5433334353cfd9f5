"""Dashboards (Grafana)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.settings.base import Section
from components.settings.platform.gateway import DomainName, HttpsUrl

SSO_ENTRY = "grafana-sso"
"""Entry of the secret store with the client secret of the sign-in."""

# Names go into an expression and past Helm's template language: no quotes, braces or backslashes.
Group = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._:/@=+-]*$")]

GrafanaRole = Literal["Viewer", "Editor", "Admin"]
"""Grafana's own roles: look; make dashboards and explore; everything in the organisation."""


class GrafanaSsoSettings(Section):
    """Sign-in by OpenID Connect. The client secret is property ``clientSecret`` of the entry ``grafana-sso``.

    Attributes:
        name: Label of the sign-in button.
        client_id: Grafana's client id at the issuer; its redirect URI is ``https://<host>/login/generic_oauth``.
        auth_url: The issuer's authorization endpoint, where browsers go.
        token_url: The issuer's token endpoint, which Grafana calls.
        user_info_url: The issuer's user-info endpoint, which Grafana calls.
        scopes: What is asked for.
        groups_claim: Claim that lists the person's groups.
        role_groups: Group that holds a role, where the issuer names it otherwise than the cluster: administrators of
            the platform become ``Admin``, ML engineers ``Editor``, viewers and every team ``Viewer``.
        team_groups: Group of a team, by team, where the issuer names it otherwise than the cluster.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$")] = "Single sign-on"
    client_id: Annotated[str, Field(min_length=1)]
    auth_url: HttpsUrl
    token_url: HttpsUrl
    user_info_url: HttpsUrl
    scopes: tuple[str, ...] = ("openid", "profile", "email", "groups")
    groups_claim: Annotated[str, Field(pattern=r"^[A-Za-z0-9_:/.-]+$")] = "groups"
    role_groups: dict[Literal["platform-admin", "ml-engineer", "viewer"], Group] = Field(default_factory=dict)
    team_groups: dict[str, Group] = Field(default_factory=dict[str, Group])


class GrafanaSettings(Section):
    """Dashboards (Grafana).

    Attributes:
        enabled: Install it. It needs metrics, and secrets for its database.
        host: Where it is published, one label below ``gateway.domain``; ``grafana.<domain>`` where it is not set, and
            nowhere where it is empty: then by port-forward only. Grafana checks its own users, so the edge lets
            everything to this host pass.
        local_admin: Keep the form for the account ``admin``, whose password is in the secret store's entry
            ``grafana-admin``.
        sso: Sign-in by OpenID Connect.
        money_readers: Least role that sees the folder with costs and budgets. It keeps a dashboard out of sight and
            nothing more: who may look at dashboards may ask Prometheus for any metric.
        node_prices: USD for one hour of a node, by instance type, where it differs from the list price that the
            platform knows (``components/capacity/prices.json``): a savings plan, spot, machines of your own.
    """

    enabled: bool = True
    host: DomainName | Literal[""] | None = None
    local_admin: bool = True
    sso: GrafanaSsoSettings | None = None
    money_readers: GrafanaRole = "Viewer"
    node_prices: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")], Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict[str, float]
    )

    @model_validator(mode="after")
    def _somebody_can_sign_in(self) -> GrafanaSettings:
        if self.sso and self.host == "":
            raise ValueError("sso needs a host: the issuer sends people back there")
        if not self.sso and not self.local_admin:
            raise ValueError("localAdmin false needs sso, or nobody can sign in")
        return self

    @property
    def supplied(self) -> dict[str, tuple[str, ...]]:
        """Entries of the secret store that the operator fills in, with their properties."""
        return {SSO_ENTRY: ("clientSecret",)} if self.enabled and self.sso else {}

    def published_at(self, domain: str) -> str:
        """The host; empty where it is not published."""
        return f"grafana.{domain}" if self.host is None else self.host
