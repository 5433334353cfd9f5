"""Why a run ends, other than by being done."""

from __future__ import annotations


class ConfigurationError(Exception):
    """The configuration cannot work; exit code 2."""


class RefusedError(Exception):
    """A rule of the dataset says no; exit code 3."""
