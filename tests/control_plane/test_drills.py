"""Drills and restores on a real API server: their objects, their pods, and what their accounts may do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from components.platform.databases import Databases, DatabasesArgs
from components.platform.drill_names import JOBS, RECORDS, RECORDS_NAMESPACE
from components.platform.drills import Drills, DrillsArgs
from sandbox.provider import ProviderError
from tests.control_plane.conftest import Stack
from tests.control_plane.declared import (
    Declared,
    admit,
    definitions,
    furnishing,
    may,
    objects_of,
)
from tests.unit.conftest import Recorder
from tests.unit.conftest import recorded as recorded  # noqa: PLC0414 a fixture, for this module too
from tests.unit.platform_site import options, site

pytestmark = pytest.mark.control_plane

# They would wait for nodes of the platform's own, which this cluster has none of.
WAITING = ("apps/v1:Deployment", "batch/v1:Job")


@pytest.fixture(scope="module")
def furnished(stack: Stack) -> Iterator[Stack]:
    definitions("external-secrets", "velero")
    with furnishing(stack, ("mlops-system", "mlops-data", "velero")):
        yield stack


def objects(recorded: Recorder, settings: dict[str, Any] | None = None) -> list[tuple[str, dict[str, Any]]]:
    def program() -> None:
        place = site(settings or {})
        shared = Databases("databases", DatabasesArgs(site=place, secrets_ready=()), options(place))
        args = DrillsArgs(site=place, databases_ready=shared.ready, experiments_ready=(), vectors_ready=())
        Drills("drills", args, options(place))

    return objects_of(recorded, program)


@pytest.mark.parametrize("settings", [{}, {"experiments": {"enabled": False}}, {"vectors": {"enabled": False}}])
def test_every_object_is_admitted_and_reads_back_as_it_was_declared(
    settings: dict[str, Any], furnished: Stack, recorded: Recorder
):
    admit(furnished, objects(recorded, settings), waiting=WAITING)


def test_every_pod_keeps_to_the_restricted_level(furnished: Stack, recorded: Recorder):
    found = objects(recorded)
    accounts = [Declared(furnished, *one).create() for one in found if one[0] == "core/v1:ServiceAccount"]
    try:
        judged = 0
        for token, inputs in found:
            template = inputs["spec"]["jobTemplate"]["spec"] if token == "batch/v1:CronJob" else inputs.get("spec", {})
            if token not in (*WAITING, "batch/v1:CronJob"):
                continue
            spec = template["template"]["spec"]
            metadata = {"name": "one", "namespace": inputs["metadata"]["namespace"]}
            Declared(furnished, "core/v1:Pod", {"metadata": metadata, "spec": spec}).preview()
            loose = {"metadata": metadata, "spec": {**spec, "securityContext": {}}}
            with pytest.raises(ProviderError, match="violates PodSecurity"):
                Declared(furnished, "core/v1:Pod", loose).preview()
            judged += 1
        assert judged == 5, "two drills, the metrics, the database, the rights"
    finally:
        for account in accounts:
            account.delete()


def test_an_account_of_a_drill_changes_the_records_and_nothing_else(furnished: Stack, recorded: Recorder):
    made = [Declared(furnished, *one).create() for one in objects(recorded) if "rbac" in one[0] or "Account" in one[0]]
    client = furnished.client
    try:
        for namespace, name in JOBS.values():
            user = f"system:serviceaccount:{namespace}:{name}"
            assert comes_to_be_allowed_by_name(client, user)
            for verb, resource in (
                ("list", "configmaps"),
                ("create", "configmaps"),
                ("get", "secrets"),
                ("create", "pods"),
                ("create", "jobs.batch"),
            ):
                assert not may(client, user, verb, resource, RECORDS_NAMESPACE), (user, verb, resource)
            assert not comes_to_be_allowed_at_once(client, user, "other")
    finally:
        for one in reversed(made):
            one.delete()


def comes_to_be_allowed_by_name(client: Any, user: str) -> bool:
    """The right to patch the one ConfigMap; the API server hears of its roles a moment later."""
    for _ in range(100):
        if comes_to_be_allowed_at_once(client, user, RECORDS):
            return True
        time.sleep(0.1)
    return False


def comes_to_be_allowed_at_once(client: Any, user: str, name: str) -> bool:
    asked = {"verb": "patch", "resource": "configmaps", "group": "", "namespace": RECORDS_NAMESPACE, "name": name}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": ["system:authenticated"], "resourceAttributes": asked},
    }
    return client.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body=body)["status"]["allowed"]
