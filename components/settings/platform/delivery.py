"""Delivery from Git (Argo CD)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.settings.base import Name, Section

DeliveryMode = Literal["pulumi", "argocd"]
"""Who applies a workload's Kubernetes objects: this program, or Argo CD from Git."""

GitUrl = Annotated[str, Field(pattern=r"^(https://|git@|ssh://)\S+$")]
HostName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$")]
# A folder inside the repository: neither absolute nor leaving it, and without what a glob would read.
Folder = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$")]

# Argo CD writes groups into lines of its policy without quoting them.
Group = Annotated[str, Field(pattern=r'^[^,"\s][^,"\r\n]*$')]

REPOSITORY_ENTRY = "argocd-repository"
"""Entry of the secret store with the credentials of the Git repository."""

SSO_ENTRY = "argocd-sso"
"""Entry of the secret store with the client secret of the sign-in."""


class RepositorySettings(Section):
    """The Git repository that Argo CD deploys from.

    Attributes:
        url: Such as ``https://github.com/acme/platform.git``.
        revision: Branch, tag or commit.
        path: Folder of the rendered workloads: ``<path>/<stack>/<workload>``. ``make render`` owns ``<path>/<stack>``
            and removes what it did not write.
        applications_path: Folder of what people write by hand: each folder in
            ``<applicationsPath>/<stack>/team-<name>`` is an application of that team, each in
            ``<applicationsPath>/<stack>/platform`` one of the platform.
        credentials: How to read a private repository; the values are in the secret store's entry
            ``argocd-repository``. ``https``: ``username``, ``password``; ``ssh``: ``sshPrivateKey``; ``github-app``:
            ``githubAppID``, ``githubAppInstallationID``, ``githubAppPrivateKey``.
        credentials_url: The credentials hold for every repository whose URL begins so, such as
            ``https://github.com/acme``; empty for this repository alone.
    """

    url: GitUrl
    revision: Annotated[str, Field(min_length=1)] = "main"
    path: Folder = "deploy"
    applications_path: Folder = "applications"
    credentials: Literal["none", "https", "ssh", "github-app"] = "none"
    credentials_url: str = ""

    @model_validator(mode="after")
    def _folders_are_apart(self) -> RepositorySettings:
        first, second = f"{self.path}/", f"{self.applications_path}/"
        if first.startswith(second) or second.startswith(first):
            raise ValueError(f"path {self.path} and applicationsPath {self.applications_path} must lie apart")
        return self

    @model_validator(mode="after")
    def _credentials_fit_the_url(self) -> RepositorySettings:
        if self.credentials != "none" and (self.credentials == "ssh") == self.url.startswith("https://"):
            raise ValueError(f"credentials {self.credentials} cannot be used with the url {self.url}")
        if self.credentials_url and (self.credentials == "none" or not self.url.startswith(self.credentials_url)):
            raise ValueError("credentialsUrl must be a beginning of url, and needs credentials")
        return self

    @property
    def credential_properties(self) -> tuple[str, ...]:
        """What the entry of the secret store holds."""
        match self.credentials:
            case "none":
                return ()
            case "https":
                return ("username", "password")
            case "ssh":
                return ("sshPrivateKey",)
            case "github-app":
                return ("githubAppID", "githubAppInstallationID", "githubAppPrivateKey")


class SsoSettings(Section):
    """Sign-in by OpenID Connect. The client secret is property ``clientSecret`` of the entry ``argocd-sso``.

    Attributes:
        name: Label of the sign-in button.
        issuer: URL of the issuer, as its tokens carry it.
        client_id: Argo CD's client id there; its redirect URI is ``https://<host>/auth/callback``.
        scopes: What is asked for.
        groups_claim: Claim of the token that lists the person's groups.
        role_groups: Group that holds a role, where the issuer names it otherwise than the cluster.
        team_groups: Group of a team, by team, where the issuer names it otherwise than the cluster.
    """

    name: str = "Single sign-on"
    issuer: Annotated[str, Field(pattern=r"^https://\S+$")]
    client_id: Annotated[str, Field(min_length=1)]
    scopes: tuple[str, ...] = ("openid", "profile", "email", "groups")
    groups_claim: Annotated[str, Field(pattern=r"^[A-Za-z0-9_:/.-]+$")] = "groups"
    role_groups: dict[Literal["platform-admin", "ml-engineer", "viewer"], Group] = Field(default_factory=dict)
    team_groups: dict[Name, Group] = Field(default_factory=dict)


class DeliverySettings(Section):
    """Delivery from Git (Argo CD).

    Attributes:
        enabled: Install it.
        mode: Who applies a workload that does not say so itself: ``pulumi``, or ``argocd`` from the repository.
        host: Name under which the gateway serves it; empty: by port-forward only.
        local_admin: Keep the account ``admin``, whose password is in the secret store's entry ``argocd-admin``.
        sso: Sign-in by OpenID Connect.
        repository: Where workloads are delivered from.
        self_heal: Undo by itself what somebody changes in the cluster.
        prune: Delete by itself what is no longer in Git.
    """

    enabled: bool = True
    mode: DeliveryMode = "pulumi"
    host: HostName | Literal[""] = ""
    local_admin: bool = True
    sso: SsoSettings | None = None
    repository: RepositorySettings | None = None
    self_heal: bool = True
    prune: bool = True

    @model_validator(mode="after")
    def _parts_fit(self) -> DeliverySettings:
        if self.mode == "argocd" and not (self.enabled and self.repository):
            raise ValueError("mode argocd needs delivery.enabled and delivery.repository")
        if self.sso and not self.host:
            raise ValueError("sso needs delivery.host: the issuer sends people back there")
        if not self.sso and not self.local_admin:
            raise ValueError("localAdmin false needs delivery.sso, or nobody can sign in")
        return self

    @property
    def supplied(self) -> dict[str, tuple[str, ...]]:
        """Entries of the secret store that the operator fills in, with their properties."""
        if not self.enabled:
            return {}
        entries: dict[str, tuple[str, ...]] = {}
        if self.repository and self.repository.credential_properties:
            entries[REPOSITORY_ENTRY] = self.repository.credential_properties
        if self.sso:
            entries[SSO_ENTRY] = ("clientSecret",)
        return entries
