"""Definitions of custom resources, loaded when a kind is first used."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from sandbox.kubernetes.api import ApiError, Client, Manifest, ResourceType
from sandbox.kubernetes.nodes import condition
from sandbox.toolchain import downloads

MANAGER = "sandbox-definitions"
LABEL = "sandbox/loaded-on-demand"
_ESTABLISHED_WITHIN_SECONDS = 60.0  # large definitions on a busy machine take their time
_POLL_SECONDS = 0.1

# Folders of definitions in their repositories, by API group; used where SANDBOX_CRDS has no file.
_OFFICIAL = {
    "cert-manager.io": "cert-manager/cert-manager/v1.21.1/deploy/crds",
    "external-secrets.io": "external-secrets/external-secrets/v2.9.0/config/crds/bases",
    "gateway.networking.k8s.io": "kubernetes-sigs/gateway-api/v1.6.1/config/crd/standard",
    "karpenter.k8s.aws": "aws/karpenter-provider-aws/v1.14.1/pkg/apis/crds",
    "karpenter.sh": "aws/karpenter-provider-aws/v1.14.1/pkg/apis/crds",
    "keda.sh": "kedacore/keda/v2.20.2/config/crd/bases",
    "kueue.x-k8s.io": "kubernetes-sigs/kueue/v0.19.2/config/components/crd/bases",
    "monitoring.coreos.com": "prometheus-operator/prometheus-operator/v0.93.1/example/prometheus-operator-crd",
    "ray.io": "ray-project/kuberay/v1.7.0/helm-chart/kuberay-operator/crds",
    "velero.io": "vmware-tanzu/velero/v1.18.1/config/crd/v1/bases",
}

# Groups that the API server serves by itself (those without a dot, such as apps, as well): no definition adds a kind.
_BUILT_IN = re.compile(
    r"(admissionregistration|apiextensions|apiregistration|authentication|authorization|certificates|coordination|discovery"
    r"|events|flowcontrol\.apiserver|internal\.apiserver|networking|node|rbac\.authorization|resource|scheduling|storage"
    r"|storagemigration)\.k8s\.io"
)


class Loader(yaml.CSafeLoader):
    """Accepts the bare ``=`` that some upstream definitions hold."""


def _bare_equals(_loader: Any, node: Any) -> str:
    return str(node.value)


Loader.add_constructor("tag:yaml.org,2002:value", _bare_equals)


class Definitions:
    """Makes kinds known to one API server."""

    def __init__(self, client: Client, report: Callable[[str], None], folder: Path | None = None) -> None:
        """Load from ``folder`` (default ``SANDBOX_CRDS``; layout ``<system>/<plural>.<group>.yaml``) or officially."""
        configured = os.environ.get("SANDBOX_CRDS")
        self._client = client
        self._report = report
        self._folder = folder or (Path(configured) if configured else None)
        self._lock = threading.Lock()

    def resource_type(self, api_version: str, kind: str, *, namespaced: bool) -> ResourceType | None:
        """How the server serves a kind; its definition is loaded where it is missing.

        Args:
            api_version: Group and version, such as ``karpenter.sh/v1``.
            kind: Such as ``NodePool``.
            namespaced: Scope to assume where no definition can be had and an open one takes its place.

        Returns:
            None where the group is Kubernetes' own, which no definition adds, or the definition lacks the version.
        """
        if (known := self._client.kind(api_version, kind)) is not None:
            return known
        group = api_version.rpartition("/")[0]
        if "." not in group or _BUILT_IN.fullmatch(group):
            return None
        with self._lock:
            if (known := self._client.kind(api_version, kind)) is not None:
                return known
            definition = self._find(group, kind)
            if definition is None:
                self._report(f"{api_version} {kind}: no definition to be had; stored without validation")
                definition = _open_definition(api_version, kind, namespaced=namespaced)
            self._load(definition)
        return self._client.kind(api_version, kind)

    def _find(self, group: str, kind: str) -> Manifest | None:
        pattern = re.compile(rf"^    kind: {re.escape(kind)}$", re.MULTILINE)
        files = sorted(self._folder.glob(f"*/*.{group}.yaml")) if self._folder else []
        for file in sorted(files, key=lambda path: not path.name.startswith(_plural(kind))):
            if pattern.search(text := file.read_text()):
                return self._parse(text)
        if group not in _OFFICIAL:
            return None
        try:
            file = f"{_OFFICIAL[group]}/{group}_{_plural(kind)}.yaml"
            return self._parse(downloads.fetch_text(f"https://raw.githubusercontent.com/{file}"))
        except downloads.Unavailable:
            return None

    @staticmethod
    def _parse(text: str) -> Manifest:
        return yaml.load(text, Loader=Loader)

    def _load(self, definition: Manifest) -> None:
        definition = without_webhook(definition)
        definition.pop("status", None)
        metadata: dict[str, Any] = definition["metadata"]
        metadata["labels"] = {**(metadata.get("labels") or {}), LABEL: "true"}
        metadata.pop("creationTimestamp", None)
        resource = self._client.kind("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        if resource is None:
            raise ApiError(404, {"message": "the API server serves no CustomResourceDefinition"})
        self._client.apply(resource, definition, manager=MANAGER, force=True)
        deadline = time.monotonic() + _ESTABLISHED_WITHIN_SECONDS
        while time.monotonic() < deadline:
            live = self._client.get(resource, None, metadata["name"]) or {}
            if condition(live, "Established").get("status") == "True":
                served = [f"{definition['spec']['group']}/{v['name']}" for v in definition["spec"]["versions"]]
                if any(self._client.kind(version, definition["spec"]["names"]["kind"]) for version in served):
                    return
            time.sleep(_POLL_SECONDS)


def without_webhook(definition: Manifest) -> Manifest:
    """Return a definition whose versions convert without a webhook, for nothing here would answer one."""
    conversion: dict[str, Any] = definition["spec"].get("conversion") or {}
    if conversion.get("strategy") != "Webhook":
        return definition
    return {**definition, "spec": {**definition["spec"], "conversion": {"strategy": "None"}}}


def _plural(kind: str) -> str:
    word = kind.lower()
    if word.endswith(("s", "x", "ch")):
        return f"{word}es"
    return f"{word[:-1]}ies" if word.endswith("y") and word[-2] not in "aeiou" else f"{word}s"


def _open_definition(api_version: str, kind: str, *, namespaced: bool) -> Manifest:
    """Return a definition that accepts anything."""
    group, _, version = api_version.rpartition("/")
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{_plural(kind)}.{group}",
            # Groups below k8s.io are reserved; the server wants to know who approved the use of one.
            "annotations": {"api-approved.kubernetes.io": "unapproved, sandbox"},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced" if namespaced else "Cluster",
            "names": {"plural": _plural(kind), "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"},
            "versions": [
                {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}},
            ],
        },
    }
