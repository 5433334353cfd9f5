"""How each credential gets another value: a decision of its purpose, and of the cloud where that matters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from components.credentials import CATALOGUE, EVALUATION, RETRIEVAL, Credential

Kind = Literal["drawn", "supplied", "managed", "manual", "never"]
"""Drawn by the program; supplied by the operator; drawn by the cloud; by hand, as the docs say; not at all."""

System = Literal["mlflow", "grafana", "milvus"]
"""Who keeps a password of its own, and is asked to change it with the old one."""

_NEW_CONNECTIONS: Final = (
    "new connections with the old password are refused from the moment the database has the new one until the reader's "
    "pods have been replaced, a roll-out; open connections go on"
)


@dataclass(frozen=True, kw_only=True)
class How:
    """The way to another value.

    Attributes:
        kind: Where it comes from.
        both: Two values can be valid at once.
        interrupted: What does not work, and for how long; empty for nothing.
        why: Why there is no way, or where it is instead.
        system: Who must be asked to change it.
        jobs: Values of the label ``app.kubernetes.io/name`` of the jobs that bring it to a server; they run again.
        restart: Readers take it only when they start.
    """

    kind: Kind = "drawn"
    both: bool = False
    interrupted: str = ""
    why: str = ""
    system: System | None = None
    jobs: tuple[str, ...] = ()
    restart: bool = True


_KNOWN: Final[Mapping[str, How]] = {
    "pipelines-database": How(
        kind="manual",
        both=True,
        why="MySQL takes its password only when it starts empty: docs/credentials.md has the statements",
    ),
    "litellm-master-key": How(interrupted="administration, while replicas are replaced; calls with keys go on"),
    "litellm-smoke-key": How(
        jobs=("model-gateway-teams",), restart=False, interrupted="smoke tests that run within the minute"
    ),
    "litellm-retrieval-key": How(jobs=("retrieval-key",), interrupted="answers from documents, for a roll-out"),
    "litellm-evaluation-key": How(
        jobs=("evaluation-key",), restart=False, interrupted="evaluations that run: they are started again"
    ),
    "litellm-ui": How(interrupted="pages of administration: people sign in again"),
    "mlflow-admin": How(system="mlflow", interrupted="administration within the minute"),
    "mlflow-jobs": How(
        jobs=("mlflow-job",),
        restart=False,
        interrupted="jobs that run: their next call is refused, and they are started again",
    ),
    "mlflow-flask": How(interrupted="everybody signs in again"),
    "grafana-admin": How(system="grafana", restart=False),
    "argocd-admin": How(restart=False, interrupted="everybody signs in again"),
    "argocd-redis": How(interrupted="deliveries, for the minutes of the roll-outs; what runs goes on"),
    "argocd-webhook": How(
        restart=False,
        interrupted="hooks, until the Git host has the new value; Argo CD asks every three minutes without them",
    ),
    "milvus-root": How(system="milvus", restart=False),
    "milvus-retrieval-reader": How(jobs=("retrieval-accounts",), interrupted="answers, for a roll-out"),
    "milvus-retrieval-writer": How(
        jobs=("retrieval-accounts",), restart=False, interrupted="ingestions that run: they are started again"
    ),
}


def how(purpose: str, cloud: str) -> How:
    """The way of a purpose in a cloud."""
    match purpose, cloud:
        case "cache-auth", "gcp":
            why = "Memorystore draws it, and only when its authentication is switched off and on again"
            return How(kind="never", why=why)
        case "cache-auth", "aws":
            return How(both=True)
        case "cache-auth", _:
            return How(both=True, interrupted="the cache, twice for seconds: it restarts, and is empty then")
        case "database-admin", "aws":
            why = "RDS draws it every seven days by itself; at once: aws secretsmanager rotate-secret --secret-id ARN"
            return How(kind="managed", why=why)
        case "database-admin", _:
            return How(restart=False, interrupted="jobs that make databases, within the minute")
        case _:
            return _of(purpose)


def _of(purpose: str) -> How:
    known = credential(purpose)
    if known is None or known.supplied:
        # Who declares an entry of their own says nothing of its reader.
        two = "nothing where its issuer lets two be valid at once; else its readers, for a roll-out"
        return How(kind="supplied", interrupted=two)
    if known.permanent:
        return How(kind="never", why=known.permanent)
    if purpose in _KNOWN:
        return _KNOWN[purpose]
    return How(jobs=("database-job",), interrupted=_NEW_CONNECTIONS) if purpose.endswith("-database") else How()


def credential(purpose: str) -> Credential | None:
    """What the program knows of a purpose; None where the settings or the foundation declare it."""
    return next((one for one in (*CATALOGUE, *RETRIEVAL, *EVALUATION) if one.purpose == purpose), None)
