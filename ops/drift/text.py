"""Drift as Markdown: for an issue, a summary, a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ops.drift.classify import REMEDIES, Drift, Drifted, Property


def render(drift: Drift) -> str:
    """The report for people."""
    return "\n".join(_lines(drift)) + "\n"


def verdict(drift: Drift) -> str:
    """The first sentence."""
    if drift.errors:
        return "The comparison failed; what follows is a part of it."
    if not drift.real:
        return f"Nothing differs that somebody did: {drift.compared} resources compared."
    gone = sum(one.gone for one in drift.real)
    changed = len(drift.real) - gone
    parts = [f"{number} {what}" for number, what in ((gone, "gone"), (changed, "changed")) if number]
    return f"{' and '.join(parts)} of {drift.compared} resources, not by Pulumi."


def _lines(drift: Drift) -> Iterator[str]:
    yield f"## Drift of {drift.stack}"
    yield ""
    yield f"**{verdict(drift)}**"
    yield from (f"- {error}" for error in drift.errors)
    if lost := [one for one in drift.real if one.loses]:
        yield from ("", "### Data that is gone", "")
        yield from (f"- `{one.name}` ({one.type}): **{one.loses}**. {_sentence(one)}" for one in lost)
    if real := [one for one in drift.real if not one.loses]:
        yield from ("", "### What to do", "", "| Resource | What | Remedy |", "| --- | --- | --- |")
        yield from (f"| `{one.name}`<br>{one.type} | {_what(one)} | {_sentence(one)} |" for one in real)
    if drift.noise:
        yield from ("", f"<details><summary>{_count(len(drift.noise))} changed by themselves</summary>", "")
        yield from (f"- `{one.name}` ({one.type}): {_reasons(one)}" for one in drift.noise)
        yield from ("", "</details>")
    if drift.real:
        yield from ("", "docs/drift.md says more.")


def _count(number: int) -> str:
    return f"{number} resource{'' if number == 1 else 's'}"


def _sentence(one: Drifted) -> str:
    text = REMEDIES[one.remedy]
    return text[:1].upper() + text[1:]


def _what(one: Drifted) -> str:
    return "gone" if one.gone else "<br>".join(_cell(_change(found)) for found in one.real)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _change(one: Property) -> str:
    if one.expected or one.found:
        return f"`{one.path}`: {one.expected or 'none'} → {one.found or 'none'}"
    return f"`{one.path}`"


def _reasons(one: Drifted) -> str:
    return "; ".join(dict.fromkeys(f"{', '.join(_paths(one, found.noise))}: {found.noise}" for found in one.properties))


def _paths(one: Drifted, noise: str) -> list[str]:
    return [f"`{found.path}`" for found in one.properties if found.noise == noise]


def as_json(drift: Drift) -> dict[str, Any]:
    """The report for programs."""
    return {
        "stack": drift.stack,
        "verdict": verdict(drift),
        "real": len(drift.real),
        "compared": drift.compared,
        "errors": list(drift.errors),
        "resources": [
            {
                "resource": one.name,
                "type": one.type,
                "urn": one.urn,
                "layer": one.layer,
                "gone": one.gone,
                "real": one.is_real,
                "loses": one.loses,
                "remedy": one.remedy,
                "what": REMEDIES[one.remedy],
                "properties": [
                    {
                        "path": found.path,
                        "expected": found.expected,
                        "found": found.found,
                        "declared": found.declared,
                        "noise": found.noise,
                    }
                    for found in one.properties
                ],
            }
            for one in drift.resources
        ],
    }
