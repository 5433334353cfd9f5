"""Stack settings: the only place that reads ``pulumi.Config``."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any, Final, cast, get_args

import pulumi
from pulumi.runtime import config as pulumi_config
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from components.capacity.clouds import CATALOGUES, Cloud, Server
from components.settings.checks import Problem, find
from components.settings.defaults import with_defaults
from components.settings.nodes import Offer
from components.settings.onprem import OnPremSettings
from components.settings.root import Settings

__all__ = ["Problem", "Settings", "SettingsError", "load_settings", "parse"]

NAMESPACE: Final = "llmops"
_STRUCTURED: Final = frozenset(to_camel(name) for name in Settings.model_fields) - {
    "cloud",
    "owner",
    "costCenter",
    "protect",
}


class SettingsError(pulumi.RunError):
    """Settings that cannot work; one line for each problem, which Pulumi prints without a traceback.

    Attributes:
        problems: Every problem that was found.
    """

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        count = f"{len(problems)} problem" + ("s" if len(problems) > 1 else "")
        lines = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"{count} in the settings of stack {pulumi.get_stack()}:\n{lines}")


def load_settings() -> Settings:
    """Read and judge the ``llmops:`` settings of the current stack.

    Raises:
        SettingsError: With every problem at once.
    """
    prefix = f"{NAMESPACE}:"
    values = {**pulumi_config.get_config_env(), **pulumi_config.CONFIG.get()}
    mine = {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}
    secret = [key for key in mine if pulumi_config.is_config_secret(prefix + key)]
    if secret:
        message = "must not be a secret: settings are shown in previews; credentials live in the secret store"
        raise SettingsError([Problem(key, message) for key in secret])
    return parse({key: _decoded(key, value) for key, value in mine.items()})


def _decoded(key: str, value: Any) -> Any:
    """Pulumi hands over objects and lists as JSON; texts such as an owner named ``1234`` stay texts."""
    if not isinstance(value, str) or key not in _STRUCTURED:
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def parse(raw: Mapping[str, Any]) -> Settings:
    """Turn plain data, keyed as in YAML, into settings.

    Raises:
        SettingsError: With every problem at once.
    """
    raw = with_defaults(raw)
    context = _offer(raw)
    try:
        settings = Settings.model_validate(raw, context=context)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        problems = [Problem(_path(e["loc"]), _message(e)) for e in errors if not _follows(e, errors)]
        raise SettingsError(problems + find(*_valid_sections(raw, errors, context))) from None
    if problems := find(settings):
        raise SettingsError(problems)
    return settings


def _offer(raw: Mapping[str, Any]) -> Offer:
    """What the stack's cloud has; where ``cloud`` itself is wrong, the rest is judged as if it were left out."""
    clouds: dict[str, Cloud] = {cloud: cloud for cloud in CATALOGUES}
    cloud = clouds.get(str(raw.get("cloud")), "aws")
    if cloud != "onprem":
        return Offer(cloud=cloud, machines=CATALOGUES[cloud].machines)
    try:
        servers = OnPremSettings.model_validate(raw.get("onprem", {})).machines
    except ValidationError:  # said by the section itself
        servers = ()
    return Offer(
        cloud=cloud,
        machines={
            one.name: Server(
                name=one.name,
                vcpu=one.vcpu,
                memory_mib=one.memory_gib * 1024,
                gpus=one.gpus,
                gpu_model=one.gpu_model,
            )
            for one in servers
        },
    )


def _valid_sections(raw: Mapping[str, Any], errors: list[Any], context: Offer) -> tuple[Settings, frozenset[str]]:
    """Settings made of the valid sections only, and the names of the others, so that the rules over both still run."""
    wrong = {error["loc"][0] for error in errors}
    valid: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        if (key := to_camel(name)) in wrong:
            continue
        given = key in raw
        valid[name] = (
            _adapter(field).validate_python(raw[key], context=context)
            if given
            else field.get_default(call_default_factory=True)
        )
    return Settings.model_construct(**valid), frozenset(Settings.model_fields.keys() - valid.keys())


def _follows(error: Any, errors: list[Any]) -> bool:
    """Whether a list is called too short only because of what is wrong with its entries."""
    place = error["loc"]
    return error["type"] == "too_short" and any(e["loc"][: len(place)] == place and e is not error for e in errors)


def _adapter(field: FieldInfo) -> TypeAdapter[Any]:
    return TypeAdapter[Any](cast("Any", field.annotation))


def _path(location: tuple[int | str, ...]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location if part != "[key]")
    return "".join(parts).lstrip(".") or "settings"


_SCALAR = (str, int, float, bool)


def _message(error: Any) -> str:
    """What is wrong and what is allowed, in our words where pydantic's are for programmers."""
    kind, given = error["type"], error["input"]
    got = f"; got {given}" if isinstance(given, _SCALAR) else ""
    match kind:
        case "missing":
            return "must be set"
        case "extra_forbidden":
            return _unknown(error["loc"])
        case "value_error":
            return str(error["msg"]).removeprefix("Value error, ")
        case "literal_error":
            return f"must be {error['ctx']['expected']}{got}".replace("'", "")
        case "string_pattern_mismatch":
            return f"must match {error['ctx']['pattern']}{got}"
        case "int_parsing" | "int_type" | "int_from_float":
            return f"must be a whole number{got}"
        case "bool_parsing" | "bool_type":
            return f"must be true or false{got}"
        case "greater_than_equal":
            return f"must be at least {error['ctx']['ge']}{got}"
        case "too_short":
            return f"must hold at least {error['ctx']['min_length']}; got {error['ctx']['actual_length']}"
        case "less_than_equal":
            return f"must be at most {error['ctx']['le']}{got}"
        case _:
            return f"{str(error['msg'])[:1].lower()}{str(error['msg'])[1:]}{got}"


def _unknown(location: tuple[int | str, ...]) -> str:
    """Name the settings that exist where an unknown one was found."""
    model: Any = Settings
    for part in location[:-1]:
        if isinstance(part, str):
            model = _model_in(next(f.annotation for f in model.model_fields.values() if f.alias == part))
    known = [field.alias or name for name, field in model.model_fields.items()]
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"unknown setting; {f'did you mean {near[0]}? ' if near else ''}allowed: {', '.join(known)}"


def _model_in(annotation: Any) -> Any:
    """The model inside ``tuple[Model, ...]``, or the model itself."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(model for argument in get_args(annotation) if (model := _model_in(argument)) is not None)
