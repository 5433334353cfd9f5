"""``python -m sandbox -- pulumi up -s dev``."""

from sandbox.cli import main

main()
