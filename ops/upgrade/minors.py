"""Minor versions of Kubernetes: ranges, the way from one to another, and who may be older than whom."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

# Kubernetes' version skew policy (kubernetes.io/releases/version-skew-policy): kubelet and kube-proxy are at most three
# minors older than the API server since 1.28, and never newer.
OLDEST_NODE: Final = 3

_MINOR: Final = re.compile(r"v?1\.(\d+)")


class VersionError(Exception):
    """A text that is no version of Kubernetes."""


def minor(text: str) -> int:
    """The 35 of ``1.35``, ``v1.35.3-eksbuild.18`` or ``1.35.1-gke.100``.

    Raises:
        VersionError: It names none.
    """
    found = _MINOR.match(text)
    if found is None:
        raise VersionError(f"{text!r} is no version of Kubernetes; write it as 1.36")
    return int(found[1])


def name(number: int) -> str:
    """``1.35`` of 35."""
    return f"1.{number}"


@dataclass(frozen=True)
class Range:
    """Minors from ``oldest`` to ``newest``; None has no end."""

    oldest: int | None = None
    newest: int | None = None

    def __contains__(self, number: int) -> bool:
        return (self.oldest is None or number >= self.oldest) and (self.newest is None or number <= self.newest)

    def __str__(self) -> str:
        if self.oldest is None and self.newest is None:
            return "any"
        if self.newest is None:
            return f"from {name(self.oldest or 0)}"
        if self.oldest is None:
            return f"up to {name(self.newest)}"
        return name(self.oldest) if self.oldest == self.newest else f"{name(self.oldest)}–{name(self.newest)}"  # noqa: RUF001 -- a range's dash

    @property
    def is_empty(self) -> bool:
        """Whether no version is in it."""
        return self.oldest is not None and self.newest is not None and self.oldest > self.newest


def common(ranges: Iterable[Range]) -> Range:
    """What lies in all of them."""
    every = list(ranges)
    return Range(
        max((one.oldest for one in every if one.oldest is not None), default=None),
        min((one.newest for one in every if one.newest is not None), default=None),
    )


def path(current: int, target: int) -> tuple[int, ...]:
    """The minors to go through, the target last; empty where nothing changes or the way leads down."""
    return tuple(range(current + 1, target + 1))


def path_problem(current: int, target: int, known: Iterable[str]) -> str:
    """Why one cannot go from one to the other in one step; empty where one can."""
    if target < current:
        return (
            f"Kubernetes {name(current)} cannot become {name(target)}: no control plane goes down; the way back is a "
            "new cluster, and the backup in it"
        )
    if len(steps := path(current, target)) > 1:
        way = " → ".join(name(number) for number in (current, *steps))
        return f"Kubernetes goes up one minor at a time: {way}; plan {name(steps[0])} first"
    if steps and name(target) not in set(known):
        return f"Kubernetes {name(target)} is not among the versions that this program knows: {', '.join(known)}"
    return ""


def skew_problems(control_plane: int, others: Mapping[str, str]) -> list[str]:
    """What is too old, or newer than the control plane.

    Args:
        control_plane: Its minor version.
        others: Versions of kubelets and of kube-proxy, by what people call them.
    """
    found: list[str] = []
    for what, version in sorted(others.items()):
        behind = control_plane - minor(version)
        if behind < 0:
            found.append(f"{what} ({version}) would be newer than the control plane ({name(control_plane)})")
        elif behind > OLDEST_NODE:
            found.append(
                f"{what} ({version}) would be {behind} minors older than the control plane ({name(control_plane)}); "
                f"{OLDEST_NODE} are allowed: bring it up first"
            )
    return found
