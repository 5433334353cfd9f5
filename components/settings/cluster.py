"""The Kubernetes cluster: version, who may reach it, add-ons."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationInfo, field_validator

from components import versions
from components.settings.base import Cidr, LogDays, Section, Version
from components.versions import AddonName

AccessPolicy = Literal["platform-admin", "ml-engineer", "viewer", "cluster-admin", "admin", "edit", "view"]

CONFINABLE: Final = ("admin", "edit", "view")


class AccessSettings(Section):
    """One IAM principal that may use the cluster.

    Attributes:
        principal_arn: IAM role or user.
        policy: Who it is to the platform: ``platform-admin`` runs it, ``ml-engineer`` works with jobs and models,
            ``viewer`` reads (docs/isolation.md). Or a policy of EKS, which knows nothing of the platform:
            ``cluster-admin`` may do everything, ``admin`` and ``edit`` work in namespaces, ``view`` reads. Unset for
            somebody who belongs to teams and is nothing beyond that.
        namespaces: Only these namespaces; empty for the whole cluster. Only with a policy of EKS.
        teams: Teams that it belongs to, by name; it works in their namespaces.
    """

    principal_arn: Annotated[str, Field(pattern=r"^arn:aws:iam::\d{12}:(role|user)/.+$")]
    policy: AccessPolicy | None = None
    namespaces: tuple[str, ...] = ()
    teams: Annotated[tuple[str, ...], Field(validate_default=True)] = ()

    @field_validator("namespaces")
    @classmethod
    def _only_what_eks_can_confine_is_confined(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        policy = info.data.get("policy")
        if value and policy not in CONFINABLE:
            raise ValueError(f"must be empty with policy {policy}; only {', '.join(CONFINABLE)} can be confined")
        return value

    @field_validator("teams")
    @classmethod
    def _everybody_may_do_something(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not value and "policy" in info.data and info.data["policy"] is None:
            raise ValueError("must name a team where there is no policy, or the entry lets nobody do anything")
        if len(set(value)) < len(value):
            raise ValueError("must name each team once")
        return value


class ClusterSettings(Section):
    """The EKS cluster.

    Attributes:
        kubernetes_version: Minor version; a change upgrades the control plane, then the node groups. EKS goes up one
            minor version at a time, and never down.
        service_cidr: Addresses of Kubernetes services; outside the VPC. A change replaces the cluster.
        public_access_cidrs: Networks that may reach the API server from outside the VPC; empty makes it private.
        access: Who may use the cluster, besides the principal that created it, which must not be named here: EKS has
            made its entry already.
        support: ``extended`` keeps an old version for 0.60 USD an hour instead of 0.10. With ``standard`` EKS upgrades
            by itself when a version's time is over; raise kubernetesVersion before that.
        log_retention_days: How long control-plane logs are kept, audit among them.
        addon_versions: Overrides of the pinned add-on versions, by add-on name.
    """

    kubernetes_version: Version = versions.KUBERNETES
    service_cidr: Cidr = "172.20.0.0/16"
    public_access_cidrs: tuple[Cidr, ...] = ()
    access: tuple[AccessSettings, ...] = ()
    support: Literal["standard", "extended"] = "standard"
    log_retention_days: LogDays = 90
    addon_versions: dict[AddonName, Version] = Field(default_factory=dict[AddonName, str])

    @field_validator("kubernetes_version")
    @classmethod
    def _version_is_supported(cls, value: str) -> str:
        if value not in versions.KUBERNETES_SUPPORTED:
            raise ValueError(f"must be one of {', '.join(versions.KUBERNETES_SUPPORTED)}; got {value}")
        return value

    @field_validator("service_cidr")
    @classmethod
    def _service_range_is_what_eks_takes(cls, value: str) -> str:
        network = ipaddress.IPv4Network(value)
        allowed = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
        inside = any(network.subnet_of(ipaddress.IPv4Network(block)) for block in allowed)
        if not inside or not 12 <= network.prefixlen <= 24:
            raise ValueError(f"must be a /12 to /24 in {', '.join(allowed)}; got {value}")
        return value

    @field_validator("public_access_cidrs")
    @classmethod
    def _internet_is_not_a_list(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wide := [cidr for cidr in value if ipaddress.IPv4Network(cidr).prefixlen < 8]:
            raise ValueError(f"must name networks of your own, /8 or smaller; got {', '.join(wide)}")
        blocks = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
        private = [c for c in value if any(ipaddress.IPv4Network(c).overlaps(ipaddress.IPv4Network(b)) for b in blocks)]
        if private:
            raise ValueError(
                f"must be public addresses, as the internet sees yours; got {', '.join(private)}, and from inside the "
                "VPC the private endpoint is always open"
            )
        return value

    @field_validator("access")
    @classmethod
    def _principals_are_named_once(cls, value: tuple[AccessSettings, ...]) -> tuple[AccessSettings, ...]:
        counts = Counter(one.principal_arn for one in value)
        if twice := [arn for arn, count in counts.items() if count > 1]:
            raise ValueError(f"must name each principal once, as EKS does; {', '.join(twice)} comes twice")
        return value

    @field_validator("addon_versions")
    @classmethod
    def _addon_versions_are_builds(cls, value: dict[AddonName, str]) -> dict[AddonName, str]:
        if wrong := [f"{name} {v}" for name, v in value.items() if not re.fullmatch(r"v[\d.]+-eksbuild\.\d+", v)]:
            raise ValueError(f"must be versions such as v1.2.3-eksbuild.4; got {', '.join(wrong)}")
        return value

    @property
    def addons(self) -> dict[AddonName, str]:
        """Version of every add-on: the pinned ones, with the overrides laid over them."""
        return {**versions.EKS_ADDONS, **self.addon_versions}
