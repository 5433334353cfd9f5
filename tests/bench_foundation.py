"""The measured program: our foundation, once or several times over, under other names."""

from __future__ import annotations

import atexit
import json
from pathlib import Path
from typing import Any

import pulumi
from google.protobuf.json_format import MessageToDict
from pulumi.runtime import settings as runtime

from components.aws.foundation import AwsFoundation, AwsFoundationArgs
from components.outputs import export
from components.settings import load_settings


def build(times: int) -> None:
    """Build the stack's foundation; the second and later ones stand beside the first."""
    settings = load_settings()
    args = AwsFoundationArgs(settings=settings, project=pulumi.get_project(), stack=pulumi.get_stack())
    first, *_ = [AwsFoundation("foundation" if n == 0 else f"foundation{n}", args).result for n in range(times)]
    export(first)


def record(times: int, target: Path) -> None:
    """Build it and write down every resource that the program registers, as it reached the engine."""
    monitor = runtime.get_monitor()
    assert monitor is not None
    forward = monitor.RegisterResource
    requests: list[dict[str, Any]] = []

    def keep(request: Any) -> Any:
        requests.append(MessageToDict(request))
        return forward(request)

    monitor.RegisterResource = keep
    atexit.register(lambda: target.write_text(json.dumps(requests)))  # the last one comes after the program's own end
    build(times)
