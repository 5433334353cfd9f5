"""What is checked before a version serves: each by itself, all of them told at once. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from components.settings import Settings, SettingsError, parse
from components.settings.models import ModelSettings
from workloads.models.facts import facts_of
from workloads.models.plan import Plan, Refusal, plan
from workloads.models.spec import spec_of

Result = Literal["passed", "refused", "skipped"]

# How checkpoints name their quantization (Transformers), in the words of the settings. What is not here is not judged.
_METHODS: Final[Mapping[str, str]] = {"": "none", "awq": "awq", "gptq": "gptq", "fp8": "fp8", "mxfp4": "mxfp4"}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check, and what came of it.

    Attributes:
        name: In a word.
        result: ``skipped`` where it does not apply; what could not be found out is refused.
        detail: What was seen; what to do, where it is refused.
    """

    name: str
    result: Result
    detail: str


def passed(name: str, detail: str) -> Check:
    """A check that was passed."""
    return Check(name=name, result="passed", detail=detail)


def refused(name: str, detail: str) -> Check:
    """A check that was not."""
    return Check(name=name, result="refused", detail=detail)


def skipped(name: str, detail: str) -> Check:
    """A check that does not apply."""
    return Check(name=name, result="skipped", detail=detail)


def accepted(raw: Mapping[str, Any]) -> tuple[Check, Settings | None]:
    """Whether the program accepts settings; and they, where it does."""
    try:
        found = parse(raw)
    except SettingsError as error:
        return refused("settings", "; ".join(str(one) for one in error.problems)), None
    return passed("settings", "the edited settings are accepted"), found


def fits(settings: Settings, model: str, config: Mapping[str, Any]) -> Check:
    """Whether a version, known by its ``config.json``, fits the GPUs that the model is declared with."""
    declared = _declared(settings, model)
    if declared.backend == "hosted":
        return skipped("fit", "the cloud hosts it")
    stored = _stored(config)
    wanted = "none" if declared.quantize_on_load else declared.quantization
    if stored is not None and stored != wanted:
        said = f"{stored!r}" if stored != "none" else "'none', 16 bit"
        return refused(
            "fit",
            f"the version's weights are stored as {said}; models.{model}.quantization says {declared.quantization}"
            f"{' (quantizeOnLoad)' if declared.quantize_on_load else ''}",
        )
    found = _planned(settings, with_config(declared, config))
    if isinstance(found, Refusal):
        return refused("fit", "; ".join(f"{path or model}: {message}" for path, message in found.findings))
    assert found.fit is not None
    where = found.instance_type or "the cloud's machine"
    return passed(
        "fit",
        f"{found.fit.weights_gib:.1f} GiB of weights and {found.fit.kv_tokens:,} tokens of KV cache on {found.gpus} x "
        f"{found.gpu_model} ({where})",
    )


def affordable(before: Settings | None, after: Settings, model: str, config: Mapping[str, Any] | None) -> Check:
    """Whether what the model may cost after the edit stays below its own limit and the stack's.

    Args:
        before: The settings as they are; none where they are not accepted.
        after: The settings after the edit.
        model: The model.
        config: The version's ``config.json``; none where it is not known.
    """
    name = "cost"
    then = _plan_of(after, model, config)
    if _declared(after, model).backend == "hosted":
        return skipped(name, "by tokens, as before: the cloud hosts it")
    if then is None or then.cost.monthly_usd is None:
        return skipped(name, "no list price is known for its machine")
    now = _plan_of(before, model, None) if before else None
    had = now.cost.monthly_usd if now and now.cost.monthly_usd is not None else None
    change = f", {then.cost.monthly_usd - had:+,.0f} by this" if had is not None else ""
    moved = now is not None and (now.instance_type, now.gpus) != (then.instance_type, then.gpus)
    machine = f" ({now.instance_type} to {then.instance_type})" if now and moved else f" ({then.instance_type})"
    said = f"{then.cost.monthly_usd:,.0f} USD a month at most{change}{machine}"
    own = _declared(after, model).budget.monthly_usd
    if own is not None and then.cost.monthly_usd > own:
        return refused(name, f"{said}; models.{model}.budget.monthlyUsd is {own:,.0f}")
    limit = after.quotas.max_monthly_usd
    everything = then.cost.monthly_usd + sum(_monthly(after, one) for one in after.models if one.name != model)
    if limit and everything > limit:
        return refused(name, f"{said}; all models together {everything:,.0f}, and quotas.maxMonthlyUsd is {limit:,.0f}")
    return passed(name, f"{said}; " + (f"quotas.maxMonthlyUsd is {limit:,.0f}" if limit else "no limit is set"))


def with_config(declared: ModelSettings, config: Mapping[str, Any]) -> ModelSettings:
    """The declaration with what the version itself says it is, whatever the catalogue says of its name."""
    return declared.model_copy(update={"config": dict(config), "architecture": ""})


def all_passed(checks: Sequence[Check]) -> bool:
    """Whether nothing speaks against it."""
    return not any(one.result == "refused" for one in checks)


def _stored(config: Mapping[str, Any]) -> str | None:
    """How weights are stored, in the words of the settings; None where this is not said in words that are known."""
    quantization: Mapping[str, Any] = config.get("quantization_config") or {}
    return _METHODS.get(str(quantization.get("quant_method", "")))


def _declared(settings: Settings, model: str) -> ModelSettings:
    return next(one for one in settings.models if one.name == model)


def _planned(settings: Settings, declared: ModelSettings) -> Plan | Refusal:
    spec = spec_of(declared, prefix="stack", region=settings.region, owner=settings.owner)
    return plan(spec, facts_of(settings))


def _plan_of(settings: Settings, model: str, config: Mapping[str, Any] | None) -> Plan | None:
    declared = _declared(settings, model)
    found = _planned(settings, with_config(declared, config) if config is not None else declared)
    return None if isinstance(found, Refusal) else found


def _monthly(settings: Settings, declared: ModelSettings) -> float:
    found = _planned(settings, declared)
    return 0 if isinstance(found, Refusal) else (found.cost.monthly_usd or 0)
