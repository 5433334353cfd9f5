"""One evaluation from beginning to end."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import logging
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workloads.artifacts import fetch, key_of, read
from workloads.artifacts.configuration import ConfigError
from workloads.evaluation import gate
from workloads.evaluation.cases import (
    ANSWERS_FILE,
    ANSWERS_KIND,
    HELD_OUT_FACT,
    LOSSES_FILE,
    CaseFile,
    CasesError,
    load,
)
from workloads.evaluation.gate import Refused, Rules, Threshold

from . import metrics
from .answer import Answer
from .ask import Row, answers, judgements
from .config import Config, Suite
from .config import Judge as JudgeConfig
from .endpoint import Endpoint
from .judge import Judge
from .registry import Registry
from .report import LOSS, Report, compared, measures

log = logging.getLogger("evaluation")

_RULES = 1  # another number asks everything anew: for changes of this program that change results


@dataclass(frozen=True)
class Outcome:
    """How it ended.

    Attributes:
        reasons: Why the version may not have the alias; none where it may.
        report: What was measured.
        promotion: What became of the alias; empty for none.
    """

    reasons: Sequence[str]
    report: Report | None
    promotion: str


async def evaluate(config: Config) -> Outcome:
    """Ask, judge, record, and promote where that is wanted.

    Raises:
        ConfigError: Cases or configuration cannot be used.
        EndpointError: The model or the judge cannot be reached.
        RegistryError: There is no such version.
        Refused: The alias was taken from this version by a person.
    """
    registry = Registry(config.model.name, config.model.version)
    if config.task == "promote":
        return Outcome((), None, _promoted(config, registry, ""))
    files = {one.name: load(one.name, one.data, sha256=one.sha256, most=one.max_cases) for one in config.suites}
    for suite in config.suites:
        finds = config.subject is not None and not suite.give_contexts
        metrics.check(suite, files[suite.name].cases, finds_contexts=finds)
    key = results_key(config, files, registry.source)
    known = registry.earlier(key)
    if known:
        log.info(json.dumps({"evaluation": key, "known": "nothing is asked again"}))
        report, rows = known
    else:
        rows = await _rows(config, files)
        report = Report(
            key=key, measures=measures(config, rows), bases=bases(config, files), facts=facts(config, files)
        )
    others = {one.over: registry.bearer(one.over) for one in config.thresholds.values() if compares(one)}
    report = compared(config, report, rows, others)
    reasons = gate.refusals(rules(config), report.measures)
    verdict_key = key_of(
        {
            "results": key,
            "rules": {name: one.model_dump() for name, one in config.thresholds.items()},
            "confidence": [config.confidence, config.resamples, config.min_cases, config.seed],
            "unjudged": config.judge.max_unjudged_percent if config.judge else 0,
            "over": {
                alias: [other.version, other.report.key if other.report else ""] for alias, other in others.items()
            },
        }
    )
    if not (known and registry.stands(verdict_key, reasons)):
        registry.write(report, rows, reasons, verdict_key)
    promotion = "" if reasons or not config.alias else _promoted(config, registry, verdict_key)
    return Outcome(reasons, report, promotion)


def _promoted(config: Config, registry: Registry, key: str) -> str:
    done = gate.promote(
        registry.client, config.model.name, config.model.version, config.alias, by=config.by or "evaluation", key=key
    )
    return f"@{config.alias} is version {done.after} of {config.model.name} ({done.reason})"


def compares(threshold: Any) -> bool:
    """Whether a threshold looks at another version."""
    return threshold.max_decrease is not None or threshold.max_increase is not None


def rules(config: Config) -> Rules:
    """What must be reached, as the gate takes it."""
    return Rules(
        thresholds={name: Threshold(**one.model_dump()) for name, one in config.thresholds.items()},
        min_cases=config.min_cases,
        max_unjudged_percent=config.judge.max_unjudged_percent if config.judge else 0,
    )


def results_key(config: Config, files: Mapping[str, CaseFile], source: str) -> str:
    """Names everything that judgements follow from; the same key, the same judgements."""
    subject = config.subject
    return key_of(
        {
            "rules": _RULES,
            "model": [config.model.name, config.model.version, source],
            "subject": [subject.url, subject.model] if subject else None,
            "answers": config.answers,
            "bases": dict(bases(config, files)),
            "suites": [suite.model_dump(exclude={"data", "sha256"}) for suite in config.suites],
            "heldOut": config.held_out,
            "interval": [config.confidence, config.resamples, config.seed],
        }
    )


def bases(config: Config, files: Mapping[str, CaseFile]) -> dict[str, str]:
    """By measure what two versions must have in common to be compared."""
    found: dict[str, str] = {}
    for suite in config.suites:
        for name in (*suite.metrics, *(one.name for one in suite.criteria)):
            found[f"{suite.name}.{name}"] = key_of(
                {
                    "cases": files[suite.name].sha256,
                    "taken": suite.max_cases,
                    "contexts": suite.give_contexts,
                    "judge": _judge_of(config.judge),
                    "library": [suite.kind, importlib.metadata.version(suite.kind)],
                    "criterion": next((one.text for one in suite.criteria if one.name == name), ""),
                }
            )
    if config.held_out:
        found[LOSS] = key_of({"data": str(read(config.answers).facts.get(HELD_OUT_FACT, ""))})
    return found


def _judge_of(judge: JudgeConfig | None) -> list[str]:
    return [judge.model, judge.embeddings] if judge else []


def facts(config: Config, files: Mapping[str, CaseFile]) -> dict[str, Any]:
    """For the record, and for people."""
    return {
        "cases": {
            suite.name: {"url": suite.data, "sha256": files[suite.name].sha256, "taken": len(files[suite.name].cases)}
            for suite in config.suites
        },
        "judge": {"model": config.judge.model, "embeddings": config.judge.embeddings} if config.judge else None,
        "libraries": {kind: importlib.metadata.version(kind) for kind in {suite.kind for suite in config.suites}},
        "subject": {"url": config.subject.url, "model": config.subject.model} if config.subject else None,
        "answers": config.answers,
        "confidence": config.confidence,
    }


async def _rows(config: Config, files: Mapping[str, CaseFile]) -> list[Row]:
    """All judgements."""
    found: list[Row] = []
    prepared: Mapping[tuple[str, str], Answer] = {}
    if config.answers:
        prepared, losses = _fetched(config)
        found.extend(losses)
    async with contextlib.AsyncExitStack() as stack:
        subject = await stack.enter_async_context(Endpoint(config.subject, "model")) if config.subject else None
        judge = await stack.enter_async_context(_judge(config.judge)) if config.judge else None
        for suite in config.suites:
            cases = files[suite.name].cases
            if subject:
                given = await answers(suite, cases, subject)
            else:
                given = _given(suite, files[suite.name], prepared)
            found.extend(await judgements(suite, cases, given, judge))
    return found


@contextlib.asynccontextmanager
async def _judge(config: JudgeConfig) -> AsyncIterator[Judge]:
    async with Endpoint(config, "judge") as endpoint:
        yield Judge(config, endpoint)


def _given(suite: Suite, file: CaseFile, prepared: Mapping[tuple[str, str], Answer]) -> dict[str, Answer]:
    """The artifact's answers to a suite: all of them, or the artifact is of other questions."""
    if lacking := [case.id for case in file.cases if (suite.name, case.id) not in prepared]:
        raise ConfigError(f"answers: {len(lacking)} cases of {suite.name} have none, such as {', '.join(lacking[:5])}")
    return {case.id: prepared[suite.name, case.id] for case in file.cases}


def _fetched(config: Config) -> tuple[dict[tuple[str, str], Answer], list[Row]]:
    with tempfile.TemporaryDirectory() as temporary:
        found = fetch(config.answers, Path(temporary))
        if found.kind != ANSWERS_KIND:
            raise ConfigError(f"answers: {config.answers} is a {found.kind}, not {ANSWERS_KIND}")
        said = [json.loads(line) for line in _lines(Path(temporary) / ANSWERS_FILE)]
        lost = [json.loads(line) for line in _lines(Path(temporary) / LOSSES_FILE)]
    texts = {(one["suite"], one["case"]): Answer(text=one["text"]) for one in said}
    losses = [
        Row(measure=LOSS, case=str(one["sequence"]), score=float(one["loss"]), weight=float(one["tokens"]))
        for one in lost
        if config.held_out
    ]
    return texts, losses


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


__all__ = ["CasesError", "Outcome", "Refused", "evaluate"]
