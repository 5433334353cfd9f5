"""The whole program at a glance."""

import pulumi

from components.foundation import build_foundation
from components.outputs import export
from components.platform.platform import Platform, PlatformArgs
from components.settings import load_settings
from workloads.models.component import Models, ModelsArgs
from workloads.models.stack import stack_models

settings = load_settings()
foundation = build_foundation(settings)
declared = stack_models(settings, prefix=f"{pulumi.get_project()}-{pulumi.get_stack()}")
platform = Platform(
    "platform",
    PlatformArgs(
        foundation=foundation,
        settings=settings,
        models=declared.gateway,
        openings=declared.openings,
        objectives=declared.objectives,
    ),
)
models = Models(
    "models",
    ModelsArgs(
        site=platform.site,
        specs=declared.specs,
        plans=declared.plans,
        after=platform.installed.serving,
        gateway=platform.installed.model_gateway,
        rules=platform.installed.rules,
        team_namespaces=platform.team_namespaces,
    ),
)
export(foundation, models.outputs)
