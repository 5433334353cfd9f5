"""Names that several pieces of the foundation share."""

from __future__ import annotations

from typing import Final

STORES: Final = "llmops-stores"
"""Namespace of the database, the cache and the object store."""

SECRETS: Final = "llmops-secrets"
"""Namespace that is the secret store: no pod runs there."""

OPERATORS: Final = "llmops-operators"
"""Namespace of what looks after the stores and hands out credentials."""

BALANCERS: Final = "metallb-system"
"""Namespace of MetalLB."""

OBJECTS_HOST: Final = f"objects.{STORES}.svc"
"""Host of the object store in the cluster, as its certificate and its clients have it."""

OBJECTS_PORT: Final = 8443
"""Port on which the object store's pods answer for 443."""

DATABASE_PORT: Final = 5432
CACHE_PORT: Final = 6379

DATABASE_METRICS_PORT: Final = 9187
CACHE_METRICS_PORT: Final = 9121
OBJECTS_METRICS_PORT: Final = 9327
OBJECTS_METRICS_PORT_OF_ONE: Final = 9324
"""Ports of the stores' metrics: of CloudNativePG's instances, of Valkey's exporter, and the chart's own of SeaweedFS,
whose single server has another one than the parts of several."""

METRICS_SERVER: Final = "metrics-server"
"""Name of metrics-server's release, of its Service and of what its pods are labelled with."""

TRUST: Final = "llmops-trust"
"""ConfigMap, in every namespace, with the certificates to trust."""

ACCESS_KEY: Final = "AWS_ACCESS_KEY_ID"
SECRET_KEY: Final = "AWS_SECRET_ACCESS_KEY"
"""Variables in which clients of S3 look for their keys, and keys of the Secret that holds them."""

KEYS_FILE: Final = "credentials"
"""The same keys as the file that AWS' clients read, in the same Secret."""
