"""What the engine starts: ``pulumi preview --policy-pack policies``."""

import os
import sys
from pathlib import Path

from pulumi_policy import EnforcementLevel, PolicyPack

# The engine runs this folder as a program; its modules import each other, and the program's, from the checkout.
_HERE = Path(__file__).resolve().parent
sys.path[:] = [str(_HERE.parent), *(one for one in sys.path if Path(one).resolve() != _HERE)]

from policies import pack, registry  # noqa: E402 from the path that was just set

register = pack.register()
rules = pack.rules(register)
PolicyPack(
    pack.NAME,
    registry.pack_of(rules, pack.surroundings(register)),
    enforcement_level=EnforcementLevel.MANDATORY,
    initial_config=pack.configuration(os.environ.get("PULUMI_STACK", ""), rules),
)
