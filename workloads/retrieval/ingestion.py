"""The job that brings documents in: what it is told, as whom it runs, what starts it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any, Final, cast

import pulumi

from components.capacity import Request
from components.contract import BucketRole, Grant, ObjectGrant, ObjectStore
from components.platform.model_gateway.names import SERVICE_URL
from components.platform.ray import queue_of
from components.platform.ray_jobs import AUTOSCALER, HEAD, SUBMITTER, Place, RayJobArgs, RuntimeEnv, Workers, ray_job
from components.platform.site import Site
from components.platform.vectors_values import RELEASE
from components.settings.retrieval import RetrievalSettings
from workloads.images import reference
from workloads.object_store import store_variables
from workloads.ray_runs import RayRuns
from workloads.retrieval.names import DATA, DATABASE, REPORTS, SECRET, ingestion, labels

RUNNER: Final = "retrieval-ingestions"
"""Service account of workflows that bring documents in: it makes RayJobs in ``mlops-data`` and watches them."""

MILVUS_URL: Final = f"http://{RELEASE}.{DATA}.svc.cluster.local:19530"

_MODULE: Final = "python -m retrieval.ingest"
_URLS: Final[tuple[BucketRole, ...]] = ("data", "models")

CREDENTIALS: Final[Mapping[str, str]] = {
    "GATEWAY_KEY": "gatewayKey",
    "MILVUS_USERNAME": "username",
    "MILVUS_PASSWORD": "password",
}
"""Variables of every pod of retrieval, and the keys of :data:`SECRET` that they are read from."""


def grants(retrieval: RetrievalSettings) -> tuple[Grant, ...]:
    """Its documents to read, its reports to write, and the tokenizer."""
    tokenizer = retrieval.chunking.tokenizer.removeprefix("models/")
    return (
        ObjectGrant(bucket="data", access="read", prefix=_source(retrieval)),
        ObjectGrant(bucket="data", access="read-write", prefix=f"{REPORTS}{retrieval.name}/"),
        *((ObjectGrant(bucket="models", access="read", prefix=tokenizer),) if tokenizer else ()),
    )


def configuration(retrieval: RetrievalSettings, urls: Mapping[BucketRole, str]) -> dict[str, Any]:
    """What the job is told.

    Args:
        retrieval: The retrieval, with a source of its own.
        urls: URLs of the buckets ``data`` and ``models``.
    """
    assert retrieval.embedding is not None, retrieval.name  # with a source there is one
    data, wanted, tokenizer = urls["data"].rstrip("/"), retrieval.ingestion, retrieval.chunking.tokenizer
    if tokenizer:
        tokenizer = f"{urls['models'].rstrip('/')}/{tokenizer.removeprefix('models/')}"
    return {
        "retrieval": retrieval.name,
        "source": f"{data}/{_source(retrieval)}",
        "include": list(wanted.include),
        "milvus": {"url": MILVUS_URL, "database": DATABASE},
        "gateway_url": SERVICE_URL,
        "report_url": f"{data}/{REPORTS}{retrieval.name}",
        "chunking": {**retrieval.chunking.model_dump(), "tokenizer": tokenizer},
        "embedding": retrieval.embedding.model_dump(),
        "index": retrieval.index.model_dump(),
        "limits": {
            "document_mib": wanted.document_mib,
            "bad_share": wanted.max_bad_share,
            "deleted_share": wanted.max_deleted_share,
        },
        "parallelism": wanted.workers * wanted.vcpu - 1,  # one CPU is the driver's
    }


def _source(retrieval: RetrievalSettings) -> str:
    assert retrieval.source is not None, retrieval.name
    return retrieval.source


def workers(retrieval: RetrievalSettings) -> Workers:
    """Workers of the job: one from the start, the others when files wait."""
    wanted = retrieval.ingestion
    return Workers(least=1, most=wanted.workers, vcpu=wanted.vcpu, memory_gib=wanted.memory_gib)


def requests(retrieval: RetrievalSettings) -> tuple[Request, ...]:
    """What a run takes of its namespace's row at most; nothing where another retrieval brings the documents in."""
    if retrieval.source is None:
        return ()
    return (HEAD, AUTOSCALER, SUBMITTER, workers(retrieval).requests)


def ingestion_job(retrieval: RetrievalSettings, site: Site) -> dict[str, Any]:
    """The RayJob. It may run at any time and as often as one likes: it does what is not done yet."""
    made = ray_job(
        RayJobArgs(
            name=ingestion(retrieval),
            entrypoint=_MODULE,
            workers=workers(retrieval),
            runtime_env=RuntimeEnv(variables=store_variables(site.foundation.objects)),
            place=Place(worker_account=ingestion(retrieval), queue=queue_of(site)),
            # The manifest may hold an output: nothing reads it before the engine knows it.
            image=cast("str", reference(site, "retrieval")),
            deadline_seconds=retrieval.ingestion.deadline_hours * 3600,
        )
    )
    made["metadata"]["labels"] = {**made["metadata"]["labels"], **labels(retrieval)}
    made["spec"]["entrypoint"] = entrypoint(retrieval, site.foundation.objects)
    # Driver and tasks run on workers, and nothing else has the credentials.
    (group,) = made["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    container["env"] = [*container["env"], *(_from_secret(*one) for one in CREDENTIALS.items())]
    return made


def _from_secret(variable: str, key: str) -> dict[str, Any]:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": SECRET, "key": key}}}


def entrypoint(retrieval: RetrievalSettings, objects: ObjectStore) -> pulumi.Output[str]:
    """The command line; Ray hands it to a shell."""
    urls = pulumi.Output.all(**{role: objects.buckets[role].url for role in _URLS})

    def line(known: Mapping[str, Any]) -> str:
        told = json.dumps(configuration(retrieval, cast("Mapping[BucketRole, str]", known)), separators=(",", ":"))
        return f"{_MODULE} --config {shlex.quote(told)}"

    return urls.apply(line)


def runs(retrieval: RetrievalSettings, site: Site) -> RayRuns:
    """Runs of an ingestion. Of two at once the one that began first would remove what the other has just found."""
    return RayRuns(
        name=ingestion(retrieval),
        namespace=DATA,
        job=ingestion_job(retrieval, site),
        account=RUNNER,
        deadline_seconds=retrieval.ingestion.deadline_hours * 3600,
        labels=labels(retrieval),
        cron=retrieval.ingestion.schedule,
    )
