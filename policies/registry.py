"""What a policy is, and how the SDK gets it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyComplianceFramework,
    PolicyConfigSchema,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    Severity,
    StackValidationArgs,
    StackValidationPolicy,
)
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from components.settings import Settings
from policies import declared, exemptions, view
from policies.view import Resource

Group = Literal["quotas", "money", "security", "kubernetes", "remediation", "pack"]


class PolicyConfig(BaseModel):
    """Base of every policy's configuration: camelCase in JSON, no unknown keys, a default for each value.

    The defaults are the strict ones: a stack without a file of its own is held to them.
    """

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


@dataclass(frozen=True, kw_only=True)
class Control:
    """A rule of a published standard that a policy implements.

    Attributes:
        standard: Name of the standard.
        version: Its version.
        reference: Number of the rule there.
    """

    standard: str
    version: str
    reference: str


def fsbp(reference: str) -> Control:
    """A control of AWS Security Hub's standard."""
    return Control(standard="AWS Foundational Security Best Practices", version="1.0.0", reference=reference)


def pod_security(reference: str) -> Control:
    """A control of the Kubernetes Pod Security Standards; ``reference`` names the level and the control."""
    return Control(standard="Kubernetes Pod Security Standards", version="1.35", reference=reference)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        message: What is wrong, what is allowed, what to do.
        resource: The resource that is wrong; none for the stack as a whole.
    """

    message: str
    resource: Resource | None = None


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a rule knows beside the resources.

    Attributes:
        config: The policy's configuration.
        settings: The stack's settings, as the program reads them.
    """

    config: Any
    settings: Settings


ResourceCheck = Callable[[Resource, Context], Iterator[str]]
StackCheck = Callable[[Sequence[Resource], Context], Iterator[Finding]]
Remedy = Callable[[Resource, Context], Mapping[tuple[str, ...], Any]]
"""What to set, by the path in the resource's inputs; what holds the last key must be there."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One policy. Exactly one of ``resource`` and ``stack`` is given.

    Attributes:
        name: Unique; files of configuration and exemptions name it.
        group: Which concern it belongs to.
        description: What holds; one sentence.
        severity: How bad a violation is.
        types: Type tokens, or their beginnings, that it looks at.
        resource: Judges one resource by its inputs, before it is created: yields what is wrong.
        stack: Judges the whole stack, after the preview and after the update.
        remedy: What to set where ``resource`` found something; only with level REMEDIATE.
        config: Its typed configuration.
        control: The published rule that it implements, if there is one.
        level: What a violation does.
    """

    name: str
    group: Group
    description: str
    severity: Severity
    types: tuple[str, ...] = ("",)
    resource: ResourceCheck | None = None
    stack: StackCheck | None = None
    remedy: Remedy | None = None
    config: type[PolicyConfig] = PolicyConfig
    control: Control | None = None
    level: EnforcementLevel = EnforcementLevel.MANDATORY

    def __post_init__(self) -> None:
        if (self.resource is None) == (self.stack is None):
            raise TypeError(f"{self.name} must have either a resource rule or a stack rule")


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What every policy of a run shares; tests give their own.

    Attributes:
        settings: Reads the stack's settings.
        exempt: The exemptions.
        inputs: What the program asked for, by URN: filled by the rules over single resources, which run first, and read
            by the rules over the stack.
    """

    settings: Callable[[], Settings] = declared.settings
    exempt: exemptions.Register = field(default_factory=exemptions.Register)
    inputs: dict[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])


DOCUMENTATION: Final = "docs/policies.md"


def to_sdk(rule: Rule, surroundings: Surroundings) -> Policy:
    """The policy as Pulumi's SDK wants it."""
    common: dict[str, Any] = {
        "name": rule.name,
        "description": rule.description,
        "enforcement_level": rule.level,
        "severity": rule.severity,
        "config_schema": schema(rule.config),
        "tags": [rule.group],
        "remediation_steps": f"{DOCUMENTATION}#{rule.name}",
        "framework": PolicyComplianceFramework(
            name=rule.control.standard, version=rule.control.version, reference=rule.control.reference
        )
        if rule.control
        else None,
    }
    if rule.stack:
        return StackValidationPolicy(validate=_stack_adapter(rule, rule.stack, surroundings), **common)
    assert rule.resource
    return ResourceValidationPolicy(
        validate=_resource_adapter(rule, rule.resource, surroundings),
        remediate=_remedy_adapter(rule, rule.resource, rule.remedy, surroundings) if rule.remedy else None,
        **common,
    )


def schema(config: type[PolicyConfig]) -> PolicyConfigSchema | None:
    """The JSON schema of a policy's configuration; none where it has none.

    Defaults are left out: the engine would fill them in as the file's, and they have one home, the model.
    """
    properties: dict[str, dict[str, Any]] = {}
    for name, found in config.model_json_schema()["properties"].items() if config.model_fields else ():
        properties[name] = {key: value for key, value in found.items() if key not in ("default", "title")}
    return PolicyConfigSchema(properties=properties) if properties else None


def configured(rule: Rule, given: Mapping[str, Any]) -> PolicyConfig:
    """The configuration of a policy.

    Raises:
        ValueError: It is not what the policy takes; the message names the keys.
    """
    try:
        return rule.config.model_validate(view.plain(given))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
        raise ValueError(f"configuration of policy {rule.name}: {wrong}") from None


def _context(rule: Rule, given: Mapping[str, Any], surroundings: Surroundings) -> Context:
    return Context(config=configured(rule, given), settings=surroundings.settings())


def _resource_adapter(
    rule: Rule, check: ResourceCheck, surroundings: Surroundings
) -> Callable[[ResourceValidationArgs, ReportViolation], None]:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        surroundings.inputs.setdefault(args.urn, args.props)
        if not args.resource_type.startswith(rule.types):
            return
        for message in check(view.of_resource(args), _context(rule, args.get_config(), surroundings)):
            if not surroundings.exempt.covers(rule.name, args.urn):
                report(message, None)

    return validate


def _stack_adapter(
    rule: Rule, check: StackCheck, surroundings: Surroundings
) -> Callable[[StackValidationArgs, ReportViolation], None]:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        resources = view.of_stack(args, rule.types, surroundings.inputs)
        for finding in check(resources, _context(rule, args.get_config(), surroundings)):
            urn = finding.resource.urn if finding.resource else None
            if not surroundings.exempt.covers(rule.name, urn or "*stack*"):
                report(finding.message, urn)

    return validate


def _remedy_adapter(
    rule: Rule, check: ResourceCheck, remedy: Remedy, surroundings: Surroundings
) -> Callable[[ResourceValidationArgs], Any]:
    def remediate(args: ResourceValidationArgs) -> Any:
        if not args.resource_type.startswith(rule.types):
            return None
        resource, context = view.of_resource(args), _context(rule, args.get_config(), surroundings)
        if not list(check(resource, context)) or surroundings.exempt.covers(rule.name, args.urn):
            return None
        # In place: the SDK's guards keep secrets secret and unknown values unknown, a copy would not.
        for path, value in remedy(resource, context).items():
            holder: Any = args.props
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = value
        return args.props

    return remediate


def pack_of(rules: Iterable[Rule], surroundings: Surroundings) -> list[Policy]:
    """All policies; names are unique.

    Raises:
        TypeError: Two policies have the same name.
    """
    known: dict[str, Rule] = {}
    for rule in rules:
        if rule.name in known:
            raise TypeError(f"two policies are named {rule.name}")
        known[rule.name] = rule
    return [to_sdk(rule, surroundings) for rule in known.values()]
