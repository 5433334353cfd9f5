"""What the parts of the model gateway share: names, ports, its user."""

from __future__ import annotations

from typing import Final

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

USER: Final = 65534  # nobody: the user of the image, which it gives by name only
