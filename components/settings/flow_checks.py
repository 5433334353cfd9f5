"""What cannot work of datasets, fine-tunes, releases and retrievals, found with the settings: paths and messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from components.settings import retrieval

if TYPE_CHECKING:
    from components.settings.root import Settings

SECTIONS: Final = frozenset(
    {
        "cloud",
        "datasets",
        "fine_tunes",
        "hosted_models",
        "models",
        "node_groups",
        "onprem",
        "platform",
        "registry",
        "retrievals",
        "teams",
    }
)
"""What the rules read."""


def flows(settings: Settings) -> Iterator[tuple[str, str]]:
    """Everything that cannot work of them."""
    from workloads.flows import rules as releases  # noqa: PLC0415 they read the package that imports this module
    from workloads.preprocess import rules as datasets  # noqa: PLC0415
    from workloads.training import rules as training  # noqa: PLC0415

    yield from datasets.problems(settings, settings.datasets)
    yield from training.problems(settings, settings.fine_tunes, settings.datasets)
    yield from releases.problems(settings, settings.fine_tunes)
    yield from retrieval.problems(
        settings.retrievals, hosted=settings.hosted_models, models=settings.models, platform=settings.platform
    )
