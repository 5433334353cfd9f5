"""Names that the parts of retrieval share."""

from __future__ import annotations

from typing import Final

from components.platform.openings import Namespace, Pods
from components.settings.retrieval import RetrievalSettings

SERVING: Final[Namespace] = "mlops-serving"
"""Where the services answer."""

DATA: Final[Namespace] = "mlops-data"
"""Where documents are brought in."""

PORT: Final = 8090
"""Of the services: not one of those that every server in the namespace may be reached at."""

LABEL: Final = "llmops/retrieval"
"""Whose pod it is."""

PART: Final = {"app.kubernetes.io/name": "retrieval"}
"""Label of all answering pods."""

SERVICES: Final = Pods(namespace=SERVING, labels=PART)

KEYS_PART: Final = {"app.kubernetes.io/name": "retrieval-key"}
KEYS: Final = Pods(namespace=SERVING, labels=KEYS_PART)
"""The job that makes the key of retrieval at the model gateway."""

ACCOUNTS_PART: Final = {"app.kubernetes.io/name": "retrieval-accounts"}
"""Label of the job that makes the users of Milvus."""

SECRET: Final = "retrieval"
"""What pods sign in with, in both namespaces: ``gatewayKey``, ``username`` and ``password``."""

ACCOUNTS_SECRET: Final = "retrieval-accounts"
"""Both users of Milvus, for the job that makes them."""

KEY_ENTRY: Final = "litellm-retrieval-key"
READER_ENTRY: Final = "milvus-retrieval-reader"
WRITER_ENTRY: Final = "milvus-retrieval-writer"
ENTRIES: Final = (KEY_ENTRY, READER_ENTRY, WRITER_ENTRY)
"""Entries of the secret store that are read."""

DATABASE: Final = "retrieval"
"""Database in Milvus: users of retrieval can do nothing outside of it."""

REPORTS: Final = "reports/retrieval/"
"""Where reports of ingestions lie in the bucket ``data``."""


def title(retrieval: RetrievalSettings) -> str:
    """Name of the objects that answer; a model of the same name has other ones."""
    return f"retrieval-{retrieval.name}"


def ingestion(retrieval: RetrievalSettings) -> str:
    """Name of the objects that bring documents in, and service account of the workers."""
    return f"ingest-{retrieval.name}"


def labels(retrieval: RetrievalSettings) -> dict[str, str]:
    """Labels of a retrieval's objects."""
    return {"app.kubernetes.io/part-of": "llmops", LABEL: retrieval.name}
