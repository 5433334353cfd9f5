"""What the stack declares of itself: its settings, read by the program's own code, so that the two cannot disagree.

The engine hands a pack the stack's configuration as it hands it to the program. So a limit has one home,
``Pulumi.<stack>.yaml``, and a pack needs no copy of it.
"""

from __future__ import annotations

from functools import cache

from components.settings import Settings, load_settings


@cache
def settings() -> Settings:
    """The stack's settings.

    Raises:
        SettingsError: They cannot work. The program is refused for the same reason, before its first resource.
    """
    return load_settings()
