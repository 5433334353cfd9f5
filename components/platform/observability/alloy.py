"""What Alloy does, in its own language: which lines it reads, what it leaves out of them, and where it sends them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from components.contract import AuditLog
from components.settings.platform.logs import LogSettings

LABELS: Final = ("source", "namespace", "app", "container", "team", "model")
"""Labels of lines in Loki: each has few values, however many pods come and go."""

METADATA: Final = ("pod", "node")
"""What has many values stands beside a line as structured metadata: it can be filtered by, and makes no streams."""

# Each has one group: what it matches is replaced. In the order in which they are tried.
REDACTED: Final[Mapping[str, str]] = {
    "bearer tokens": r"(?i)\bbearer\s+([A-Za-z0-9._~+/=-]{8,})",
    "keys of model APIs": r"\b(sk-[A-Za-z0-9_-]{12,})",
    "JSON web tokens": r"\b(eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)",
    "AWS access keys": r"\b((?:AKIA|ASIA)[A-Z0-9]{16})\b",
    "tokens of Hugging Face and Git hosts": r"\b((?:hf_|ghp_|gho_|ghs_|glpat-)[A-Za-z0-9_-]{16,})",
    "passwords in URLs": r"[a-z0-9+]://[^/\s:@]*:([^/\s@]+)@",
    "named credentials": (
        r"(?i)(?:password|passwd|client_?secret|api[_-]?key|secret_?access_?key|auth_?token)"
        r"\\?[\"']?\s*[:=]\s*\\?[\"']?([^\s\"',;&}\\]{6,})"
    ),
}
"""Credentials that are taken out of every line before it leaves its node, by what they are."""

_REPLACEMENT: Final = "<redacted>"

# Calls of controllers that are no news: locks, events, and the questions who somebody is and what he may.
_HOUSEKEEPING: Final = (
    "endpointslices",
    "events",
    "leases",
    "localsubjectaccessreviews",
    "selfsubjectaccessreviews",
    "selfsubjectrulesreviews",
    "subjectaccessreviews",
    "tokenreviews",
)
_DONE: Final = r"[123]\d\d"
# Every kind but Secrets, without the look-ahead that RE2 does not have.
_NOT_SECRETS: Final = r"(|[^s].*|s[^e].*|se[^c].*|sec[^r].*)"


def node_configuration(settings: LogSettings, push_url: str) -> str:
    """Configuration of the agents: logs of the pods of their node, and its journal."""
    parts = [_LOGGING, _PODS, _process("pods", _FROM_PODS, settings)]
    if settings.journal:
        parts += [_JOURNAL, _process("journal", _KEEP_METADATA, settings)]
    return "\n".join([*parts, _write(push_url)])


def cluster_configuration(settings: LogSettings, push_url: str, audit: AuditLog | None) -> str:
    """Configuration of the one that watches the cluster: its events, and the record of API calls."""
    parts = [_LOGGING]
    if settings.events:
        parts += [_EVENTS, _process("events", _FROM_EVENTS, settings)]
    if audit is not None:
        parts += [_audit_source(audit), _process("audit", _FROM_AUDIT, settings)]
    return "\n".join([*parts, _write(push_url)])


_LOGGING: Final = """\
logging {
  level  = "warn"
  format = "json"
}
"""

# Rules are tried in order, and later ones replace what earlier ones found.
_PODS: Final = """\
discovery.kubernetes "pods" {
  role = "pod"
  selectors {
    role  = "pod"
    field = "spec.nodeName=" + sys.env("K8S_NODE_NAME")
  }
}

discovery.relabel "pods" {
  targets = discovery.kubernetes.pods.targets

  rule {
    target_label = "source"
    replacement  = "pods"
  }
  rule {
    source_labels = ["__meta_kubernetes_namespace"]
    target_label  = "namespace"
  }
  rule {
    source_labels = ["__meta_kubernetes_pod_container_name"]
    target_label  = "container"
  }
  rule {
    source_labels = ["__meta_kubernetes_pod_container_name"]
    target_label  = "app"
  }
  rule {
    source_labels = ["__meta_kubernetes_pod_label_app"]
    regex         = "(.+)"
    target_label  = "app"
  }
  rule {
    source_labels = ["__meta_kubernetes_pod_label_app_kubernetes_io_name"]
    regex         = "(.+)"
    target_label  = "app"
  }
  rule {
    source_labels = ["__meta_kubernetes_namespace"]
    regex         = "team-(.+)"
    target_label  = "team"
  }
  rule {
    source_labels = ["__meta_kubernetes_pod_label_llmops_team"]
    regex         = "(.+)"
    target_label  = "team"
  }
  rule {
    source_labels = ["__meta_kubernetes_pod_label_serving_kserve_io_inferenceservice"]
    regex         = "(.+)"
    target_label  = "model"
  }
  rule {
    source_labels = ["__meta_kubernetes_pod_name"]
    target_label  = "pod"
  }
  rule {
    source_labels = ["__meta_kubernetes_pod_node_name"]
    target_label  = "node"
  }
  rule {
    source_labels = ["__meta_kubernetes_pod_uid", "__meta_kubernetes_pod_container_name"]
    separator     = "/"
    target_label  = "__path__"
    replacement   = "/var/log/pods/*$1/*.log"
  }
}

loki.source.file "pods" {
  targets    = discovery.relabel.pods.output
  forward_to = [loki.process.pods.receiver]
  file_match {
    enabled = true
  }
}
"""

# Units of containers and of single commands have a name of their own each time; only services are told apart.
_JOURNAL: Final = """\
loki.relabel "journal" {
  forward_to = []

  rule {
    source_labels = ["__journal__systemd_unit"]
    regex         = "([A-Za-z0-9_.-]+)(@.*)?[.]service"
    target_label  = "app"
  }
  rule {
    source_labels = ["__journal__hostname"]
    target_label  = "node"
  }
}

loki.source.journal "node" {
  path          = "/var/log/journal"
  labels        = { source = "journal" }
  relabel_rules = loki.relabel.journal.rules
  forward_to    = [loki.process.journal.receiver]
}
"""

_EVENTS: Final = """\
loki.source.kubernetes_events "cluster" {
  log_format = "json"
  forward_to = [loki.process.events.receiver]
}
"""

_KEEP_METADATA: Final = """\
  stage.structured_metadata {
    values = { pod = "", node = "" }
  }
"""

_FROM_PODS: Final = f"""\
  stage.cri {{ }}
{_KEEP_METADATA}"""

_FROM_EVENTS: Final = """\
  stage.static_labels {
    values = { source = "events" }
  }
"""

_FROM_AUDIT: Final = f"""\
  stage.json {{
    expressions = {{
      verb        = "verb",
      code        = "responseStatus.code",
      resource    = "objectRef.resource",
      subresource = "objectRef.subresource",
      namespace   = "objectRef.namespace",
    }}
  }}
  stage.drop {{
    source              = "verb,code,resource"
    expression          = `^(get|list|watch);{_DONE}(;{_NOT_SECRETS})?$`
    drop_counter_reason = "read"
  }}
  stage.drop {{
    source              = "code,resource"
    expression          = `^{_DONE};({"|".join(_HOUSEKEEPING)})$`
    drop_counter_reason = "housekeeping"
  }}
  stage.drop {{
    source              = "code,subresource"
    expression          = `^{_DONE};status$`
    drop_counter_reason = "status"
  }}
  stage.static_labels {{
    values = {{ source = "audit", app = "kube-apiserver" }}
  }}
  stage.labels {{
    values = {{ namespace = "" }}
  }}
"""


def _process(name: str, stages: str, settings: LogSettings) -> str:
    """Stages of one source; what every source ends with: nothing secret, and no label but the known."""
    kept = ", ".join(f'"{label}"' for label in LABELS)
    return (
        f'loki.process "{name}" {{\n  forward_to = [loki.write.loki.receiver]\n\n{stages}'
        f"{_redaction([*REDACTED.values(), *settings.redacted])}"
        f"  stage.label_keep {{\n    values = [{kept}]\n  }}\n}}\n"
    )


def _redaction(patterns: Iterable[str]) -> str:
    return "".join(
        f'  stage.replace {{\n    expression = `{pattern}`\n    replace    = "{_REPLACEMENT}"\n  }}\n'
        for pattern in patterns
    )


def _audit_source(audit: AuditLog) -> str:
    """Where the foundation keeps the record of API calls."""
    match audit.kind:
        case "cloudwatch":
            return f"""\
otelcol.receiver.awscloudwatch "audit" {{
  region = "{audit.region}"
  logs {{
    poll_interval          = "1m"
    max_events_per_request = 5000
    groups {{
      named {{
        group_name = "{audit.place}"
        prefixes   = ["{audit.prefix}"]
      }}
    }}
  }}
  output {{
    logs = [otelcol.processor.attributes.audit.input]
  }}
}}

// The line as it was, and not wrapped into another document.
otelcol.processor.attributes "audit" {{
  action {{
    key    = "loki.format"
    action = "insert"
    value  = "raw"
  }}
  output {{
    logs = [otelcol.exporter.loki.audit.input]
  }}
}}

otelcol.exporter.loki "audit" {{
  forward_to = [loki.process.audit.receiver]
}}
"""


def _write(push_url: str) -> str:
    """Where lines go. While Loki is away, reading stops and files wait on the node, until the kubelet rotates them."""
    return f"""\
loki.write "loki" {{
  endpoint {{
    url                 = "{push_url}"
    max_backoff_period  = "1m"
    max_backoff_retries = 60
  }}
}}
"""
