"""The whole program at a glance."""

from components.foundation import build_foundation
from components.outputs import export
from components.settings import load_settings

settings = load_settings()
foundation = build_foundation(settings)
export(foundation)
