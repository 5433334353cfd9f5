"""Preflight of a Google Cloud project, against answers in the form of Google's APIs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from components.settings import parse
from ops.preflight.gcp import access, places, plan, quotas
from ops.preflight.gcp.account import GoogleError, decoded
from ops.preflight.model import Check, Finding, UnansweredError
from ops.preflight.target import Target

pytestmark = pytest.mark.unit

_GROUPS = [
    {"name": "system", "role": "system", "instanceTypes": ["n2-standard-2"], "minSize": 1, "maxSize": 3},
    {
        "name": "train", "role": "gpu-training", "instanceTypes": ["g2-standard-16"], "maxSize": 2, "capacity": "spot",
    },
    {"name": "serve", "role": "gpu-inference", "instanceTypes": ["g2-standard-24"], "maxSize": 1},
]  # fmt: skip


def target(**gcp: Any) -> Target:
    settings = parse(
        {
            "cloud": "gcp",
            "owner": "team",
            "costCenter": "center",
            "gcp": {"project": "probe-12345", "projectNumber": "123456789012", **gcp},
            "network": {"cidr": "10.48.0.0/16", "zones": ["us-central1-a", "us-central1-b"]},
            "nodeGroups": _GROUPS,
            "database": {"instanceClass": "db-custom-2-8192"},
            "registry": {"upstreams": {"quay.io": ""}},
            "workloads": [{"name": "w", "role": "system", "vcpu": 1, "memoryGib": 1}],
        }
    )
    return Target(project="llmops", stack="test", settings=settings)


class FakeAccount:
    """A project that answers what it is told, by the end of the URL."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def get(self, url: str, /, **parameters: str) -> dict[str, Any]:
        self.asked.append(url)
        for end, answer in self.answers.items():
            if url.endswith(end):
                if isinstance(answer, Exception):
                    raise answer
                return answer
        raise GoogleError(404, "notFound", url, "not found")

    def post(self, url: str, body: Mapping[str, Any], /) -> dict[str, Any]:
        del body
        return self.get(url)


def judged(checks: Iterable[Check], subject: str) -> Finding:
    (check,) = (one for one in checks if one.subject.startswith(subject))
    (finding,) = check.ask()
    return finding


# What the stack needs


def test_needs_are_counted_with_every_pool_at_its_maximum():
    found = {need.metric: need.amount for need in quotas.needs(target().settings)}
    assert found["N2_CPUS"] == 3 * 2
    assert found["PREEMPTIBLE_NVIDIA_L4_GPUS"] == 2
    assert found["NVIDIA_L4_GPUS"] == 2
    assert found["GPUS_ALL_REGIONS"] == 4
    assert found["LOCAL_SSD_TOTAL_GB"] == 2 * 375 + 2 * 375


@pytest.mark.parametrize(
    ("limit", "used", "answer"), [(2, 0, "ok"), (1, 0, "refused"), (3, 2, "unknown"), (10, 8, "ok")]
)
def test_a_quota_is_held_against_what_is_needed_and_what_is_in_use(limit: float, used: float, answer: str):
    listed = [{"metric": "NVIDIA_L4_GPUS", "limit": limit, "usage": used}]
    account = FakeAccount({"regions/us-central1": {"quotas": listed}})
    found = judged(quotas.checks(account, target()), "NVIDIA_L4_GPUS")
    assert found.answer == answer, found.message
    assert found.figures["limit"] == limit


def test_a_quota_that_google_does_not_name_is_unknown():
    account = FakeAccount({"probe-12345": {"quotas": []}})
    assert judged(quotas.checks(account, target()), "GPUS_ALL_REGIONS").answer == "unknown"


# Places


@pytest.mark.parametrize(
    ("found", "answer"),
    [
        ({"lifecycleState": "ACTIVE", "projectNumber": "123456789012"}, "ok"),
        ({"lifecycleState": "DELETE_REQUESTED", "projectNumber": "123456789012"}, "refused"),
        ({"lifecycleState": "ACTIVE", "projectNumber": "1"}, "refused"),
    ],
)
def test_the_project_is_there_and_is_the_one_that_is_meant(found: dict[str, Any], answer: str):
    account = FakeAccount({"/v1/projects/probe-12345": found})
    assert judged(places.checks(account, target()), "project").answer == answer


@pytest.mark.parametrize(
    ("state", "enables", "answer"), [("ENABLED", False, "ok"), ("DISABLED", True, "ok"), ("DISABLED", False, "refused")]
)
def test_an_api_that_is_off_is_refused_unless_the_stack_switches_it_on(state: str, enables: bool, answer: str):
    account = FakeAccount({"sqladmin.googleapis.com": {"state": state}})
    checks = places.checks(account, target(enableApis=enables))
    assert judged(checks, "API sqladmin").answer == answer


def test_a_type_that_a_zone_lacks_is_refused_and_one_without_its_card_too():
    machine = {"guestCpus": 16, "memoryMb": 65536}
    zone = "zones/us-central1-a"
    with_card = FakeAccount({f"{zone}/machineTypes/g2-standard-16": machine, f"{zone}/acceleratorTypes/nvidia-l4": {}})
    without = FakeAccount({f"{zone}/machineTypes/g2-standard-16": machine})
    subject = "train: g2-standard-16 in us-central1-a"
    assert judged(places.checks(with_card, target()), subject).answer == "ok"
    assert judged(places.checks(without, target()), subject).answer == "refused"
    assert judged(places.checks(FakeAccount({}), target()), subject).answer == "refused"


def test_a_type_of_another_size_than_the_catalogue_says_is_unknown():
    account = FakeAccount({"zones/us-central1-a/machineTypes/n2-standard-2": {"guestCpus": 4, "memoryMb": 8192}})
    assert judged(places.checks(account, target()), "system: n2-standard-2 in us-central1-a").answer == "unknown"


def test_a_zone_that_the_region_lacks_is_refused():
    zones = [f"https://…/zones/{name}" for name in ("us-central1-a", "us-central1-c")]
    account = FakeAccount({"regions/us-central1": {"status": "UP", "zones": zones}})
    found = judged(places.checks(account, target()), "region")
    assert found.answer == "refused"
    assert "us-central1-b is not among" in found.message


@pytest.mark.parametrize(("there", "answer"), [("1.35.3-gke.100", "ok"), ("1.3.1-gke.1", "refused"), (None, "unknown")])
def test_the_version_must_be_in_the_channel(there: str | None, answer: str):
    channels = [{"channel": "REGULAR", "validVersions": [there] if there else []}]
    account = FakeAccount({"serverConfig": {"channels": channels}})
    wanted = target().settings.cluster.kubernetes_version
    if there and answer == "ok":
        channels[0]["validVersions"] = [f"{wanted}.3-gke.100"]
    assert judged(places.checks(account, target()), "Kubernetes").answer == answer


# Access


def test_every_missing_permission_is_named():
    held = [one for one in access.PERMISSIONS if one != "compute.networks.create"]
    account = FakeAccount({":testIamPermissions": {"permissions": held}})
    found = judged(access.checks(account, target()), "permissions")
    assert found.answer == "refused"
    assert found.message == "the caller lacks compute.networks.create"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"labels": {"stack": "llmops-test"}}, "ok"),
        ({"labels": {}}, "refused"),
        (GoogleError(403, "forbidden", "u", "no"), "unknown"),
        (GoogleError(404, "notFound", "u", "no"), "ok"),
    ],
)
def test_the_name_of_a_bucket_is_free_or_ours(answer: Any, expected: str):
    account = FakeAccount({"/b/llmops-test-data-probe-12345": answer})
    assert judged(access.checks(account, target()), "bucket llmops-test-data-").answer == expected


def test_what_google_does_not_answer_is_for_the_runner_to_call_unknown():
    account = FakeAccount({"sqladmin.googleapis.com": GoogleError(500, "", "u", "oops")})
    with pytest.raises(UnansweredError):
        judged(places.checks(account, target()), "API sqladmin")


def test_no_two_questions_have_one_subject():
    subjects = [(check.group, check.subject) for check in plan.checks(FakeAccount({}), target())]
    assert len(subjects) == len(set(subjects))


# Answers of the APIs


_OFF = {"code": 403, "message": "m", "status": "PERMISSION_DENIED", "details": [{"reason": "SERVICE_DISABLED"}]}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (_OFF, "SERVICE_DISABLED"),
        ({"code": 403, "message": "m", "errors": [{"reason": "accessNotConfigured"}]}, "accessNotConfigured"),
        ({"code": 404, "message": "m", "status": "NOT_FOUND"}, "NOT_FOUND"),
    ],
)
def test_errors_of_both_generations_of_apis_are_understood(error: dict[str, Any], reason: str):
    with pytest.raises(GoogleError) as raised:
        decoded("https://compute.googleapis.com/x?token=1", 403, json.dumps({"error": error}))
    assert raised.value.reason == reason
    assert "token=1" not in str(raised.value)
    assert raised.value.api_off is (reason in ("SERVICE_DISABLED", "accessNotConfigured"))


def test_an_answer_that_is_no_json_is_no_answer():
    with pytest.raises(UnansweredError, match="502: bad gateway"):
        decoded("https://compute.googleapis.com/x", 502, "bad gateway")
