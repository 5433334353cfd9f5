"""The job that makes a dataset: what it is told, as whom it runs, and the RayJob."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import pulumi

from components.capacity import Request
from components.contract import BucketRole, Grant, ObjectGrant, ObjectStore
from components.platform.openings import Namespace, Opening
from components.platform.ray import queue_of
from components.platform.ray_jobs import AUTOSCALER, HEAD, SUBMITTER, Place, RayJobArgs, RuntimeEnv, Workers, ray_job
from components.platform.site import Site
from components.settings.datasets import DatasetSettings
from workloads.images import reference
from workloads.object_store import store_variables

NAMESPACE: Final[Namespace] = "mlops-data"

PROCESSED: Final = "processed/"
"""Where datasets lie in the bucket ``data``; below it a folder for each, with ``current.json``."""

WORK: Final = "work/datasets/"
"""Where runs leave what the next one goes on from."""

OPENINGS: Final[tuple[Opening, ...]] = ()
"""None of its own: the namespace's pods reach each other, the object store, and the hub where the stack may."""

_RETRIES: Final = 1
_URLS: Final[tuple[BucketRole, ...]] = ("data", "models")


def account(dataset: DatasetSettings) -> str:
    """Service account of the workers; also the name of everything else of the dataset."""
    return f"dataset-{dataset.name}"


def labels(dataset: DatasetSettings) -> dict[str, str]:
    """Labels of a dataset's objects and of its runs."""
    return {"app.kubernetes.io/part-of": "llmops", "llmops/dataset": dataset.name}


def folder(dataset: DatasetSettings) -> str:
    """Folder of its artifacts in the bucket ``data``."""
    return f"{PROCESSED}{dataset.name}/"


def grants(dataset: DatasetSettings) -> tuple[Grant, ...]:
    """Its raw data to read, its own folders to write, and the tokenizer's folder."""
    return (
        *(ObjectGrant(bucket="data", access="read", prefix=source) for source in dataset.sources),
        ObjectGrant(bucket="data", access="read-write", prefix=folder(dataset)),
        ObjectGrant(bucket="data", access="read-write", prefix=f"{WORK}{dataset.name}/"),
        *_tokenizer_grants(dataset),
    )


def _tokenizer_grants(dataset: DatasetSettings) -> Iterator[Grant]:
    source = dataset.tokenizer.source
    if not _outside(source):
        yield ObjectGrant(bucket="models", access="read", prefix=source.removeprefix("models/") + "/")


def _outside(source: str) -> bool:
    """Whether a tokenizer is in the public hub, or in a mirror that is no bucket of the stack."""
    return "://" in source


def configuration(dataset: DatasetSettings, urls: Mapping[BucketRole, str]) -> dict[str, Any]:
    """What the pods are told.

    Args:
        dataset: The dataset.
        urls: URLs of the buckets ``data`` and ``models``.
    """
    data, source = urls["data"].rstrip("/"), dataset.tokenizer.source
    near = dataset.near_duplicates
    return {
        "name": dataset.name,
        "sources": [{"name": one, "url": f"{data}/{one}"} for one in dataset.sources],
        "output": f"{data}/{folder(dataset)}",
        "work": f"{data}/{WORK}{dataset.name}/",
        "kind": dataset.kind,
        "field": dataset.field,
        "textRecord": dataset.text_record,
        "cleaning": dataset.cleaning.model_dump(by_alias=True),
        **({} if near is None else {"nearDuplicates": near.model_dump(by_alias=True)}),
        "split": dataset.split.model_dump(by_alias=True),
        "tokenizer": {
            "url": source if _outside(source) else f"{urls['models'].rstrip('/')}/{source.removeprefix('models/')}",
            "revision": dataset.tokenizer.revision,
        },
        "maxTokens": dataset.max_tokens,
        "pack": dataset.pack,
        "trainOn": dataset.train_on,
        "maxBadRecords": dataset.max_bad_records,
    }


def workers(dataset: DatasetSettings) -> Workers:
    """Workers of the job: one from the start, the others when tasks wait."""
    wanted = dataset.workers
    return Workers(
        least=1,
        most=wanted.max_count,
        vcpu=wanted.vcpu,
        memory_gib=wanted.memory_gib,
        disk_gib=wanted.disk_gib,
    )


def requests(dataset: DatasetSettings) -> tuple[Request, ...]:
    """What a run takes of its namespace's row at most."""
    return (HEAD, AUTOSCALER, SUBMITTER, workers(dataset).requests)


def preprocess_job(dataset: DatasetSettings, site: Site) -> dict[str, Any]:
    """The RayJob, whose name is that of :func:`account`; image and entrypoint are outputs.

    It may run at any time and as often as one likes: a run that finds the same raw files ends at once. When it has
    succeeded, ``<folder>/current.json`` in the bucket ``data`` names the dataset.
    """
    made = ray_job(
        RayJobArgs(
            name=account(dataset),
            entrypoint="python -m preprocess",
            workers=workers(dataset),
            runtime_env=RuntimeEnv(variables=store_variables(site.foundation.objects)),
            place=Place(worker_account=account(dataset), queue=queue_of(site)),
            # The manifest may hold an output: nothing reads it before the engine knows it.
            image=cast("str", reference(site, "preprocess")),
            retries=_RETRIES,
            deadline_seconds=dataset.deadline_hours * 3600,
        )
    )
    made["metadata"]["labels"] |= labels(dataset)
    made["spec"]["entrypoint"] = entrypoint(dataset, site.foundation.objects)
    return made


def entrypoint(dataset: DatasetSettings, objects: ObjectStore) -> pulumi.Output[str]:
    """The command line.

    It is quoted for a shell: KubeRay writes it into a script as it is, and Ray quotes its words again for a shell of
    its own (KubeRay 1.7, ``BuildJobSubmitCommand``; Ray 2.58, ``ray job submit``).
    """
    urls = pulumi.Output.all(**{role: objects.buckets[role].url for role in _URLS})

    def line(known: Mapping[str, Any]) -> str:
        told = json.dumps(configuration(dataset, cast("Mapping[BucketRole, str]", known)), separators=(",", ":"))
        return f"python -m preprocess --config {shlex.quote(told)}"

    return urls.apply(line)
