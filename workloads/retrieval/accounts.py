"""Who retrieval is to others: a key at the model gateway, two users in Milvus, and the Secrets with them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import pulumi
from pulumi_kubernetes import core

from components.contract import ROLE_LABEL
from components.platform.confinement import container_security, from_secret, plain, resources
from components.platform.jobs import awaited_job, errand, job_spec
from components.platform.openings import Namespace
from components.platform.secrets import external_secret
from components.platform.site import Site
from components.platform.vectors_values import ROOT_SECRET
from components.settings.retrieval import RetrievalSettings
from workloads.gateway_key import GatewayKey, declare
from workloads.images import content_tag, reference
from workloads.retrieval.ingestion import MILVUS_URL
from workloads.retrieval.names import (
    ACCOUNTS_PART,
    ACCOUNTS_SECRET,
    DATA,
    DATABASE,
    KEY_ENTRY,
    KEYS_PART,
    READER_ENTRY,
    SECRET,
    SERVING,
    WRITER_ENTRY,
)

_FOLDER: Final = "/etc/retrieval"
_DEADLINE_SECONDS: Final = 900  # Milvus may have to start
_NOBODY: Final = 65534
_RAY: Final = 1000  # the user of the image


def secrets(
    name: str, *, site: Site, parent: pulumi.Resource, after: Sequence[pulumi.Resource]
) -> list[pulumi.Resource]:
    """Declare the Secrets: the services read in Milvus, ingestions write, and only the job knows both.

    Args:
        name: Prefix of the Pulumi resources.
        site: Where they are.
        parent: The component.
        after: ``SecretSync.ready``.
    """
    users: dict[Namespace, str] = {SERVING: READER_ENTRY, DATA: WRITER_ENTRY}
    made: list[pulumi.Resource] = [
        external_secret(
            f"{name}-{namespace}",
            namespace=namespace,
            secret_name=SECRET,
            data={
                "gatewayKey": (KEY_ENTRY, "key"),
                **{key: (entry, key) for key in ("username", "password")},
            },
            site=site,
            parent=parent,
            after=after,
        )
        for namespace, entry in users.items()
    ]
    both = {
        f"{role}-{key}": (entry, key)
        for role, entry in (("reader", READER_ENTRY), ("writer", WRITER_ENTRY))
        for key in ("username", "password")
    }
    made.append(
        external_secret(
            f"{name}-accounts",
            namespace=DATA,
            secret_name=ACCOUNTS_SECRET,
            data=both,
            site=site,
            parent=parent,
            after=after,
        )
    )
    return made


def gateway_key(retrievals: Sequence[RetrievalSettings]) -> dict[str, Any]:
    """The key as the gateway's API takes it: it can call what retrievals are made of, and no retrieval."""
    models = {one.answer.model for one in retrievals} | {one.embedding.model for one in retrievals if one.embedding}
    return {
        "key_alias": "retrieval",
        "models": sorted(models),
        "max_budget": float(sum(one.monthly_usd for one in retrievals)),
        "budget_duration": "30d",
        "metadata": {"managed-by": "llmops"},
    }


def keep_key(
    name: str,
    retrievals: Sequence[RetrievalSettings],
    *,
    site: Site,
    parent: pulumi.Resource,
    after: Sequence[pulumi.Resource],
) -> pulumi.Resource:
    """Declare the job that makes the key; ``up`` waits for its end.

    Args:
        name: Prefix of the Pulumi resources.
        retrievals: All retrievals.
        site: Where it runs.
        parent: The component.
        after: The model gateway and the Secrets.
    """
    key = GatewayKey(
        title="retrieval-key",
        namespace=SERVING,
        labels=KEYS_PART,
        wanted=gateway_key(retrievals),
        secret=(SECRET, "gatewayKey"),
        folder=_FOLDER,
        volume="files",
        retries=4,
    )
    return declare(name, key, site=site, parent=parent, after=after)


def keep_users(name: str, *, site: Site, parent: pulumi.Resource, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
    """Declare the job that makes database, roles and users in Milvus; ``up`` waits for its end.

    Args:
        name: Prefix of the Pulumi resources.
        site: Where it runs.
        parent: The component.
        after: Milvus and the Secrets.
    """
    told = json.dumps({"milvus": {"url": MILVUS_URL, "database": DATABASE}}, separators=(",", ":"))
    container = core.v1.ContainerArgs(
        name="accounts",
        image=reference(site, "retrieval"),
        command=["python", "-m", "retrieval.accounts", "--config", told],
        env=[
            *plain({"HOME": "/tmp"}),
            from_secret("MILVUS_USERNAME", ROOT_SECRET, "username"),
            from_secret("MILVUS_PASSWORD", ROOT_SECRET, "password"),
            *(
                from_secret(f"{role.upper()}_{key.upper()}", ACCOUNTS_SECRET, f"{role}-{key}")
                for role in ("reader", "writer")
                for key in ("username", "password")
            ),
        ],
        resources=resources("50m", "192Mi", "512Mi"),
        security_context=container_security(),
    )
    return awaited_job(
        f"{name}-accounts",
        job_spec(
            errand(container, user=_RAY, nodes={ROLE_LABEL: "cpu"}),
            labels=ACCOUNTS_PART,
            deadline_seconds=_DEADLINE_SECONDS,
            retries=4,
            annotations={"llmops/image": content_tag("retrieval")},
        ),
        namespace=DATA,
        labels=ACCOUNTS_PART,
        deadline_seconds=_DEADLINE_SECONDS,
        opts=pulumi.ResourceOptions(parent=parent, depends_on=list(after)),
    )
