"""What the tests of the Google Cloud components share: a project, what its APIs answer, and a whole foundation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from conftest import Recorder

from components.gcp.foundation import GcpFoundation, GcpFoundationArgs
from components.gcp.project import Project
from components.settings import Settings, parse

PROJECT = Project(id="llmops-example", number="123456789012", region="us-central1")
PREFIX = "llmops-gcp"
KEY = "projects/llmops-example/locations/us-central1/keyRings/llmops-gcp-aabbcc/cryptoKeys/storage"
LEAST: dict[str, Any] = {
    "cloud": "gcp",
    "owner": "ml-platform",
    "costCenter": "ml",
    "gcp": {"project": PROJECT.id, "projectNumber": PROJECT.number},
}

# Outputs that the components read, as the APIs answer.
ANSWERS: dict[str, dict[str, Any]] = {
    "gcp:container/cluster:Cluster": {"endpoint": "10.0.192.2", "masterAuth": {"clusterCaCertificate": "Y2E="}},
    "gcp:sql/databaseInstance:DatabaseInstance": {
        "privateIpAddress": "10.0.128.3",
        "dnsName": "0a1b.2c3d.us-central1.sql.goog.",
        "serverCaCerts": [{"cert": "-----BEGIN CERTIFICATE-----\nsql"}],
    },
    "gcp:redis/instance:Instance": {
        "host": "10.0.129.4",
        "port": 6378,
        "authString": "drawn-by-google",
        "serverCaCerts": [{"cert": "-----BEGIN CERTIFICATE-----\nredis"}],
    },
    "gcp:serviceaccount/account:Account": {"email": "someone@llmops-example.iam.gserviceaccount.com"},
    "random:index/randomId:RandomId": {"hex": "aabbcc"},
    "random:index/randomPassword:RandomPassword": {"result": "random", "bcryptHash": "hash"},
}


def settings(given: Mapping[str, Any] | None = None) -> Settings:
    """Settings of a stack on Google Cloud."""
    raw = {**LEAST, **(given or {})}
    raw["gcp"] = {**LEAST["gcp"], **(given or {}).get("gcp", {})}
    return parse(raw)


def prepare(recorded: Recorder) -> Recorder:
    """Let the mocks answer as Google Cloud does."""
    recorded.outputs.update(ANSWERS)
    recorded.outputs["gcp:filestore/instance:Instance"] = {
        "networks": [{"network": "n", "modes": ["MODE_IPV4"], "ipAddresses": ["10.0.130.2"]}]
    }
    return recorded


def build(recorded: Recorder, given: Mapping[str, Any] | None = None) -> GcpFoundation:
    """The whole foundation under mocks."""
    prepare(recorded)
    args = GcpFoundationArgs(settings=settings(given), project="llmops", stack="gcp")
    return recorded.run(lambda: GcpFoundation("foundation", args))


def known(recorded: Recorder, output: pulumi.Input[Any]) -> Any:
    """The value of an output."""
    found: list[Any] = []
    recorded.run(lambda: pulumi.Output.from_input(output).apply(found.append))
    return found[0]
