"""What the parts of the model gateway share: names, ports, how a pod of it is confined."""

from __future__ import annotations

from typing import Final

from pulumi_kubernetes import core

from components.platform.openings import LITELLM, Namespace, Pods

NAMESPACE: Final[Namespace] = "mlops-serving"

NAME: Final = "model-gateway"
"""Name of Deployment, Service and service account. Not ``litellm``: LiteLLM reads variables with that prefix, and a
service's name becomes a prefix of variables wherever service links are on."""

PORT: Final = 4000
METRICS_PORT: Final = 4001
SERVICE_URL: Final = f"http://{NAME}.{NAMESPACE}.svc.cluster.local:{PORT}"

KEYS_SECRET: Final = "model-gateway-keys"
"""Master key, salt, sign-in of the pages, password of the cache."""

SMOKE_SECRET: Final = "model-smoke-key"
"""Key of the smoke tests; nothing else is in it."""

LABELS: Final[dict[str, str]] = dict(LITELLM.labels)
MIGRATIONS_LABELS: Final[dict[str, str]] = {"app.kubernetes.io/name": "model-gateway-migrations"}
TEAMS_LABELS: Final[dict[str, str]] = {"app.kubernetes.io/name": "model-gateway-teams"}

MIGRATIONS: Final = Pods(namespace=NAMESPACE, labels=MIGRATIONS_LABELS)
TEAMS: Final = Pods(namespace=NAMESPACE, labels=TEAMS_LABELS)

_NOBODY: Final = 65534  # the user of the image, which it gives by name only


def pod_security() -> core.v1.PodSecurityContextArgs:
    """The restricted level, as the image's own user; its group may read mounted Secrets and the identity's token."""
    return core.v1.PodSecurityContextArgs(
        run_as_non_root=True,
        run_as_user=_NOBODY,
        run_as_group=_NOBODY,
        fs_group=_NOBODY,
        seccomp_profile=core.v1.SeccompProfileArgs(type="RuntimeDefault"),
    )


def container_security() -> core.v1.SecurityContextArgs:
    """Nothing can be written but what is mounted for it."""
    return core.v1.SecurityContextArgs(
        allow_privilege_escalation=False,
        read_only_root_filesystem=True,
        capabilities=core.v1.CapabilitiesArgs(drop=["ALL"]),
    )


def from_secret(variable: str, secret: str, key: str) -> core.v1.EnvVarArgs:
    """A variable of the process that is read from a Secret."""
    return core.v1.EnvVarArgs(
        name=variable,
        value_from=core.v1.EnvVarSourceArgs(secret_key_ref=core.v1.SecretKeySelectorArgs(name=secret, key=key)),
    )
