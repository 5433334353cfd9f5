"""Providers whose resources live in the engine's state and nowhere else (``random``, ``tls``)."""

from __future__ import annotations

from collections.abc import Sequence

from sandbox.emulated import differences
from sandbox.provider import CheckFailure, Diff, Provider, ProviderError, Resource
from sandbox.schema import UnknownTypeError, resource_schema, violations
from sandbox.values import Properties, plain


class StateOnlyProvider(Provider):
    """Draws or computes a value once; any changed input makes a new one, as with the real providers."""

    def more_failures(self, inputs: Properties) -> Sequence[CheckFailure]:
        """Return refusals beyond types and required properties."""
        del inputs
        return ()

    def check(
        self, resource: Resource, old: Properties, new: Properties, random_seed: bytes
    ) -> tuple[Properties, Sequence[CheckFailure]]:
        """Hold the inputs against the SDK's types and against each other."""
        del old, random_seed
        try:
            schema = resource_schema(resource.type)
        except UnknownTypeError as error:
            raise ProviderError(str(error)) from error
        inputs = {key: value for key, value in new.items() if value is not None}
        failures = [CheckFailure(path, reason) for path, reason in violations(schema.inputs, inputs)]
        return inputs, [*failures, *self.more_failures(plain(inputs))]

    def diff(self, resource: Resource, resource_id: str, old: Properties, new: Properties, outputs: Properties) -> Diff:
        """Replace on any change."""
        del resource, resource_id, outputs
        return Diff(differences(plain(old), plain(new), sorted({*old, *new})))

    def read(
        self, resource: Resource, resource_id: str, inputs: Properties, outputs: Properties
    ) -> tuple[Properties, Properties] | None:
        """Return the state: the value lives nowhere else."""
        del resource, resource_id
        return inputs, outputs

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
        """Keep the value; only bookkeeping can have changed."""
        del resource, resource_id, old, timeout_seconds, preview
        return {**outputs, **new}

    def delete(
        self, resource: Resource, resource_id: str, inputs: Properties, outputs: Properties, timeout_seconds: float
    ) -> None:
        """Forget the value."""
