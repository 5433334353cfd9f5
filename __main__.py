"""The whole program at a glance."""

import pulumi

from components.air_gap import close
from components.foundation import build_foundation
from components.outputs import export
from components.platform.platform import Platform, PlatformArgs
from components.settings import load_settings
from workloads.stack import run, stack_workloads

settings = load_settings()
settings = close(settings, settings.air_gap)
foundation = build_foundation(settings)
declared = stack_workloads(settings, prefix=f"{pulumi.get_project()}-{pulumi.get_stack()}")
platform = Platform(
    "platform",
    PlatformArgs(
        foundation=foundation,
        settings=settings,
        models=declared.gateway,
        openings=declared.openings,
        objectives=declared.models.objectives,
        entries=declared.entries,
        allowances=declared.allowances,
    ),
)
export(foundation, run(declared, settings, platform))
