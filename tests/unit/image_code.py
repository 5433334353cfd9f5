"""Makes the code of our images importable as it is in them; import this first."""

from __future__ import annotations

import sys

from workloads.images import ROOT

# As PYTHONPATH of the images has it.
for _name in ("release", "engine", "training"):
    _place = str(ROOT / "workloads" / _name / "image")
    if _place not in sys.path:
        sys.path.append(_place)
