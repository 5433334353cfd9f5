"""The ``gcp`` provider of the sandbox."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from sandbox.emulated import EmulatedProvider, decoded
from sandbox.emulated_outputs import complete, updated
from sandbox.gcp import names
from sandbox.gcp.changes import replacing, sometimes
from sandbox.gcp.data_sources import DATA_SOURCES, answer
from sandbox.gcp.identifiers import Place, identifier, is_global, self_link
from sandbox.gcp.outputs import known_outputs, text_for
from sandbox.gcp.replacements import RENAMED_IN_PLACE
from sandbox.gcp.rules import refused_inputs
from sandbox.gcp.states import refusal_to_create, refusal_to_delete, spent_by
from sandbox.provider import CheckFailure, ProviderError, Resource
from sandbox.store import Record, Store
from sandbox.values import UNKNOWN, Properties, has_unknown, is_list, is_object, plain

_PROJECT: Final = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")  # Resource Manager, "Creating and managing projects"
_REGION: Final = re.compile(r"[a-z]+-[a-z]+\d+")
_VERSION: Final = "gcp:secretmanager/secretVersion:SecretVersion"


class GcpProvider(EmulatedProvider):
    """Keeps Google Cloud resources in the sandbox's account."""

    name = "gcp"
    renamed_in_place = RENAMED_IN_PLACE
    named_by: ClassVar[Mapping[str, tuple[str, int]]] = names.NAMED_BY

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._place = Place()
        self._default_labels: dict[str, str] = {}
        self._attribution = True

    def check_config(self, inputs: Properties) -> Sequence[CheckFailure]:
        """Refuse a project or a region that cannot be one."""
        rules = {"project": (_PROJECT, "a project id"), "region": (_REGION, "a region of Google Cloud")}
        return [
            CheckFailure(key, f"{inputs[key]!r} is not {what}")
            for key, (pattern, what) in rules.items()
            if isinstance(inputs.get(key), str) and not pattern.fullmatch(inputs[key])
        ]

    def configure(self, inputs: Properties) -> None:
        """Take project, region, zone and default labels."""
        inputs = decoded(plain(inputs))
        given = {key: inputs[key] for key in ("project", "region", "zone") if isinstance(inputs.get(key), str)}
        self._place = Place(**given)
        self._default_labels = inputs.get("defaultLabels") or {}
        self._attribution = inputs.get("addPulumiAttributionLabel") not in (False, "false")

    def check(
        self, resource: Resource, old: Properties, new: Properties, random_seed: bytes
    ) -> tuple[Properties, Sequence[CheckFailure]]:
        """Hold the inputs against types and rules; names that are made up are of the form that the service takes."""
        inputs, failures = super().check(resource, old, new, random_seed)
        return names.tidied(resource.type, inputs, new), failures

    def more_failures(self, resource: Resource, inputs: Properties) -> Sequence[CheckFailure]:
        """Refuse what Google Cloud refuses although the types are right."""
        return refused_inputs(resource.type, inputs)

    def replaced_by(self, resource: Resource, old: Properties, new: Properties) -> Sequence[str]:
        """Return the properties whose change replaces, for all values or for these."""
        return (*replacing(resource.type), *sometimes(resource.type, old, new))

    def refuse_create(self, resource: Resource, inputs: Properties) -> str | None:
        """Refuse what needs something that is not there, and names that cannot be had again."""
        return refusal_to_create(resource.type, self._identifier(resource, inputs), inputs, self._store)

    def refuse_delete(self, record: Record) -> str | None:
        """Refuse what is protected, not empty or in use."""
        return refusal_to_delete(record, self._store.records)

    def delete(
        self, resource: Resource, resource_id: str, inputs: Properties, outputs: Properties, timeout_seconds: float
    ) -> None:
        """Delete; what the cloud keeps under its name for ever, or for days, stays known."""
        super().delete(resource, resource_id, inputs, outputs, timeout_seconds)
        if reason := spent_by(resource.type):
            self._store.spend(resource.type, resource_id, reason)

    def _identifier(self, resource: Resource, inputs: Properties) -> str:
        versions = 0
        if resource.type == _VERSION:
            siblings = [r.outputs for r in self._store.records(_VERSION) if r.inputs.get("secret") == inputs["secret"]]
            versions = max((int(outputs["version"]) for outputs in siblings), default=0)
        return identifier(resource.type, self._place, inputs, versions)

    def _labels(self, fields: Mapping[str, Any], inputs: Properties) -> Properties:
        labels: Any = inputs.get("labels", inputs.get("resourceLabels", {}))
        if not is_object(labels):  # unknown as a whole
            return dict.fromkeys(("pulumiLabels", "effectiveLabels") & fields.keys(), UNKNOWN)
        merged = {**self._default_labels, **labels}
        attributed = {"goog-pulumi-provisioned": "true"} if self._attribution else {}
        given = {"pulumiLabels": merged, "effectiveLabels": {**merged, **attributed}}
        return {name: value for name, value in given.items() if name in fields}

    def preview_outputs(self, resource: Resource, inputs: Properties) -> Properties:
        """Return the inputs and the labels; what is computed is unknown."""
        fields = self._schema(resource).outputs
        place = self._place.of(inputs)
        blank = _Placeholder(_known_part(inputs))
        known = known_outputs(resource.type, place, blank, "placeholder")
        if "selfLink" in fields:
            known["selfLink"] = ""
        outputs = complete(fields, inputs, known, text_for(place), preview=True)
        here = {"project": place.project} if "project" in fields and not has_unknown(inputs.get("project")) else {}
        return {**outputs, **here, **self._labels(fields, inputs)}

    def new_record(self, resource: Resource, inputs: Properties) -> Record:
        """Give the resource its identifier, its link and everything that Google computes."""
        place = self._place.of(inputs)
        resource_id = self._identifier(resource, inputs)
        fields = self._schema(resource).outputs
        known = known_outputs(resource.type, place, inputs, resource_id)
        if link := self_link(resource.type, place, resource_id):
            known["selfLink"] = link
        outputs = complete(fields, inputs, known, text_for(place), preview=False)
        region = "" if is_global(resource.type) else place.region
        return Record(
            resource.type, resource_id, resource.urn, region, inputs, {**outputs, **self._labels(fields, inputs)}
        )

    def updated_outputs(self, resource: Resource, record: Record, new: Properties, *, preview: bool) -> Properties:
        """Return the new inputs over the old outputs."""
        fields = self._schema(resource).outputs
        outputs = updated(fields, record, new, text_for(self._place.of(new)), preview=preview)
        return {**outputs, **self._labels(fields, new)}

    def invoke(self, token: str, arguments: Properties) -> tuple[Properties, Sequence[CheckFailure]]:
        """Answer a data source."""
        result = answer(token, self._place, plain(arguments), self._store)
        if result is None:
            known = ", ".join(sorted(name.rsplit(":", maxsplit=1)[-1] for name in DATA_SOURCES))
            raise ProviderError(f"the sandbox does not answer the data source {token}; it answers {known}")
        return result, ()


class _Placeholder(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "placeholder"


def _known_part(value: Any) -> Any:
    """The value without what is unknown in it."""
    if is_object(value):
        return {key: _known_part(item) for key, item in value.items() if item is not UNKNOWN}
    if is_list(value):
        return [_known_part(item) for item in value if item is not UNKNOWN]
    return value
