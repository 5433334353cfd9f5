"""The whole program at a glance."""

from components.foundation import build_foundation
from components.outputs import export
from components.platform.platform import Platform, PlatformArgs
from components.settings import load_settings

settings = load_settings()
foundation = build_foundation(settings)
platform = Platform("platform", PlatformArgs(foundation=foundation, settings=settings))
export(foundation)
