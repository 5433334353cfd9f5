"""What an existing cluster has: asked for at preview, without changing anything in it."""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests
import yaml

from components.contract import ROLE_LABEL

_SECONDS: Final = 15
_GPU_RESOURCE: Final = "nvidia.com/gpu"
# Labels by which node feature discovery or OpenShift say that a card of NVIDIA is in a node, driver or not.
_NVIDIA_LABELS: Final = (
    "feature.node.kubernetes.io/pci-10de.present",
    "feature.node.kubernetes.io/pci-0302_10de.present",
    "nvidia.com/gpu.present",
)


class UnreachableError(Exception):
    """The cluster cannot be asked; the text says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One node.

    Attributes:
        name: Its name.
        labels: Its labels.
        taints: Keys of its taints.
        cpu_millicores: Allocatable CPU.
        memory_mib: Allocatable memory.
        gpus: GPUs that are schedulable now.
        has_gpu: There is a card, whether or not its driver is.
        ready: It takes pods.
    """

    name: str
    labels: Mapping[str, str]
    taints: tuple[str, ...]
    cpu_millicores: int
    memory_mib: int
    gpus: int
    has_gpu: bool
    ready: bool

    @property
    def role(self) -> str:
        """Row of the architecture's node table; empty where nobody has said so."""
        return self.labels.get(ROLE_LABEL, "")


@dataclass(frozen=True, kw_only=True)
class MetricsApi:
    """Who serves ``metrics.k8s.io``.

    Attributes:
        service: Namespace and name of the Service; empty where the API server does it itself.
        available: It answers.
    """

    service: str
    available: bool

    @property
    def namespace(self) -> str:
        """Where it runs."""
        return self.service.partition("/")[0]


@dataclass(frozen=True, kw_only=True)
class ClusterFacts:
    """What was found.

    Attributes:
        version: Minor version such as ``1.35``.
        nodes: All nodes.
        storage_classes: Provisioner of each storage class.
        snapshot_drivers: Drivers that have a class of snapshots.
        csi_drivers: Drivers that are registered.
        api_groups: Groups of the API, by which operators are told.
        api_server_addresses: Addresses of the API servers.
        may_create_namespaces: The kubeconfig's user is allowed to do what the program does first.
        metrics_api: Who serves ``metrics.k8s.io``; none where nobody does.
    """

    version: str
    nodes: tuple[Node, ...]
    storage_classes: Mapping[str, str]
    snapshot_drivers: frozenset[str]
    csi_drivers: frozenset[str]
    api_groups: frozenset[str]
    api_server_addresses: tuple[str, ...]
    may_create_namespaces: bool
    metrics_api: MetricsApi | None = None


def read(kubeconfig: str, context: str = "") -> ClusterFacts:
    """Ask the cluster of ``kubeconfig`` (YAML); reads only.

    Raises:
        UnreachableError: It does not answer, or does not let us in.
    """
    with _session(kubeconfig, context) as (session, server):

        def get(path: str, *, optional: bool = False) -> dict[str, Any]:
            try:
                answer = session.get(server + path, timeout=_SECONDS)
            except requests.RequestException as error:
                raise UnreachableError(f"{server} does not answer ({type(error).__name__}: {error})") from None
            if optional and answer.status_code in (403, 404):
                return {}
            if answer.status_code != 200:
                raise UnreachableError(f"{server}{path} answers {answer.status_code} {answer.reason}")
            return answer.json()

        version = get("/version")
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"verb": "create", "resource": "namespaces"}},
        }
        # A question, although it is asked with POST: nothing is stored.
        allowed = session.post(
            f"{server}/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", json=review, timeout=_SECONDS
        )
        slices = get(
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
            "?labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes",
            optional=True,
        )
        classes = get("/apis/storage.k8s.io/v1/storageclasses")
        snapshots = get("/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses", optional=True)
        drivers = get("/apis/storage.k8s.io/v1/csidrivers")
        return ClusterFacts(
            version=f"{version['major']}.{version['minor'].rstrip('+')}",
            nodes=tuple(_node(one) for one in get("/api/v1/nodes").get("items", [])),
            storage_classes={one["metadata"]["name"]: one["provisioner"] for one in classes.get("items", [])},
            snapshot_drivers=frozenset(one["driver"] for one in snapshots.get("items", [])),
            csi_drivers=frozenset(one["metadata"]["name"] for one in drivers.get("items", [])),
            api_groups=frozenset(one["name"] for one in get("/apis").get("groups", [])),
            api_server_addresses=tuple(
                sorted(
                    address
                    for found in slices.get("items", [])
                    for endpoint in found.get("endpoints", [])
                    for address in endpoint.get("addresses", [])
                )
            ),
            may_create_namespaces=bool(allowed.ok and allowed.json().get("status", {}).get("allowed")),
            metrics_api=metrics_api(
                get("/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io", optional=True)
            ),
        )


def metrics_api(raw: Mapping[str, Any]) -> MetricsApi | None:
    """Who serves it, by the APIService; ``raw`` is empty where there is none."""
    if not raw:
        return None
    service: Mapping[str, str] = raw.get("spec", {}).get("service") or {}
    conditions = {one["type"]: one["status"] for one in raw.get("status", {}).get("conditions", [])}
    return MetricsApi(
        service=f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "",
        available=conditions.get("Available") == "True",
    )


def _node(raw: Mapping[str, Any]) -> Node:
    allocatable: Mapping[str, str] = raw["status"].get("allocatable", {})
    labels: Mapping[str, str] = raw["metadata"].get("labels", {})
    gpus = int(allocatable.get(_GPU_RESOURCE, "0"))
    conditions = {one["type"]: one["status"] for one in raw["status"].get("conditions", [])}
    return Node(
        name=raw["metadata"]["name"],
        labels=labels,
        taints=tuple(taint["key"] for taint in raw["spec"].get("taints", [])),
        cpu_millicores=_millicores(allocatable.get("cpu", "0")),
        memory_mib=_mib(allocatable.get("memory", "0")),
        gpus=gpus,
        has_gpu=bool(gpus) or any(labels.get(label) == "true" for label in _NVIDIA_LABELS),
        ready=conditions.get("Ready") == "True" and not raw["spec"].get("unschedulable", False),
    )


def _millicores(quantity: str) -> int:
    return int(quantity[:-1]) if quantity.endswith("m") else int(float(quantity) * 1000)


_UNITS: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def _mib(quantity: str) -> int:
    for unit, factor in _UNITS.items():
        if quantity.endswith(unit):
            return int(float(quantity.removesuffix(unit)) * factor) // 2**20
    return int(float(quantity)) // 2**20


def find_kubeconfig(path: str, environment: str) -> str:
    """Content of the kubeconfig at ``path``, else at the path that the variable holds.

    Raises:
        UnreachableError: There is none.
    """
    place = path or os.environ.get(environment, "")
    if not place:
        raise UnreachableError(
            f"onprem.kubeconfig: set path, the variable {environment}, or the stack's secret onprem:kubeconfig"
        )
    try:
        return Path(place).expanduser().read_text()
    except OSError as error:
        raise UnreachableError(f"onprem.kubeconfig: {place} cannot be read ({error.strerror})") from None


@contextmanager
def _session(kubeconfig: str, context: str) -> Generator[tuple[requests.Session, str]]:
    """A session with the credentials of a context, and the address of its server.

    Client certificates, tokens and their files. What runs a program for a token (``exec``) is for people: give the
    program a service account of its own.
    """
    try:
        found: Any = yaml.safe_load(kubeconfig)
        named = context or found.get("current-context", "")
        chosen = _by_name(found["contexts"], named)["context"]
        cluster = _by_name(found["clusters"], chosen["cluster"])["cluster"]
        user = _by_name(found["users"], chosen["user"])["user"]
        server = cluster["server"].rstrip("/")
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise UnreachableError(
            f"onprem.kubeconfig: not a kubeconfig with the context {context or 'it names'}"
        ) from error
    if "exec" in user or "auth-provider" in user:
        raise UnreachableError(
            "onprem.kubeconfig: its user runs a program for a token; make a service account for this and use its token"
        )
    with tempfile.TemporaryDirectory() as folder, requests.Session() as session:
        session.trust_env = False  # no proxy and no .netrc: the cluster is next to us
        session.verify = not cluster.get("insecure-skip-tls-verify", False)
        if authority := _file(cluster, "certificate-authority", folder):
            session.verify = authority
        certificate, key = _file(user, "client-certificate", folder), _file(user, "client-key", folder)
        if certificate and key:
            session.cert = (certificate, key)
        token = user.get("token") or (Path(user["tokenFile"]).read_text().strip() if "tokenFile" in user else "")
        if token:
            session.headers["Authorization"] = f"Bearer {token}"
        try:
            yield session, server
        except ssl.SSLError as error:
            raise UnreachableError(f"{server}: {error}") from None


def _by_name(entries: Any, name: str) -> Any:
    return next(entry for entry in entries if entry["name"] == name)


def _file(entry: Mapping[str, str], key: str, folder: str) -> str:
    """A file that the entry names, or one with the content that it holds."""
    if data := entry.get(f"{key}-data"):
        place = Path(folder) / key
        place.touch(mode=0o600)
        place.write_bytes(base64.b64decode(data))
        return str(place)
    return entry.get(key, "")
