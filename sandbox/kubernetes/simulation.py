"""What a cloud's controllers do in a cluster: volumes for claims, addresses for load balancers, nodes for pods."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import requests

from sandbox.kubernetes.api import ApiError, Client, Manifest
from sandbox.kubernetes.readiness import WAIT_FOR

_EVERY_SECONDS = 0.5
_PROVISIONER = "volume.kubernetes.io/storage-provisioner"  # set by Kubernetes on claims that wait for a driver
_SELECTED_NODE = "volume.kubernetes.io/selected-node"  # set by the scheduler where a claim waits for its pod
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
_CASCADE = "resources-finalizer.argocd.argoproj.io"  # Argo CD's: an application's objects go before it does
_ZONE = "topology.kubernetes.io/zone"
_ZONAL_DRIVERS = ("ebs.csi.aws.com", "pd.csi.storage.gke.io")  # their volumes attach in one zone only


class Simulation:
    """Stands in for CSI drivers, the load balancer controller and the autoscaler while the engine runs.

    The API server, the scheduler and the controllers that decide are real: a claim is bound by Kubernetes once its
    volume exists, just as with a real driver.
    """

    def __init__(self, client: Client, autoscale: Callable[[], None], warn: Callable[[str], None]) -> None:
        self._client = client
        self._warn = warn
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(step,), name="simulation", daemon=True)
            for step in (self.step, autoscale)
        ]

    def start(self) -> None:
        """Begin; volumes and addresses do not wait for a slow round of the autoscaler."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after the step that is under way."""
        self._stopping.set()

    def step(self) -> None:
        """Do once what there is to do."""
        for claim in self._client.items("/api/v1/persistentvolumeclaims"):
            if claim.get("status", {}).get("phase") == "Pending" and not claim["spec"].get("volumeName"):
                self._provision(claim)
        for volume in self._client.items("/api/v1/persistentvolumes"):
            self._reclaim(volume)
        for service in self._client.items("/api/v1/services"):
            if service["spec"].get("type") == "LoadBalancer":
                self._address(service, "/api/v1", "services")
        for ingress in self._client.items("/apis/networking.k8s.io/v1/ingresses"):
            self._address(ingress, "/apis/networking.k8s.io/v1", "ingresses")
        for service in self._client.items("/apis/apiregistration.k8s.io/v1/apiservices"):
            self._unregister(service)
        for application in self._client.items("/apis/argoproj.io/v1alpha1/applications"):
            self._let_go(application)
            self._report_synced(application)

    def _repeat(self, step: Callable[[], None]) -> None:
        failing = ""
        while not self._stopping.wait(_EVERY_SECONDS):
            try:
                step()
                failing = ""
            except (ApiError, requests.RequestException) as error:
                if str(error) != failing:  # once, not twice a second
                    failing = str(error)
                    self._warn(f"the simulation of cloud controllers fails: {error}")

    def _provision(self, claim: Manifest) -> None:
        """Make a volume for a claim when a CSI driver would: at once, or when the scheduler has chosen a node."""
        metadata, spec = claim["metadata"], claim["spec"]
        annotations: Mapping[str, str] = metadata.get("annotations") or {}
        storage_class = self._storage_class(spec.get("storageClassName"))
        if _PROVISIONER not in annotations or storage_class is None:
            return
        node = annotations.get(_SELECTED_NODE)
        if storage_class.get("volumeBindingMode") == "WaitForFirstConsumer" and node is None:
            return
        name, driver = f"pvc-{metadata['uid']}", annotations[_PROVISIONER]
        volume: Manifest = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name, "annotations": {_PROVISIONED_BY: driver}},
            "spec": {
                "accessModes": spec["accessModes"],
                "capacity": {"storage": spec["resources"]["requests"]["storage"]},
                "claimRef": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "namespace": metadata["namespace"],
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                },
                "csi": {"driver": driver, "volumeHandle": f"sandbox-{name}"},
                "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy", "Delete"),
                "storageClassName": spec["storageClassName"],
                "volumeMode": spec.get("volumeMode", "Filesystem"),
            },
        }
        zone = self._zone(node) if node and driver in _ZONAL_DRIVERS else None
        if zone:
            term = {"matchExpressions": [{"key": _ZONE, "operator": "In", "values": [zone]}]}
            volume["spec"]["nodeAffinity"] = {"required": {"nodeSelectorTerms": [term]}}
        try:
            self._client.request("POST", "/api/v1/persistentvolumes", body=volume)
        except ApiError as error:
            if error.reason != "AlreadyExists":  # made a moment ago; the claim is about to be bound
                raise

    def _reclaim(self, volume: Manifest) -> None:
        ours = str(volume["spec"].get("csi", {}).get("volumeHandle", "")).startswith("sandbox-")
        released = volume.get("status", {}).get("phase") == "Released"
        if ours and released and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
            self._delete(f"/api/v1/persistentvolumes/{volume['metadata']['name']}")

    def _address(self, live: Manifest, base: str, plural: str) -> None:
        if live.get("status", {}).get("loadBalancer", {}).get("ingress") or "deletionTimestamp" in live["metadata"]:
            return
        namespace, name = live["metadata"]["namespace"], live["metadata"]["name"]
        status = {"status": {"loadBalancer": {"ingress": [{"hostname": load_balancer_host(namespace, name)}]}}}
        path = f"{base}/namespaces/{namespace}/{plural}/{name}/status"
        try:
            self._client.request("PATCH", path, body=status, patch="merge")
        except ApiError as error:
            if error.reason != "NotFound":  # deleted a moment ago
                raise

    def _unregister(self, service: Manifest) -> None:
        """Remove an API that a pod would serve: unanswered, it would keep every namespace from being deleted."""
        if service["spec"].get("service"):
            self._delete(f"/apis/apiregistration.k8s.io/v1/apiservices/{service['metadata']['name']}")

    def _let_go(self, application: Manifest) -> None:
        """Finish the deletion of an Argo CD application; here it has no objects, because nothing is synced from Git."""
        metadata = application["metadata"]
        finalizers: list[str] = metadata.get("finalizers") or []
        if "deletionTimestamp" not in metadata or _CASCADE not in finalizers:
            return
        kept = [finalizer for finalizer in finalizers if finalizer != _CASCADE]
        self._change(application, {"metadata": {"finalizers": kept or None}})

    def _report_synced(self, application: Manifest) -> None:
        """Report an Argo CD application as synced where the program waits for that; nothing is fetched or applied."""
        metadata, spec = application["metadata"], application["spec"]
        sources = spec.get("sources") or ()
        if WAIT_FOR not in (metadata.get("annotations") or {}) or not sources or "deletionTimestamp" in metadata:
            return
        sync = {"status": "Synced", "revisions": [source.get("targetRevision", "") for source in sources]}
        told: Mapping[str, Any] = application.get("status", {}).get("sync") or {}
        if any(told.get(key) != value for key, value in sync.items()):
            self._change(application, {"status": {"sync": sync, "health": {"status": "Healthy"}}})

    def _change(self, application: Manifest, body: Manifest) -> None:
        """Change an Argo CD application, unless it went a moment ago."""
        metadata = application["metadata"]
        path = f"/apis/argoproj.io/v1alpha1/namespaces/{metadata['namespace']}/applications/{metadata['name']}"
        try:
            self._client.request("PATCH", path, body=body, patch="merge")
        except ApiError as error:
            if error.reason != "NotFound":
                raise

    def _delete(self, path: str) -> None:
        try:
            self._client.request("DELETE", path)
        except ApiError as error:
            if error.reason != "NotFound":
                raise

    def _storage_class(self, name: str | None) -> Manifest | None:
        kind = self._client.kind("storage.k8s.io/v1", "StorageClass")
        return self._client.get(kind, None, name) if kind and name else None

    def _zone(self, node: str) -> str | None:
        kind = self._client.kind("v1", "Node")
        live = self._client.get(kind, None, node) if kind else None
        return (live or {"metadata": {}})["metadata"].get("labels", {}).get(_ZONE)


def load_balancer_host(namespace: str, name: str) -> str:
    """Return the address of a load balancer that does not exist; the top-level domain is reserved for that."""
    return f"{name}.{namespace}.elb.sandbox.invalid"
