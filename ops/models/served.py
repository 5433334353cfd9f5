"""What a stack serves, beside what the registry has. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.models.registry import Known
from ops.models.stages import registered_name
from workloads.models.spec import location


@dataclass(frozen=True, kw_only=True)
class InRegistry:
    """A registered model.

    Attributes:
        versions: Its versions, oldest first.
        aliases: Versions by alias.
    """

    versions: Mapping[str, Known] = field(default_factory=dict[str, Known])
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def newest(self) -> str:
        """The newest version; empty for none."""
        return max(self.versions, key=int, default="")

    @property
    def newest_passed(self) -> str:
        """The newest version that passed its evaluation; empty for none."""
        return max((one for one, known in self.versions.items() if known.passed), key=int, default="")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One version of a model that the stack serves.

    Attributes:
        model: The model.
        role: ``stable``, ``canary``, or the name of a variant.
        backend: Who serves it.
        source: As it is declared.
        percent: Its share of the requests; None where the outputs do not say.
        fallbacks: Models that are asked when it fails.
        registered: The registered model; empty for other sources.
        version: Its version that is served; empty where it is not known.
        aliases: Aliases that this version bears now.
        newest: The newest version.
        newest_passed: The newest that passed its evaluation.
        behind: Whether a newer version is there; None where that is not known.
    """

    model: str
    role: str
    backend: str
    source: str
    percent: float | None
    fallbacks: tuple[str, ...]
    registered: str = ""
    version: str = ""
    aliases: tuple[str, ...] = ()
    newest: str = ""
    newest_passed: str = ""
    behind: bool | None = None


def registered_models(models: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Registered models that a stack's models come from."""
    return {name for model in models.values() for one in _versions(model).values() if (name := registered_name(one))}


def rows(models: Mapping[str, Mapping[str, Any]], registry: Mapping[str, InRegistry]) -> Iterator[Row]:
    """What is served.

    Args:
        models: The stack's output ``models``.
        registry: By name of the registered model; empty where the registry was not asked.
    """
    for model, told in models.items():
        versions = _versions(told)
        weights = [one["weight"] for one in versions.values() if "weight" in one]
        total = sum(weights) if len(weights) == len(versions) else 0
        for role, one in versions.items():
            name = registered_name(one)
            known = registry.get(name, InRegistry())
            version = str(one.get("registryVersion", "")) or _numbered(one)
            yield Row(
                model=model,
                role=role,
                backend=str(told.get("backend", "")),
                source=str(one.get("source", "")),
                percent=round(100 * one["weight"] / total, 1) if total else None,
                fallbacks=tuple(told.get("fallbacks", ())),
                registered=name,
                version=version,
                aliases=tuple(sorted(alias for alias, bearer in known.aliases.items() if bearer == version)),
                newest=known.newest,
                newest_passed=known.newest_passed,
                behind=int(known.newest) > int(version) if known.newest and version else None,
            )


def _versions(model: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return model.get("versions", {})


def _numbered(version: Mapping[str, Any]) -> str:
    """The version in the source itself, where the outputs are an older program's."""
    source = str(version.get("source", ""))
    if not registered_name(version):
        return ""
    revision = location(source).revision
    return "" if revision.startswith("@") else revision


def as_json(row: Row) -> dict[str, Any]:
    """A row for programs."""
    return {
        "model": row.model,
        "role": row.role,
        "backend": row.backend,
        "source": row.source,
        "percent": row.percent,
        "fallbacks": list(row.fallbacks),
        "registeredModel": row.registered or None,
        "version": row.version or None,
        "aliases": list(row.aliases),
        "newest": row.newest or None,
        "newestPassed": row.newest_passed or None,
        "behind": row.behind,
    }
