"""One stack's Kubernetes for the time of one engine run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from sandbox.kubernetes.cluster import Cluster
from sandbox.kubernetes.crds import Definitions
from sandbox.kubernetes.helm import Releases
from sandbox.kubernetes.manifests import is_patch
from sandbox.kubernetes.objects import LiveObjects, lives_in_a_cluster, manager_of
from sandbox.kubernetes.records import RecordedObjects
from sandbox.kubernetes.simulation import Simulation
from sandbox.provider import ProviderError
from sandbox.store import Record, Store

NOBODY = "no control plane: Kubernetes objects are recorded, and nothing judges them (`make cluster` brings one)"


_ORDER = {"Namespace": 0, "CustomResourceDefinition": 1}  # what others need comes first


class Session:
    """What all instances of the ``kubernetes`` provider share; a context, for the simulation runs inside it."""

    def __init__(
        self,
        folder: Path,
        cluster: Cluster | None,
        *,
        helm: Path | str,
        autoscale: Callable[[], None],
        report: Callable[[str], None],
    ) -> None:
        """Prepare a session.

        Args:
            folder: The stack's directory for Kubernetes; the record of objects lies here.
            cluster: The running control plane, or None.
            helm: Helm's program, or why there is none.
            autoscale: Called about twice a second; adds and removes nodes.
            report: Receives warnings.
        """
        self.store = Store(folder / "recorded.sqlite")
        self.recorded = RecordedObjects(self.store)
        self.live: LiveObjects | None = None
        self._report = report
        self._simulation: Simulation | None = None
        self._warned: set[str] = set()
        self._lock = threading.Lock()
        if cluster is not None:
            client = cluster.client()
            self.live = LiveObjects(client, Definitions(client, report))
            self._simulation = Simulation(client, autoscale, report)
        self.releases = Releases(
            helm if isinstance(helm, Path) else None,
            helm if isinstance(helm, str) else "there is no control plane",
            cluster.kubeconfig if cluster else None,
            self.store,
            objects=self.live,
        )

    def __enter__(self) -> Self:
        if self._simulation:
            self._simulation.start()
        if self.live:
            self._hand_over(self.live)
        return self

    def _hand_over(self, live: LiveObjects) -> None:
        """Apply what was recorded before there was a control plane: from now on it is judged."""
        waiting = [record for record in self.store.records() if self._may_be_applied(record, live)]
        for record in sorted(waiting, key=lambda record: _ORDER.get(record.inputs["kind"], len(_ORDER))):
            try:
                live.apply(record.inputs, manager_of(record.urn), force=True)
            except ProviderError as error:
                self._report(
                    f"{record.type} {record.id} was recorded without a control plane, which refuses it: {error}"
                )
            else:
                self.recorded.remove(record.inputs)

    @staticmethod
    def _may_be_applied(record: Record, live: LiveObjects) -> bool:
        """Whether a record is an object of the cluster; a patch of what is not there waits on."""
        if not lives_in_a_cluster(record.inputs):
            return False
        if not is_patch(record.urn.split("::")[2].rpartition("$")[2]):
            return True
        metadata = record.inputs["metadata"]
        place = metadata.get("namespace"), metadata["name"]
        return live.find(record.inputs["apiVersion"], record.inputs["kind"], *place) is not None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._simulation:
            self._simulation.stop()
        self.store.close()

    def first_time(self, message: str) -> bool:
        """Whether a warning is given for the first time in this run."""
        with self._lock:
            if message in self._warned:
                return False
            self._warned.add(message)
            return True
