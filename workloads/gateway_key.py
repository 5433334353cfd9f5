"""A key at the model gateway for something of ours: a job makes it and keeps it as it is declared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pulumi
from pulumi_kubernetes import batch, core
from pulumi_kubernetes.meta import v1 as meta

from components.platform.confinement import config_files, container_security, from_secret, mount, plain, resources
from components.platform.jobs import awaited_job, errand, job_spec
from components.platform.model_gateway import reconcile
from components.platform.model_gateway.names import KEYS_SECRET, SERVICE_URL
from components.platform.names import name_of
from components.platform.openings import Namespace
from components.platform.site import Site
from components.versions import IMAGES
from workloads.retrieval import keys_pod

_DEADLINE_SECONDS: Final = 900
_NOBODY: Final = 65534


@dataclass(frozen=True, kw_only=True)
class GatewayKey:
    """A key, and the job that makes it.

    Attributes:
        title: Name of the ConfigMap with the declaration.
        namespace: Where the job runs.
        labels: Labels of the job and its pods; network policies know them by these.
        wanted: The key as the gateway's API takes it.
        secret: Secret with its value, and the field there.
        folder: Where the pod finds the declaration.
        volume: Name of the volume with it.
        retries: Pods that may follow the first.
    """

    title: str
    namespace: Namespace
    labels: Mapping[str, str]
    wanted: Mapping[str, Any]
    secret: tuple[str, str]
    folder: str
    volume: str
    retries: int


def declare(
    name: str, key: GatewayKey, *, site: Site, parent: pulumi.Resource, after: Sequence[pulumi.Resource]
) -> batch.v1.Job:
    """Declare the job; ``up`` waits for its end.

    Args:
        name: Prefix of the Pulumi resources.
        key: The key.
        site: Where it runs.
        parent: The component.
        after: The gateway, which must answer, and the Secrets; nothing of them flows into the job.
    """
    files = {
        "reconcile.py": Path(reconcile.__file__).read_text(),
        "keys_pod.py": Path(keys_pod.__file__).read_text(),
        "key.json": json.dumps(dict(key.wanted), indent=2) + "\n",
    }
    configuration = core.v1.ConfigMap(
        f"{name}-key",
        metadata=meta.ObjectMetaArgs(name=key.title, namespace=key.namespace, labels=dict(key.labels)),
        data=files,
        opts=pulumi.ResourceOptions(parent=parent, depends_on=list(site.namespaces[key.namespace])),
    )
    container = core.v1.ContainerArgs(
        name="key",
        image=IMAGES["litellm"],  # for its Python; the nodes have it already
        command=["python3", f"{key.folder}/keys_pod.py", f"{key.folder}/key.json"],
        env=[
            *plain({"LITELLM_URL": SERVICE_URL}),
            from_secret("LITELLM_MASTER_KEY", KEYS_SECRET, "masterKey"),
            from_secret("RETRIEVAL_KEY", *key.secret),  # as that program calls every key
        ],
        resources=resources("10m", "48Mi", "128Mi"),
        security_context=container_security(),
        volume_mounts=[mount(key.volume, key.folder, read_only=True)],
    )
    pod = errand(
        container, user=_NOBODY, nodes=site.system_nodes, volumes=[config_files(key.volume, name_of(configuration))]
    )
    return awaited_job(
        f"{name}-key",
        job_spec(
            pod,
            labels=key.labels,
            deadline_seconds=_DEADLINE_SECONDS,
            retries=key.retries,
            # The files are no part of the job: with other ones it is another job.
            annotations={"llmops/declaration": _digest(files)},
        ),
        namespace=key.namespace,
        labels=key.labels,
        deadline_seconds=_DEADLINE_SECONDS,
        opts=pulumi.ResourceOptions(parent=parent, depends_on=list(after)),
    )


def _digest(files: Mapping[str, str]) -> str:
    """What changes when a file does."""
    return hashlib.sha256(json.dumps(dict(files), sort_keys=True).encode()).hexdigest()[:16]
