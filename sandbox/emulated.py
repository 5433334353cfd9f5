"""What every emulated provider does alike: checks, names, differences, faults and the account's book-keeping."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from sandbox.provider import CheckFailure, Diff, Difference, Provider, ProviderError, Resource
from sandbox.schema import ResourceSchema, UnknownTypeError, resource_schema, violations
from sandbox.store import AlreadyExistsError, Operation, Record, Store
from sandbox.values import Properties, has_unknown, is_list, is_object, plain

_LATENCY_SLICE_SECONDS = 0.2  # how soon a call that waits notices that its fault was cleared


_DEFAULTS: Final = "__defaults"  # where the real provider keeps which inputs it filled in by itself


def decoded(inputs: Properties) -> Properties:
    """Decode the JSON text that the engine passes nested provider configuration as."""
    return {key: _decoded(value) for key, value in inputs.items()}


def _decoded(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in "[{":
        try:
            return json.loads(value)
        except ValueError:
            pass
    return value


def differences(old: Properties, new: Properties, replacing: Sequence[str]) -> list[Difference]:
    """Compare two sets of inputs; properties named in ``replacing`` (``vpcConfig.subnetIds``) replace the resource.

    A name that ends in ``=`` is of that property alone, and not of what is inside it.
    """
    found: list[Difference] = []
    _compare(old, new, "", found, frozenset(replacing))
    return found


def _compare(old: Any, new: Any, path: str, found: list[Difference], replacing: frozenset[str]) -> None:
    if is_object(old) and is_object(new):
        for key in [*old, *(key for key in new if key not in old)]:
            here = f"{path}.{key}" if path else key
            if key.startswith("__"):
                continue
            if old.get(key) is None and new.get(key) is None:
                continue
            _compare(old.get(key), new.get(key), here, found, replacing)
        return
    if is_list(old) and is_list(new) and len(old) == len(new):
        for index, (before_item, after_item) in enumerate(zip(old, new, strict=True)):
            _compare(before_item, after_item, f"{path}[{index}]", found, replacing)
        return
    if old == new and not has_unknown(new):
        return
    kind = "add" if old is None else "delete" if new is None else "update"
    found.append(Difference(path, kind, replaces=_replaces(path, replacing)))


def _replaces(path: str, replacing: frozenset[str]) -> bool:
    bare = re.sub(r"\[\d+\]", "", path)
    if f"{bare}=" in replacing:
        return True
    parts = bare.split(".")
    return any(".".join(parts[:length]) in replacing for length in range(1, len(parts) + 1))


class EmulatedProvider(Provider):
    """A provider whose resources live in a :class:`Store`."""

    # Property that names a resource where it is not ``name``: (property, longest, lower case only).
    named_by: ClassVar[Mapping[str, tuple[str, int]]] = {}
    renamed_in_place: ClassVar[frozenset[str]] = frozenset()
    replacing: ClassVar[Mapping[str, Sequence[str]]] = {}

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    # What a subclass decides

    def new_record(self, resource: Resource, inputs: Properties) -> Record:
        """Return what creating with these inputs brings into being."""
        raise NotImplementedError

    def preview_outputs(self, resource: Resource, inputs: Properties) -> Properties:
        """Return the outputs as far as they are known before anything is created."""
        raise NotImplementedError

    def updated_outputs(self, resource: Resource, record: Record, new: Properties, *, preview: bool) -> Properties:
        """Return the outputs after an update in place."""
        raise NotImplementedError

    def replaced_by(self, resource: Resource, old: Properties, new: Properties) -> Sequence[str]:
        """Return the properties whose change replaces, besides the name."""
        del old, new
        return self.replacing.get(resource.type, ())

    def refuse_create(self, resource: Resource, inputs: Properties) -> str | None:
        """Return the cloud's reason not to create, if what exists (or does not) gives it one."""
        del resource, inputs

    def refuse_delete(self, record: Record) -> str | None:
        """Return the cloud's reason not to delete, if it has one."""
        del record

    def more_failures(self, resource: Resource, inputs: Properties) -> Sequence[CheckFailure]:
        """Return refusals beyond types and required properties."""
        del resource, inputs
        return ()

    # The protocol

    def check(
        self, resource: Resource, old: Properties, new: Properties, random_seed: bytes
    ) -> tuple[Properties, Sequence[CheckFailure]]:
        """Hold the inputs against the SDK's types and give the resource a name where it has none."""
        schema = self._schema(resource)
        inputs = {key: value for key, value in new.items() if value is not None}
        self._name(resource, schema, old, inputs, random_seed)
        failures = [CheckFailure(path, reason) for path, reason in violations(schema.inputs, inputs)]
        return inputs, failures or self.more_failures(resource, plain(inputs))

    def _schema(self, resource: Resource) -> ResourceSchema:
        try:
            return resource_schema(resource.type)
        except UnknownTypeError as error:
            raise ProviderError(str(error)) from error

    def _name(
        self, resource: Resource, schema: ResourceSchema, old: Properties, inputs: Properties, random_seed: bytes
    ) -> None:
        name, longest = self.named_by.get(resource.type, ("name", 255))
        spec = schema.inputs.get(name)
        if spec is None or spec.required or spec.type.kind != "string":
            return
        if inputs.get(name) is not None or inputs.get(f"{name}Prefix") is not None:
            return
        suffix = f"-{random_seed.hex()[:7]}"
        inputs[name] = old.get(name) or f"{resource.name[: longest - len(suffix)]}{suffix}"
        inputs[_DEFAULTS] = [name]

    def diff(self, resource: Resource, resource_id: str, old: Properties, new: Properties, outputs: Properties) -> Diff:
        """Compare inputs; a changed name replaces, as do the properties that the real provider replaces for."""
        del resource_id, outputs
        name, _ = self.named_by.get(resource.type, ("name", 255))
        renaming = () if resource.type in self.renamed_in_place else (name, f"{name}Prefix")
        old, new = plain(old), plain(new)
        found = differences(old, new, (*renaming, *self.replaced_by(resource, old, new)))
        # A name that the program fixes is still taken when the replacement is made.
        fixed = name in new and new[name] == old.get(name) and name not in new.get(_DEFAULTS, ())
        replaces = any(difference.replaces for difference in found)
        return Diff(found, delete_before_replace=replaces and fixed)

    def create(
        self, resource: Resource, inputs: Properties, timeout_seconds: float, *, preview: bool
    ) -> tuple[str, Properties]:
        """Create in the account, or adopt what a killed update created."""
        del timeout_seconds
        if preview:
            return "", self.preview_outputs(resource, inputs)
        self._strike(resource, "create")
        inputs = plain(inputs)
        orphan = self._store.orphan_of(resource.urn)
        if orphan is not None and not any(
            d.replaces for d in self.diff(resource, orphan.id, orphan.inputs, inputs, {}).differences
        ):
            outputs = self.updated_outputs(resource, orphan, inputs, preview=False)
            self._store.update(Record(orphan.type, orphan.id, orphan.urn, orphan.region, inputs, outputs))
            self.log("info", resource.urn, f"sandbox: took over {orphan.id}, which an interrupted update had created")
            return orphan.id, outputs
        self._hold_quota(resource)
        if refusal := self.refuse_create(resource, inputs):
            raise ProviderError(f"creating {resource.type} ({resource.name}): {refusal}")
        record = self.new_record(resource, inputs)
        try:
            self._store.insert(record)
        except AlreadyExistsError as error:
            raise ProviderError(
                f"creating {resource.type} ({record.id}): it already exists in the sandbox's account; "
                "import it, choose another name, or remove it with `python -m sandbox account delete`"
            ) from error
        return record.id, record.outputs

    def _hold_quota(self, resource: Resource) -> None:
        most = self._store.quotas().get(resource.type)
        if most is not None and len(self._store.records(resource.type)) >= most:
            raise ProviderError(
                f"creating {resource.type}: LimitExceeded: you have reached the limit of {most}; "
                "request an increase in Service Quotas"
            )

    def read(
        self, resource: Resource, resource_id: str, inputs: Properties, outputs: Properties
    ) -> tuple[Properties, Properties] | None:
        """Return what the account holds."""
        del inputs, outputs
        self._strike(resource, "read")
        record = self._store.find(resource.type, resource_id, resource.urn) or self._store.find(
            resource.type, resource_id
        )
        if record is None:
            return None
        return record.inputs, record.outputs

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
        """Update in place."""
        del old, timeout_seconds
        if not preview:
            self._strike(resource, "update")
        live = self._store.find(resource.type, resource_id, resource.urn)
        if live is None and not preview:
            raise ProviderError(f"updating {resource.type} ({resource_id}): not found; run a refresh")
        record = live or Record(resource.type, resource_id, resource.urn, "", {}, plain(outputs))
        updated = self.updated_outputs(resource, record, new if preview else plain(new), preview=preview)
        if not preview:
            self._store.update(Record(record.type, record.id, record.urn, record.region, plain(new), updated))
        return updated

    def delete(
        self, resource: Resource, resource_id: str, inputs: Properties, outputs: Properties, timeout_seconds: float
    ) -> None:
        """Delete, unless the cloud would refuse."""
        del inputs, outputs, timeout_seconds
        self._strike(resource, "delete")
        record = self._store.find(resource.type, resource_id, resource.urn)
        if record is None:
            return
        if refusal := self.refuse_delete(record):
            raise ProviderError(f"deleting {resource.type} ({resource_id}): {refusal}")
        self._store.delete(record.type, record.id, record.urn)

    def _strike(self, resource: Resource, operation: Operation) -> None:
        fault = self._store.strike(resource.type, resource.name, operation)
        if fault is None:
            return
        waits_until = time.monotonic() + fault.latency_seconds
        while (left := waits_until - time.monotonic()) > 0 and self._store.is_armed(fault):
            time.sleep(min(left, _LATENCY_SLICE_SECONDS))
        if fault.error:
            raise ProviderError(f"{operation} {resource.type} ({resource.name}): {fault.error}")
