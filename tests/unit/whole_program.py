"""The whole program of ``__main__.py`` under the mocks of a test: foundation, platform, workloads, outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pulumi

from components.contract import Foundation
from components.foundation import build_foundation
from components.platform.platform import Platform, PlatformArgs
from components.settings import Settings, parse
from tests.unit import gcp_stack, onprem_stack
from tests.unit.conftest import ACCOUNT, REGION, Recorder
from workloads.stack import run, stack_workloads

# The registry of models answers with a version that lies in the stack's own bucket.
_PINNED: Final = "pulumi-python:dynamic:Resource"
_REGISTERED: Final = {
    "aws": f"s3://llmops-test-mlflow-{ACCOUNT}-{REGION}",
    "gcp": "gs://llmops-test-mlflow-llmops-example",
    "onprem": "s3://llmops-onprem-mlflow",
}
_TLS: Final = {
    "tls:index/selfSignedCert:SelfSignedCert": {"certPem": "AUTHORITY"},
    "tls:index/locallySignedCert:LocallySignedCert": {"certPem": "SERVER"},
    "tls:index/privateKey:PrivateKey": {"privateKeyPem": "KEY"},
    "tls:index/certRequest:CertRequest": {"certRequestPem": "REQUEST"},
}


def declare(recorded: Recorder, raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Declare everything that the settings ask for; the answer is what the workloads put into the stack's outputs."""
    settings = parse(dict(raw))
    if settings.cloud == "gcp":
        gcp_stack.prepare(recorded)
    recorded.outputs.update(_TLS)
    recorded.outputs[_PINNED] = {"version": "3", "source": f"{_REGISTERED[settings.cloud]}/artifacts/1/3"}

    def program() -> Mapping[str, Any]:
        declared = stack_workloads(settings, prefix=f"{pulumi.get_project()}-{pulumi.get_stack()}")
        platform = Platform(
            "platform",
            PlatformArgs(
                foundation=_foundation(settings),
                settings=settings,
                models=declared.gateway,
                openings=declared.openings,
                objectives=declared.models.objectives,
                entries=declared.entries,
                allowances=declared.allowances,
            ),
        )
        return run(declared, settings, platform)

    return recorded.run(program)


def _foundation(settings: Settings) -> Foundation:
    """The real one; on premises with a cluster that is as the settings say, which the program would ask."""
    return onprem_stack.build(settings).result if settings.cloud == "onprem" else build_foundation(settings)
