"""Where the platform is installed: what every system of it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components.contract import ROLE_LABEL, Foundation
from components.platform.openings import Namespace
from components.settings.platform import PlatformSettings
from components.settings.teams import TeamSettings


@dataclass(frozen=True, kw_only=True)
class Site:
    """What a system needs to know of its surroundings.

    Attributes:
        foundation: What the platform stands on.
        settings: The platform's settings.
        teams: Who uses it.
        owner: Team that answers for the stack.
        namespaces: For each namespace what must exist before something runs there: itself, its quota, its policies.
    """

    foundation: Foundation
    settings: PlatformSettings
    teams: tuple[TeamSettings, ...]
    owner: str
    namespaces: Mapping[Namespace, tuple[pulumi.Resource, ...]]

    @property
    def highly_available(self) -> bool:
        """Whether controllers have replicas on different nodes."""
        return self.settings.highly_available

    @property
    def replicas(self) -> int:
        """Replicas of a controller that elects a leader or shares its work."""
        return 2 if self.highly_available else 1

    @property
    def system_nodes(self) -> dict[str, str]:
        """Node selector of the platform's own pods."""
        return {ROLE_LABEL: "system"}
