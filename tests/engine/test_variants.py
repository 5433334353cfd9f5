"""Stacks that differ from the shipped ones in what is chosen once for a place: brought up, held to the policies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from sandbox.engine import Engine
from sandbox.kubernetes.cluster import Cluster
from tests.engine.harness import ROOT, Sandbox
from tests.stacks import settings_of

pytestmark = pytest.mark.engine

_PROGRAM: Final = ("__main__.py", "Pulumi.yaml", "components", "workloads", "ops")

Settings = Mapping[str, Any]

VARIANTS: Final[Mapping[str, tuple[str, Settings]]] = {
    "OpenShift without a way to the internet": (
        "onprem",
        {
            "onprem": {
                "openshift": True,
                "openshiftOptions": {"routes": True},
                "loadBalancer": {"kind": "existing", "addresses": []},
            },
            "airGap": {
                "registry": "registry.dc1.internal/mirror",
                "charts": "oci://registry.dc1.internal/charts",
                "git": "https://git.dc1.internal/mirror",
                "models": "s3://llmops-onprem-models/hub",
            },
        },
    ),
    "a public domain on AWS, with sign-in at the gateway, pipelines by team and copies in another region": (
        "dev",
        {
            "aws": {"drRegion": "us-west-2", "hostedZoneId": "Z0123456789ABCDEFGHIJ"},
            "objects": {"replicate": True},
            "database": {"highlyAvailable": True},
            "cache": {"replicas": 1},
            "platform": {
                "highlyAvailable": True,
                "mesh": {"waypoints": True},
                "certificates": {"issuer": "acme", "acme": {"email": "ops@example.com"}},
                "gateway": {
                    "domain": "llm.example.com",
                    "exposure": "internet-facing",
                    "sourceRanges": ["198.51.100.0/24"],
                    "authentication": {
                        "mode": "jwt",
                        "jwt": {
                            "issuer": "https://idp.example.com",
                            "jwksUri": "https://idp.example.com/keys",
                            "audiences": ["llm"],
                        },
                    },
                },
                "workflows": {"host": "argo.llm.example.com"},
                "pipelines": {"host": "kfp.llm.example.com", "multiUser": True},
                "modelGateway": {"adminHost": "admin.llm.example.com"},
                "delivery": {"host": "argocd.llm.example.com"},
                "alerting": {
                    "receivers": {
                        "chat": {"slack": {"channel": "#ml"}},
                        "page": {"pagerduty": {}},
                        "hook": {"webhook": {}},
                    },
                    "routes": {"critical": ["page"], "warning": ["chat"], "info": ["chat"]},
                    "deadMansSwitch": "hook",
                },
            },
            "quotas": {"idleMonthlyUsd": 3000, "regions": ["us-east-1", "us-west-2"], "loadBalancers": 4},
            "budget": {"monthlyUsd": 9000},
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_comes_up_keeps_the_policies_and_stays_as_it_is(variant: str, tmp_path: Path, engine: Engine):
    del engine  # skipped where there is none
    stack, changes = VARIANTS[variant]
    project = tmp_path / "program"
    project.mkdir()
    for name in _PROGRAM:
        (project / name).symlink_to(ROOT / name)
    settings = {**_changed(settings_of(stack), changes), "protect": "false"}
    content = {"config": {f"llmops:{name}": value for name, value in settings.items()}}
    (project / f"Pulumi.{stack}.yaml").write_text(yaml.safe_dump(content))
    sandbox = Sandbox(project, tmp_path / "home", {"SANDBOX_SAVE": ""})
    try:
        sandbox.up("-s", stack, "--policy-pack", str(ROOT / "policies"))
        sandbox.up("-s", stack, "--expect-no-changes")
    finally:
        sandbox.end()
        Cluster(sandbox.home / "stacks" / stack / "kubernetes").down()


def _changed(settings: Settings, changes: Settings) -> dict[str, Any]:
    """Settings with others in them; sections are merged, everything else is replaced."""
    merged = {
        name: _changed(settings[name], value)
        for name, value in changes.items()
        if isinstance(value, Mapping) and isinstance(settings.get(name), Mapping)
    }
    return {**settings, **changes, **merged}
