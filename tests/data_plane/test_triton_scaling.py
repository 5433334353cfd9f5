"""The query by which Triton's servers are added, evaluated by Prometheus' own tool on series as Triton has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.platform.inference import inference_service
from components.settings.platform.serving import ServingSettings
from tests.data_plane.promtool import run
from tests.unit.stack_models import chat, planned
from workloads.triton.backend import server

pytestmark = pytest.mark.data_plane

PROMETHEUS = "http://prometheus-operated.monitoring:9090"


def scaling() -> dict[str, str]:
    """The trigger of a declared model that reads the servers' queues."""
    found = planned(chat(backend="triton", quantization="awq", replicas={"min": 0, "max": 4}))
    (spec,) = found.specs
    assert ServingSettings().activation.enabled
    objects = inference_service(
        server(spec, spec.versions[0], found.plans["chat"]), prometheus_url=PROMETHEUS, activator=True
    )
    assert objects.scaling is not None
    (trigger,) = [one["metadata"] for one in objects.scaling["triggers"] if one["type"] == "prometheus"]
    return trigger


def of(pod: str, metric: str, values: str, **labels: str) -> dict[str, str]:
    named = {"namespace": "mlops-serving", "pod": pod, "model": "tensorrt_llm-5212604955", "version": "1", **labels}
    return {
        "series": metric + "{" + ",".join(f'{key}="{value}"' for key, value in named.items()) + "}",
        "values": values,
    }


def waiting(pod: str, count: int) -> dict[str, str]:
    """Requests in the engine's own queue."""
    return of(pod, "nv_trt_llm_request_metrics", f"{count}x10", request_type="waiting")


def queued(pod: str, requests: int) -> dict[str, str]:
    """Microseconds that so many requests, always, have waited in Triton's queue; a look each 15 seconds."""
    return of(pod, "nv_inference_queue_duration_us", f"0+{requests * 15_000_000}x40")


@pytest.mark.parametrize(
    ("series", "value"),
    [
        pytest.param([], 0, id="a model without a server"),
        pytest.param([waiting("chat-predictor-a", 3)], 3, id="the engine's queue"),
        pytest.param([queued("chat-predictor-a", 2)], 2, id="time in Triton's queues"),
        pytest.param(
            [waiting("chat-predictor-a", 3), waiting("chat-predictor-b", 4), queued("chat-predictor-a", 2)],
            9,
            id="both, over all servers",
        ),
        pytest.param(
            [
                waiting("chat-predictor-a", 1),
                waiting("chatter-predictor-a", 50),
                of("chat-predictor-a", "nv_trt_llm_request_metrics", "7x10", request_type="active"),
            ],
            1,
            id="neither another model's nor those that run",
        ),
    ],
)
def test_the_query_counts_requests_that_wait(series: list[dict[str, str]], value: int, tmp_path: Path):
    trigger = scaling()
    content: dict[str, Any] = {
        "rule_files": [],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": series,
                "promql_expr_test": [
                    {
                        "expr": f"round({trigger['query']}, 0.001)",
                        "eval_time": "2m",
                        "exp_samples": [{"labels": "{}", "value": value}],
                    }
                ],
            }
        ],
    }
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump(content))

    done = run("test", "rules", str(file), cwd=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
