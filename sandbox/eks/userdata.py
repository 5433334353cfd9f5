"""User data that joins a managed node to its cluster, where the program wants more than EKS writes by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from sandbox.eks.inputs import ComponentError, Inputs

_TAINT_EFFECTS = {
    "NO_SCHEDULE": "NoSchedule",
    "NO_EXECUTE": "NoExecute",
    "PREFER_NO_SCHEDULE": "PreferNoSchedule",
}
_MIME = 'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="{boundary}"\n\n'


@dataclass(frozen=True, kw_only=True)
class Join:
    """The cluster that the node joins, and how.

    Attributes:
        name: Cluster name.
        endpoint: URL of its API server.
        authority: Its certificate authority, base64.
        service_cidr: Its service network.
        labels: Labels of the node.
        taints: Taints as the EKS API writes them.
        kubelet_arguments: More flags of the kubelet, space-separated.
        bootstrap_arguments: More arguments of AL2's bootstrap script.
        sections: More MIME sections for nodeadm: content type and content.
    """

    name: str
    endpoint: str
    authority: str
    service_cidr: str
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    taints: Sequence[Mapping[str, str]] = ()
    kubelet_arguments: str = ""
    bootstrap_arguments: str = ""
    sections: Sequence[Mapping[str, str]] = ()


def user_data(system: str, join: Join) -> str:
    """Return the user data for an operating system, not yet encoded."""
    if system == "AL2":
        return _bootstrap_script(join)
    if system == "AL2023":
        return _nodeadm(join)
    raise ComponentError(f"the sandbox does not emulate user data for {system}; give userData, or leave it to EKS")


def _kubelet_flags(join: Join) -> list[str]:
    flags = join.kubelet_arguments.split()
    if join.labels:
        flags.append("--node-labels=" + ",".join(f"{key}={value}" for key, value in join.labels.items()))
    if join.taints:
        flags.append("--register-with-taints=" + ",".join(_taint(taint) for taint in join.taints))
    return flags


def _taint(taint: Mapping[str, str]) -> str:
    if taint["effect"] not in _TAINT_EFFECTS:
        raise ComponentError(f"taints: effect {taint['effect']} is not one of {', '.join(_TAINT_EFFECTS)}")
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint['key']}{value}:{_TAINT_EFFECTS[taint['effect']]}"


def _bootstrap_script(join: Join) -> str:
    flags = _kubelet_flags(join)
    more = f" {join.bootstrap_arguments}" if join.bootstrap_arguments else ""
    if flags:
        quote = "'" if len(flags) > 1 else ""
        more += f" --kubelet-extra-args {quote}{' '.join(flags)}{quote}"
    boundary = "==MYBOUNDARY=="
    return (
        _MIME.format(boundary=boundary)
        + f'--{boundary}\nContent-Type: text/x-shellscript; charset="us-ascii"\n\n#!/bin/bash\n\n'
        + f'/etc/eks/bootstrap.sh --apiserver-endpoint "{join.endpoint}" --b64-cluster-ca "{join.authority}" '
        + f'"{join.name}"{more}\n--{boundary}--'
    )


def _nodeadm(join: Join) -> str:
    """Multi-part MIME; nodeadm merges the NodeConfig sections in their order."""
    if join.bootstrap_arguments:
        raise ComponentError("bootstrapExtraArgs: not supported by nodeadm (AL2023); use nodeadmExtraOptions")
    cluster = {
        "name": join.name,
        "apiServerEndpoint": join.endpoint,
        "certificateAuthority": join.authority,
        "cidr": join.service_cidr,
    }
    sections: list[Mapping[str, str]] = [_node_config({"cluster": cluster})]
    if flags := _kubelet_flags(join):
        sections.append(_node_config({"kubelet": {"flags": flags}}))
    sections.extend(join.sections)
    boundary = "BOUNDARY"
    parts = [f"--{boundary}\nContent-Type: {part['contentType']}\n\n{part['content']}\n" for part in sections]
    return _MIME.format(boundary=boundary) + "".join(parts) + f"--{boundary}--\n"


def _node_config(spec: Inputs) -> dict[str, Any]:
    document = {"apiVersion": "node.eks.aws/v1alpha1", "kind": "NodeConfig", "spec": spec}
    return {
        "contentType": "application/node.eks.aws",
        "content": "---\n" + yaml.safe_dump(document, sort_keys=False),
    }
