"""What Prometheus reads: one typed row for each kind of pod, and the object that it becomes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

API: Final = "monitoring.coreos.com/v1"
NAMESPACE: Final = "monitoring"

WITH_TOKEN: Final = "with-token"
"""Scrape class of targets that ask who reads: Prometheus shows them the token of its own service account."""

Speaks = Literal["http", "https", "https-with-token"]
"""``https``: a certificate that the pod made for itself, so it is not checked. ``https-with-token``: the same, and the
pod asks the API server whether the token may read metrics."""


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """One kind of pod that is read.

    Attributes:
        name: Unique; the label ``job`` of every series.
        namespaces: Where its pods run.
        labels: Labels that select them.
        port: Container port.
        port_annotation: Annotation of its pods that names the port, where it is not the same for all.
        container: Name of the container, for a port that the pod does not declare, or has in an annotation.
        path: Path of the metrics.
        speaks: How it is asked.
        seconds: How often; 0 for the stack's own interval.
        samples: What one answer may hold at most; 0 for the stack's own limit.
        honor_labels: Labels ``namespace``, ``pod`` and so on in the answer are right: it speaks of others.
        target_labels: Labels of its series, by the labels of its pods from which they are taken.
        node: Whether its series say on which node it runs.
        on_host: Its pods have the address of their node.
        keep: Names of the metrics that are kept, as regular expressions; empty for all.
        drop: Names of metrics that are dropped, as regular expressions: large, and read by nobody.
        why: What would not be seen without it.
    """

    name: str
    namespaces: Sequence[str]
    labels: Mapping[str, str]
    port: int = 0
    port_annotation: str = ""
    container: str = ""
    path: str = "/metrics"
    speaks: Speaks = "http"
    seconds: int = 0
    samples: int = 0
    honor_labels: bool = False
    target_labels: Mapping[str, str] = field(default_factory=dict[str, str])
    node: bool = False
    on_host: bool = False
    keep: Sequence[str] = ()
    drop: Sequence[str] = ()
    why: str

    def __post_init__(self) -> None:
        if bool(self.port) == bool(self.port_annotation) or (self.port_annotation and not self.container):
            raise ValueError(f"monitor {self.name}: needs a port, or an annotation with one and a container")

    @property
    def spec(self) -> dict[str, Any]:
        """Specification of the PodMonitor."""
        return {
            "namespaceSelector": {"matchNames": list(self.namespaces)},
            "selector": {"matchLabels": dict(self.labels)},
            **({"scrapeClass": WITH_TOKEN} if self.speaks == "https-with-token" else {}),
            **({"sampleLimit": self.samples} if self.samples else {}),
            "podMetricsEndpoints": [self._endpoint()],
        }

    def _endpoint(self) -> dict[str, Any]:
        dropped = metric_relabelings(self.keep, self.drop)
        return {
            # By number: the way through the network policies is one too, and charts rename their ports.
            **({} if self.container else {"portNumber": self.port}),
            "path": self.path,
            **({"scheme": "http"} if self.speaks == "http" else {"scheme": "https"}),
            **({"tlsConfig": {"insecureSkipVerify": True}} if self.speaks == "https" else {}),
            **({"interval": f"{self.seconds}s"} if self.seconds else {}),
            **({"honorLabels": True} if self.honor_labels else {}),
            "relabelings": self._relabelings(),
            **({"metricRelabelings": dropped} if dropped else {}),
        }

    def _relabelings(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = [{"targetLabel": "job", "replacement": self.name}]
        if self.container:
            found += [
                {
                    "sourceLabels": ["__meta_kubernetes_pod_container_name"],
                    "action": "keep",
                    "regex": re.escape(self.container),
                },
                self._address(),
            ]
        if self.node:
            found.append({"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"})
        found += [
            {"sourceLabels": [f"__meta_kubernetes_pod_label_{_meta(label)}"], "targetLabel": target}
            for target, label in sorted(self.target_labels.items())
        ]
        return found

    def _address(self) -> dict[str, Any]:
        """Where a port is read that discovery does not find; a target for each other port becomes the same one."""
        if not self.port_annotation:
            return {
                "sourceLabels": ["__meta_kubernetes_pod_ip"],
                "targetLabel": "__address__",
                "replacement": f"$1:{self.port}",
            }
        return {
            "sourceLabels": [
                "__meta_kubernetes_pod_ip",
                f"__meta_kubernetes_pod_annotation_{_meta(self.port_annotation)}",
            ],
            "separator": ":",
            "regex": r"(.+:\d+)",
            "targetLabel": "__address__",
            "replacement": "$1",
        }


def metric_relabelings(keep: Sequence[str], drop: Sequence[str]) -> list[dict[str, Any]]:
    """What is thrown away of an answer before it is stored."""
    return [
        {"sourceLabels": ["__name__"], "action": action, "regex": "|".join(names)}
        for action, names in (("keep", keep), ("drop", drop))
        if names
    ]


def _meta(label: str) -> str:
    """A label as Prometheus' discovery writes it."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", label)
