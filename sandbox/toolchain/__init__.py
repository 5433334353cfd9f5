"""Tools that the sandbox runs: found, downloaded or built."""
