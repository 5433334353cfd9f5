"""Keep the key of retrieval at the model gateway as it is declared. It runs in a pod, with Python's own library.

``python3 keys_pod.py key.json``, beside ``reconcile.py`` of the gateway, with ``LITELLM_URL``, ``LITELLM_MASTER_KEY``
and ``RETRIEVAL_KEY`` in the environment. Running it again changes nothing that is as declared.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any


def keep(gateway: Any, key: str, wanted: dict[str, Any]) -> str:
    """Make the key, or bring it to what is declared; returns what was done.

    Args:
        gateway: ``reconcile.Gateway``.
        key: Its value, as the secret store has it.
        wanted: Its alias, models and budget.
    """
    if gateway.knows_key(key):
        gateway.update_key(key, wanted)
        return "as declared"
    gateway.delete_key(wanted["key_alias"])  # with another value: its alias would be taken
    gateway.create_key(key, wanted)
    return "made"


def main() -> int:
    """Read the declaration, bring it about, say what was done."""
    # It is beside this file in the pod, and nowhere else.
    made: Any = importlib.import_module("reconcile").Gateway

    wanted = json.loads(Path(sys.argv[1]).read_text())
    gateway = made(os.environ["LITELLM_URL"], os.environ["LITELLM_MASTER_KEY"])
    print(f"key {wanted['key_alias']}: {keep(gateway, os.environ['RETRIEVAL_KEY'], wanted)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
