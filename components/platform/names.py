"""Names that flow: whoever refers to an object by its name waits for the object."""

from __future__ import annotations

from typing import Any, Protocol

import pulumi


class Named(Protocol):
    """Any Kubernetes object."""

    @property
    def metadata(self) -> pulumi.Output[Any]:
        """Its metadata."""
        ...


def name_of(named: Named) -> pulumi.Output[str]:
    """The name of an object, known when the object is there."""
    return named.metadata.apply(lambda found: str(found.name))
