"""What cannot work of the declared models, found with the settings: paths and messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from components.settings.root import Settings

SECTIONS: Final = frozenset(
    {
        "aws",
        "cloud",
        "files",
        "gcp",
        "hosted_models",
        "models",
        "node_groups",
        "onprem",
        "platform",
        "registry",
        "teams",
        "workloads",
    }
)
"""What the rules read."""


def models(settings: Settings) -> Iterator[tuple[str, str]]:
    """Everything that cannot work of the models; a model is planned as it will be deployed."""
    from workloads.models import stack_rules  # noqa: PLC0415 it reads sections of the package that imports this module

    yield from stack_rules.problems(settings)
