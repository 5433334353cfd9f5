"""What a provider of the sandbox is: one small Python class that deals in plain dictionaries.

:mod:`sandbox.serving` turns the engine's calls into those of :class:`Provider`. Errors for the user are raised as
:class:`ProviderError`: they reach the engine's output word for word.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pulumi.runtime.proto import provider_pb2

from sandbox.values import Properties


class ProviderError(Exception):
    """A refusal that the user should read as it is."""


class PartialFailure(ProviderError):  # noqa: N818 the resource exists: not wholly an error
    """The resource exists, but did not become what was asked for; it is kept in the state.

    Attributes:
        resource_id: Identifier of what was created.
        outputs: Its state as far as it is known.
    """

    def __init__(self, message: str, resource_id: str, outputs: Properties) -> None:
        super().__init__(message)
        self.resource_id = resource_id
        self.outputs = outputs


@dataclass(frozen=True)
class Resource:
    """Which resource a call is about."""

    urn: str

    @property
    def type(self) -> str:
        """Type token, such as ``aws:ec2/vpc:Vpc``."""
        return self.urn.split("::")[2].split("$")[-1]

    @property
    def name(self) -> str:
        """Logical name in the program."""
        return self.urn.split("::", 3)[3]


@dataclass(frozen=True)
class CheckFailure:
    """One refused input.

    Attributes:
        property: Path such as ``scalingConfig.maxSize``; empty for the resource as a whole.
        reason: What is wrong and what is allowed.
    """

    property: str
    reason: str


ChangeKind = Literal["add", "delete", "update"]


@dataclass(frozen=True)
class Difference:
    """One changed property; the path is Pulumi's (``tags.Name``, ``ingress[0].cidrBlocks``)."""

    path: str
    kind: ChangeKind
    replaces: bool = False


@dataclass(frozen=True)
class Diff:
    """What would change between the last inputs and the new ones."""

    differences: Sequence[Difference] = field(default_factory=tuple[Difference, ...])
    delete_before_replace: bool = False


class Provider:
    """What a provider of the sandbox answers; override what differs."""

    name: str = ""
    components: bool = False  # constructs components; the engine then insists on secrets, resources and outputs

    def __init__(self) -> None:
        self.log: Callable[[str, str, str], None] = lambda _severity, _urn, _message: None

    @property
    def version(self) -> str:
        """Version of the SDK that the program uses: the engine compares the two."""
        return importlib.metadata.version(f"pulumi_{self.name}")

    def check_config(self, inputs: Properties) -> Sequence[CheckFailure]:
        """Refuse a provider configuration that cannot work."""
        return ()

    def configure(self, inputs: Properties) -> None:
        """Take the configuration of this provider instance."""

    def check(
        self, resource: Resource, old: Properties, new: Properties, random_seed: bytes
    ) -> tuple[Properties, Sequence[CheckFailure]]:
        """Validate and complete the inputs (``old`` is empty for a new resource); unknowns are ``UNKNOWN``."""
        return new, ()

    def diff(self, resource: Resource, resource_id: str, old: Properties, new: Properties, outputs: Properties) -> Diff:
        """Compare the last checked inputs with the new ones."""
        raise NotImplementedError

    def create(
        self, resource: Resource, inputs: Properties, timeout_seconds: float, *, preview: bool
    ) -> tuple[str, Properties]:
        """Create; in preview the identifier may be empty and outputs ``UNKNOWN``."""
        raise NotImplementedError

    def read(
        self, resource: Resource, resource_id: str, inputs: Properties, outputs: Properties
    ) -> tuple[Properties, Properties] | None:
        """Return live (inputs, outputs), or None where the resource is gone. ``inputs`` is empty on import."""
        raise NotImplementedError

    def update(
        self,
        resource: Resource,
        resource_id: str,
        old: Properties,
        new: Properties,
        outputs: Properties,
        timeout_seconds: float,
        *,
        preview: bool,
    ) -> Properties:
        """Update in place and return the new outputs."""
        raise NotImplementedError

    def delete(
        self, resource: Resource, resource_id: str, inputs: Properties, outputs: Properties, timeout_seconds: float
    ) -> None:
        """Delete; deleting what is gone already succeeds."""
        raise NotImplementedError

    def invoke(self, token: str, arguments: Properties) -> tuple[Properties, Sequence[CheckFailure]]:
        """Answer a data source."""
        raise ProviderError(f"the sandbox has no data source {token}; see docs/sandbox.md for those it answers")

    def construct(self, request: provider_pb2.ConstructRequest) -> provider_pb2.ConstructResponse:
        """Build a component; only component providers have this."""
        raise ProviderError(f"the sandbox's {self.name} provider has no components; asked for {request.type}")
