"""Every credential that the platform needs: its purpose, its shape, and where its value comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from components.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Generated:
    """A random value of letters and digits, which need no quoting in URLs, YAML and shells.

    Attributes:
        length: Characters without the prefix; 32 letters and digits are 190 bits.
        prefix: What its reader expects in front.
        bcrypt_as: Name of a further property that holds the bcrypt hash; for readers that want only the hash.
        permanent: Why it must keep its first value; empty where it can have another.
    """

    length: int = 32
    prefix: str = ""
    bcrypt_as: str | None = None
    permanent: str = ""

    def __post_init__(self) -> None:
        if self.prefix and self.bcrypt_as:
            raise ValueError("a value with a prefix has no bcrypt hash: only the random part would be hashed")


@dataclass(frozen=True, kw_only=True)
class Credential:
    """One entry of the secret store: a JSON document with named properties.

    Attributes:
        purpose: Name of the entry, unique in the stack.
        description: Who reads it, and what a change of its value breaks.
        fixed: Properties that are no secret, such as a user name.
        generated: Properties with random values.
        supplied: Properties that the operator fills in; such an entry starts without a value, and has no other kind.
        overlaps: Its server can accept two values at once, so that readers change one after another.
    """

    purpose: str
    description: str
    fixed: Mapping[str, str] = field(default_factory=dict[str, str])
    generated: Mapping[str, Generated] = field(default_factory=dict[str, Generated])
    supplied: Sequence[str] = ()
    overlaps: bool = False

    def __post_init__(self) -> None:
        if bool(self.supplied) == bool(self.fixed or self.generated):
            raise ValueError(f"credential {self.purpose}: either generated with its fixed parts, or supplied")

    @property
    def properties(self) -> tuple[str, ...]:
        """Names of all properties, in the order in which they are declared."""
        hashes = [value.bcrypt_as for value in self.generated.values() if value.bcrypt_as]
        return (*self.fixed, *self.generated, *hashes, *self.supplied)

    @property
    def permanent(self) -> str:
        """Why no value of it can be drawn again; empty where one can."""
        reasons = [value.permanent for value in self.generated.values()]
        return reasons[0] if reasons and all(reasons) else ""


def database_user(purpose: str, username: str, reader: str) -> Credential:
    """A PostgreSQL user of one application; a job creates it with the administrator's credentials."""
    return Credential(
        purpose=purpose,
        description=f"PostgreSQL user of {reader}.",
        fixed={"username": username},
        generated={"password": Generated()},
    )


def supplied(purpose: str, description: str, *properties: str) -> Credential:
    """A credential from outside, such as an API key: the operator fills it in once."""
    return Credential(purpose=purpose, description=description, supplied=properties)


CATALOGUE: tuple[Credential, ...] = (
    Credential(
        purpose="litellm-master-key",
        description="Administrator key of the LiteLLM gateway; LiteLLM insists on the sk- prefix.",
        generated={"key": Generated(length=48, prefix="sk-")},
    ),
    Credential(
        purpose="litellm-smoke-key",
        description="Key of the smoke tests of models at the LiteLLM gateway, with a small budget of its own.",
        generated={"key": Generated(length=48, prefix="sk-")},
    ),
    Credential(
        purpose="litellm-salt-key",
        description="Encrypts the provider keys in LiteLLM's database; with another value they cannot be read again.",
        generated={
            "key": Generated(
                length=48,
                prefix="sk-",
                permanent="LiteLLM has no way to decrypt with the old value and encrypt with the new one: what its "
                "database holds encrypted would be lost",
            )
        },
    ),
    Credential(
        purpose="litellm-ui",
        description="Login to LiteLLM's admin pages.",
        fixed={"username": "admin"},
        generated={"password": Generated()},
    ),
    database_user("litellm-database", "litellm", "the LiteLLM gateway"),
    database_user("mlflow-database", "mlflow", "the MLflow server"),
    database_user("registry-drill-database", "registry_drill", "rehearsed restores of the model registry"),
    database_user("argo-workflows-database", "argo_workflows", "the workflow archive"),
    database_user("pipelines-database", "pipelines", "Kubeflow Pipelines"),
    database_user("grafana-database", "grafana", "Grafana"),
    Credential(
        purpose="mlflow-admin",
        description="First administrator of MLflow.",
        fixed={"username": "admin"},
        generated={"password": Generated()},
    ),
    Credential(
        purpose="mlflow-jobs",
        description="Account of pipelines and training jobs at MLflow.",
        fixed={"username": "jobs"},
        generated={"password": Generated()},
    ),
    Credential(
        purpose="mlflow-flask",
        description="Signs MLflow's sessions and forms; a new value logs everybody out.",
        generated={"secretKey": Generated(length=64)},
    ),
    Credential(
        purpose="grafana-admin",
        description="Administrator of Grafana; its secret key encrypts tokens of signed-in people in the database.",
        fixed={"username": "admin"},
        generated={
            "password": Generated(),
            "secretKey": Generated(
                length=64, permanent="Grafana encrypts with it what its database keeps, and re-encrypts only by hand"
            ),
        },
    ),
    Credential(
        purpose="argocd-admin",
        description="Administrator of Argo CD, which stores only the bcrypt hash; its server key signs sessions.",
        fixed={"username": "admin"},
        generated={"password": Generated(bcrypt_as="passwordHash"), "serverSecretKey": Generated(length=64)},
    ),
    Credential(
        purpose="argocd-redis",
        description="Password of the Redis inside Argo CD.",
        generated={"auth": Generated()},
    ),
    Credential(
        purpose="argocd-webhook",
        description="Signs what the Git host sends to Argo CD; set the same value at the Git host.",
        generated={"secret": Generated(length=40)},
    ),
    Credential(
        purpose="milvus-root",
        description="Administrator of Milvus, which takes passwords of 6 to 72 characters.",
        fixed={"username": "root"},
        generated={"password": Generated()},
    ),
    supplied("huggingface-token", "Read token for gated models on Hugging Face.", "token"),
)

RETRIEVAL: tuple[Credential, ...] = (
    Credential(
        purpose="litellm-retrieval-key",
        description="Key of retrieval at the LiteLLM gateway.",
        generated={"key": Generated(length=48, prefix="sk-")},
    ),
    Credential(
        purpose="milvus-retrieval-reader",
        description="Milvus user of answering services.",
        fixed={"username": "retrieval_reader"},
        generated={"password": Generated()},
    ),
    Credential(
        purpose="milvus-retrieval-writer",
        description="Milvus user of ingestions.",
        fixed={"username": "retrieval_writer"},
        generated={"password": Generated()},
    ),
)
"""Of stacks with retrievals."""

EVALUATION: tuple[Credential, ...] = (
    Credential(
        purpose="litellm-evaluation-key",
        description="Key of evaluations at the LiteLLM gateway, for judges.",
        generated={"key": Generated(length=48, prefix="sk-")},
    ),
)
"""Of stacks whose fine-tunes are evaluated."""


def declared(settings: Settings) -> Iterator[Credential]:
    """What a stack needs besides :data:`CATALOGUE`: its settings say it."""
    platform = settings.platform
    for reader, entries in (
        ("Argo CD", platform.delivery.supplied),
        ("Alertmanager", platform.alerting.supplied),
        ("Grafana", platform.grafana.supplied),
    ):
        for entry, properties in entries.items():
            yield supplied(entry, f"{reader}; the operator fills it in.", *properties)
    if settings.retrievals:
        yield from RETRIEVAL
    if any(one.evaluation for one in settings.fine_tunes):
        yield from EVALUATION


def cannot_rotate(credential: Credential) -> str:
    """Why a credential has no generations; empty where it has."""
    if credential.supplied:
        return f"{credential.purpose} is supplied: `ops secrets rotate {credential.purpose}` takes its next value"
    return credential.permanent
