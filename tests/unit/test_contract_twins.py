"""Foundations are twins: the same pieces, built alike, behind one contract; and nobody above names a cloud."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components import contract

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[2]

CLOUDS = tuple(
    cloud for cloud in ("aws", "gcp", "onprem") if importlib.util.find_spec(f"components.{cloud}.foundation")
)
FOUNDATIONS = {"aws": "Aws", "gcp": "Gcp", "onprem": "OnPrem"}

# Module and class of every piece that has a twin, with the outputs that the contract is filled from.
PIECES: dict[tuple[str, str], frozenset[str]] = {
    ("database", "Database"): frozenset({"host", "port", "admin"}),
    ("cache", "Cache"): frozenset({"host", "port", "auth"}),
    ("objects", "Objects"): frozenset({"buckets"}),
    ("files", "Files"): frozenset({"volumes"}),
    ("secrets", "Secrets"): frozenset({"entries"}),
    ("registry", "Registry"): frozenset({"host", "repositories", "mirrors"}),
    ("nodes", "NodeGroup"): frozenset({"pool", "ready"}),
    ("cluster", "Cluster"): frozenset({"cluster_name", "endpoint", "kubeconfig", "provider"}),
    ("budget", "Budget"): frozenset({"budget_name"}),
    ("keys", "Keys"): frozenset(),
    ("network", "Network"): frozenset({"plan", "ready"}),
    ("alarms", "Alarms"): frozenset(),
}
# What an on-prem site has no twin of: its network, nodes, keys and bills are somebody else's.
_CLOUD_ONLY = {"registry", "nodes", "cluster", "budget", "keys", "network", "alarms"}

# Arguments that mean the same everywhere: they come from the settings that the clouds share.
SHARED: dict[tuple[str, str], frozenset[str]] = {
    ("database", "DatabaseArgs"): frozenset(
        {"engine_version", "storage_gib", "highly_available", "backup_retention_days", "protect"}
    ),
    ("cache", "CacheArgs"): frozenset({"engine_version", "replicas", "snapshot_retention_days"}),
    ("objects", "ObjectsArgs"): frozenset(
        {"prefix", "tier_after_days", "noncurrent_days", "log_retention_days", "force_destroy", "protect"}
    ),
    ("files", "FilesArgs"): frozenset({"protect"}),
    ("secrets", "SecretsArgs"): frozenset({"vault", "more"}),
    ("registry", "RegistryArgs"): frozenset({"prefix", "repositories", "keep_images"}),
    ("nodes", "NodeGroupArgs"): frozenset({"settings", "cluster_name", "after"}),
    ("budget", "BudgetArgs"): frozenset({"prefix", "monthly_usd", "alert_percent"}),
    ("keys", "KeysArgs"): frozenset({"prefix", "deletion_window_days", "protect"}),
    ("network", "NetworkArgs"): frozenset({"cidr", "zones", "nat_gateways"}),
    ("alarms", "AlarmsArgs"): frozenset({"prefix", "emails"}),
}


def piece(cloud: str, module: str, name: str) -> type[Any]:
    return getattr(importlib.import_module(f"components.{cloud}.{module}"), name)


def twins(module: str) -> tuple[str, ...]:
    return tuple(cloud for cloud in CLOUDS if cloud != "onprem" or module not in _CLOUD_ONLY)


@pytest.mark.parametrize(("module", "name"), PIECES)
def test_a_piece_is_built_the_same_way_on_every_cloud(module: str, name: str):
    for cloud in twins(module):
        built = piece(cloud, module, name)
        assert issubclass(built, pulumi.ComponentResource)
        parameters = list(inspect.signature(built.__init__).parameters)
        assert parameters == ["self", "name", "args", "opts"], f"{cloud}.{module}.{name}"


@pytest.mark.parametrize(("module", "name"), PIECES)
def test_a_piece_gives_what_the_contract_is_filled_from(module: str, name: str):
    for cloud in twins(module):
        outputs = piece(cloud, module, name).__annotations__
        assert PIECES[module, name] <= set(outputs), f"{cloud}.{module}.{name}"


@pytest.mark.parametrize(("module", "name"), PIECES)
def test_the_same_output_has_the_same_type_on_every_cloud(module: str, name: str):
    plain = {"plan"}  # each network is divided in its own way
    for output in PIECES[module, name] - plain:
        types = {cloud: piece(cloud, module, name).__annotations__[output] for cloud in twins(module)}
        assert len(set(types.values())) == 1, f"{module}.{name}.{output}: {types}"


@pytest.mark.parametrize(("module", "name"), SHARED)
def test_the_same_setting_is_the_same_argument_in_both_public_clouds(module: str, name: str):
    types: dict[str, dict[str, str]] = {}
    for cloud in ("aws", "gcp"):
        built = piece(cloud, module, name)
        assert dataclasses.is_dataclass(built)
        assert built.__dataclass_params__.frozen  # type: ignore[attr-defined]  # no public way
        assert all(one.kw_only for one in dataclasses.fields(built))
        hints = built.__annotations__
        missing = SHARED[module, name] - set(hints)
        assert not missing, f"{cloud}.{module}.{name} lacks {', '.join(sorted(missing))}"
        own = ("vault",)  # each cloud's store
        types[cloud] = {key: hints[key] for key in SHARED[module, name] if key not in own}
    assert types["aws"] == types["gcp"]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_foundation_s_result_is_the_contract(cloud: str):
    foundation = piece(cloud, "foundation", f"{FOUNDATIONS[cloud]}Foundation")
    args = piece(cloud, "foundation", f"{FOUNDATIONS[cloud]}FoundationArgs")
    assert foundation.__annotations__["result"] == "contract.Foundation"
    needed = [one.name for one in dataclasses.fields(args) if one.default is dataclasses.MISSING]
    assert needed == ["settings", "project", "stack"]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_an_identity_does_what_the_protocol_says(cloud: str):
    promised = inspect.signature(contract.Identity.grant)
    kept = inspect.signature(piece(cloud, "identity", f"{FOUNDATIONS[cloud]}Identity").grant)
    assert str(kept) == str(promised)


@pytest.mark.parametrize("cloud", [cloud for cloud in CLOUDS if cloud != "onprem"])  # it has no such services
def test_every_grant_of_the_contract_has_a_meaning(cloud: str):
    """A grant that nobody looks at would be an identity that may do nothing, found out at run time."""
    source = (ROOT / "components" / cloud / "identity.py").read_text()
    grants = [one.__name__ for one in contract.Grant.__args__]  # type: ignore[attr-defined]  # a union has them
    assert not [one for one in grants if one not in source]


# --- nobody above the foundation names a cloud ---

_NAMES = re.compile(
    r"(?<![a-z0-9])(aws|amazonaws|amazon|eks|ecr|gcp|gke|google|googleapis|cloudwatch|route53|sagemaker|vertex|bedrock)"
    r"(?![a-z0-9])",
    re.IGNORECASE,
)
# Names that every client of the S3 protocol reads, whoever's store it is.
_PROTOCOL = re.compile(r"AWS_[A-Z0-9_]+")

_STORES = "the name that the tool has for the protocol of the contract"
_SERVICES = "models behind a service of a cloud, by the names that settings give them"
_ADAPTER = "an adapter of one cloud's service for endpoints"

ALLOWED: dict[str, str] = {
    "components/platform/backups.py": _STORES,
    "components/platform/vectors_backups.py": _STORES,
    "components/platform/vectors_values.py": _STORES,
    "components/platform/secrets.py": "the operator's name for each kind of store in the contract",
    "components/platform/certificates.py": "cert-manager's name for each kind of zone in the contract",
    "components/platform/envoy.py": "types of Envoy, whose package is named so",
    "components/platform/model_gateway/config.py": _SERVICES,
    "components/platform/model_gateway/models.py": _SERVICES,
    "components/platform/observability/alloy.py": "readers of each kind of audit log; keys that logs must not show",
    "components/platform/observability/catalogue/cluster.py": "metrics that some clouds' own parts have",
    "components/platform/observability/monitors/systems.py": "a controller that one cloud needs; watched where it is",
    "components/platform/observability/state_metrics.py": "labels by which clouds tell spot nodes",
    "components/platform/pods/drill_objects.py": "each store's own client, chosen by the scheme of the URL",
    "workloads/artifacts/links.py": "each store's own way to sign, chosen by the scheme of the URL",
    "workloads/managed/": _ADAPTER,
    "workloads/models/": _SERVICES,
    "workloads/triton/export.py": _SERVICES,
    "workloads/sizing/": "publishers of models and instance types in tables of published numbers",
}


def sources() -> Iterator[Path]:
    for folder in ("components/platform", "workloads"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def texts(path: Path) -> Iterator[str]:
    """Texts of a module that are no documentation."""
    tree = ast.parse(path.read_text())
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def named(path: Path) -> set[str]:
    found = {name.lower() for text in texts(path) for name in _NAMES.findall(_PROTOCOL.sub("", text))}
    return found | {
        text for text in texts(path) if re.match(r"components\.(aws|gcp|onprem)\b|pulumi_(aws|gcp|eks)\b", text)
    }


def allowed(path: Path) -> bool:
    short = path.relative_to(ROOT).as_posix()
    return any(short == entry or (entry.endswith("/") and short.startswith(entry)) for entry in ALLOWED)


def test_the_platform_and_the_workloads_name_no_cloud():
    """What differs comes through the contract; an adapter is listed with its reason."""
    found = {path.relative_to(ROOT).as_posix(): named(path) for path in sources() if not allowed(path)}
    assert not {path: names for path, names in found.items() if names}


def test_every_exception_is_still_needed():
    files = list(sources())
    unused = [
        entry
        for entry in ALLOWED
        if not any(named(path) for path in files if path.relative_to(ROOT).as_posix().startswith(entry))
    ]
    assert not unused


def test_a_foundation_s_module_is_imported_by_its_adapters_only():
    importing = {
        path.relative_to(ROOT).as_posix()
        for path in sources()
        if any(re.match(r"components\.(aws|gcp|onprem)\b", text) for text in texts(path))
    }
    assert not [path for path in importing if not path.startswith("workloads/managed/")]
