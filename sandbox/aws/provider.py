"""The ``aws`` provider of the sandbox."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from sandbox.aws.data_sources import DATA_SOURCES, answer
from sandbox.aws.identifiers import ACCOUNT_ID, Place, identified
from sandbox.aws.outputs import COMPUTED, COUNTERS, text_for
from sandbox.aws.replacements import REPLACING
from sandbox.aws.rules import refusal_to_create, refusal_to_delete, refused_inputs
from sandbox.emulated import EmulatedProvider, decoded
from sandbox.emulated_outputs import complete, updated
from sandbox.provider import CheckFailure, ProviderError, Resource
from sandbox.store import Record, Store
from sandbox.values import UNKNOWN, Properties, plain

_DEFAULT_REGION: Final = "us-east-1"
_REGION: Final = re.compile(r"[a-z]{2}(-gov)?-[a-z]+-\d")


class AwsProvider(EmulatedProvider):
    """Keeps AWS resources in the sandbox's account."""

    name = "aws"
    replacing = REPLACING
    renamed_in_place = frozenset({"aws:rds/instance:Instance"})
    named_by: ClassVar[Mapping[str, tuple[str, int]]] = {
        "aws:s3/bucket:Bucket": ("bucket", 63),
        "aws:rds/instance:Instance": ("identifier", 63),
        "aws:elasticache/replicationGroup:ReplicationGroup": ("replicationGroupId", 40),
        "aws:eks/nodeGroup:NodeGroup": ("nodeGroupName", 63),
        "aws:iam/role:Role": ("name", 64),
        "aws:iam/policy:Policy": ("name", 128),
        "aws:kms/alias:Alias": ("name", 255),
    }

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._region = _DEFAULT_REGION
        self._default_tags: dict[str, str] = {}

    def check_config(self, inputs: Properties) -> Sequence[CheckFailure]:
        """Refuse a region that is none and an account that is not allowed."""
        failures: list[CheckFailure] = []
        region = inputs.get("region")
        if isinstance(region, str) and not _REGION.fullmatch(region):
            failures.append(CheckFailure("region", f"{region!r} is not an AWS region"))
        return failures

    def configure(self, inputs: Properties) -> None:
        """Take region and default tags."""
        inputs = decoded(plain(inputs))
        self._region = inputs.get("region") or _DEFAULT_REGION
        defaults: Properties = inputs.get("defaultTags") or {}
        self._default_tags = defaults.get("tags") or {}
        allowed = inputs.get("allowedAccountIds")
        if allowed and ACCOUNT_ID not in allowed:
            self.log("warning", "", f"sandbox: account {ACCOUNT_ID} stands in for {', '.join(allowed)}")

    def _place(self, inputs: Properties) -> Place:
        region = inputs.get("region")
        return Place(region if isinstance(region, str) else self._region)

    def _with_default_tags(self, schema_outputs: Any, inputs: Properties) -> Properties:
        known: Properties = {}
        if "tagsAll" in schema_outputs:
            known["tagsAll"] = {**self._default_tags, **(inputs.get("tags") or {})}
        if "region" in schema_outputs:
            known["region"] = self._place(inputs).region
        return known

    def preview_outputs(self, resource: Resource, inputs: Properties) -> Properties:
        """Return the inputs, the tags and the region; the rest is unknown."""
        fields = self._schema(resource).outputs
        known = self._with_default_tags(fields, inputs)
        outputs = complete(
            fields,
            inputs,
            dict.fromkeys(_computed_names(resource.type, fields), UNKNOWN),
            text_for(self._place(inputs)),
            preview=True,
        )
        return {**outputs, **known}

    def new_record(self, resource: Resource, inputs: Properties) -> Record:
        """Give the resource its identifier, its ARN and everything that AWS computes."""
        place, naming = self._place(inputs), identified(resource.type)
        raw = naming.raw(inputs)
        arn = naming.arn(place, inputs, raw) if naming.arn else ""
        resource_id = naming.new_id(inputs, raw) or arn
        fields = self._schema(resource).outputs
        known = self._with_default_tags(fields, inputs)
        if arn:
            known["arn"] = arn
        if resource.type in COMPUTED:
            known |= COMPUTED[resource.type](place, inputs, resource_id)
        outputs = complete(fields, inputs, known, text_for(place), preview=False)
        region = "" if naming.is_global else place.region
        return Record(resource.type, resource_id, resource.urn, region, inputs, outputs)

    def updated_outputs(self, resource: Resource, record: Record, new: Properties, *, preview: bool) -> Properties:
        """Return the new inputs over the old outputs; counters move."""
        fields = self._schema(resource).outputs
        outputs = updated(fields, record, new, text_for(self._place(new)), preview=preview)
        for name in COUNTERS.get(resource.type, ()):
            outputs[name] = UNKNOWN if preview else int(record.outputs.get(name, 0)) + 1
        return {**outputs, **self._with_default_tags(fields, new)}

    def more_failures(self, resource: Resource, inputs: Properties) -> Sequence[CheckFailure]:
        """Refuse what AWS refuses although the types are right."""
        return refused_inputs(resource.type, inputs)

    def refuse_create(self, resource: Resource, inputs: Properties) -> str | None:
        """Refuse what AWS refuses beside what is there: copies of backups without their server, or its own region."""
        return refusal_to_create(resource.type, inputs, self._place(inputs).region, self._store.records)

    def refuse_delete(self, record: Record) -> str | None:
        """Refuse what AWS refuses: protection, missing snapshots, dependants."""
        return refusal_to_delete(record, self._store.records)

    def invoke(self, token: str, arguments: Properties) -> tuple[Properties, Sequence[CheckFailure]]:
        """Answer a data source."""
        result = answer(token, self._place(arguments), plain(arguments))
        if result is None:
            names = ", ".join(sorted(name.rsplit(":", maxsplit=1)[-1] for name in DATA_SOURCES))
            raise ProviderError(f"the sandbox does not answer the data source {token}; it answers {names}")
        return result, ()


def _computed_names(type_token: str, fields: Mapping[str, Any]) -> list[str]:
    """Return outputs that the type computes although the SDK calls them optional."""
    if type_token not in COMPUTED:
        return []
    blank = COMPUTED[type_token](Place(_DEFAULT_REGION), _Placeholder(), "placeholder")
    return [name for name in blank if name in fields]


class _Placeholder(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "placeholder"
