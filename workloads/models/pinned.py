"""A registered model, pinned: the version that an alias named once stays in the state until somebody asks again."""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi import dynamic

from workloads.models.registry_client import RegistryError, look_up

_ASKED = ("registry", "model", "revision", "refresh")


class Registry(dynamic.ResourceProvider):
    """Looks up at preview (``check``), so that a preview shows the version that an ``up`` would serve.

    Credentials are read where they are used, from the environment: neither inputs nor state hold them.
    """

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> dynamic.CheckResult:
        """Keep what is pinned while the same is asked; else ask."""
        old = _olds or {}  # nothing for a resource that is new
        kept = all(old.get(key) == news.get(key) for key in _ASKED)
        if kept and old.get("version") and old.get("source"):
            return dynamic.CheckResult({**news, "version": old["version"], "source": old["source"]}, [])
        try:
            found = look_up(str(news["registry"]), str(news["model"]), str(news["revision"]))
        except RegistryError as error:
            return dynamic.CheckResult(news, [dynamic.CheckFailure("revision", str(error))])
        return dynamic.CheckResult({**news, "version": found.version, "source": found.source}, [])

    def create(self, props: dict[str, Any]) -> dynamic.CreateResult:
        """Nothing is made."""
        return dynamic.CreateResult(f"{props['model']}/{props['version']}", dict(props))

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> dynamic.DiffResult:
        """Another version is an update: what depends on it is changed, not replaced."""
        differs = [key for key in (*_ASKED, "version", "source") if _olds.get(key) != _news.get(key)]
        return dynamic.DiffResult(changes=bool(differs))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> dynamic.UpdateResult:
        """Nothing is made."""
        return dynamic.UpdateResult(dict(_news))


class PinnedModel(dynamic.Resource):
    """A version of a registered model.

    Attributes:
        version: Its number.
        source: Where its files are.
    """

    version: pulumi.Output[str]
    source: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        registry: str,
        model: str,
        revision: str,
        refresh: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        asked = {"registry": registry, "model": model, "revision": revision, "refresh": refresh}
        super().__init__(Registry(), name, {**asked, "version": None, "source": None}, opts)
