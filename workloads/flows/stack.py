"""What the platform must know of datasets, fine-tunes and releases before they exist: follows from the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from components.platform.openings import Opening
from components.settings.datasets import DatasetSettings
from components.settings.fine_tunes import FineTuneSettings
from components.settings.root import Settings
from workloads.evaluation import steps as evaluation
from workloads.flows import judge_key
from workloads.preprocess import job as preprocess
from workloads.training.jobs import openings as training_openings
from workloads.training.plan import Plan, Refusal
from workloads.training.rules import plans


@dataclass(frozen=True, kw_only=True)
class StackFlows:
    """Datasets, fine-tunes and releases of a stack.

    Attributes:
        datasets: The datasets.
        fine_tunes: The fine-tunes.
        plans: What their trainings ask for, by name.
        openings: Ways that their pods need, beside those of their namespaces.
        entries: Entries of the secret store that are read for them.
    """

    datasets: Sequence[DatasetSettings] = ()
    fine_tunes: Sequence[FineTuneSettings] = ()
    plans: Mapping[str, Plan] = field(default_factory=dict[str, Plan])
    openings: Sequence[Opening] = ()
    entries: Sequence[str] = ()


def stack_flows(
    settings: Settings, *, datasets: Sequence[DatasetSettings], fine_tunes: Sequence[FineTuneSettings]
) -> StackFlows:
    """Those of settings that were accepted."""
    found: dict[str, Plan] = {}
    for name, planned in plans(settings, fine_tunes).items():
        # Settings with such a fine-tune are refused when they are read.
        assert not isinstance(planned, Refusal), planned
        found[name] = planned
    asked = judge_key.asking(fine_tunes)
    return StackFlows(
        datasets=datasets,
        fine_tunes=fine_tunes,
        plans=found,
        openings=(
            *(preprocess.OPENINGS if datasets else ()),
            *training_openings(fine_tunes),
            *(evaluation.OPENINGS if any(one.release and one.evaluation for one in fine_tunes) else ()),
            *(judge_key.OPENINGS if asked else ()),
        ),
        entries=(judge_key.ENTRY,) if asked else (),
    )
