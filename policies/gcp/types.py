"""Resource types of Google Cloud that policies look at."""

from __future__ import annotations

from typing import Final

BUCKET: Final = "gcp:storage/bucket:Bucket"
CLUSTER: Final = "gcp:container/cluster:Cluster"
NODE_POOL: Final = "gcp:container/nodePool:NodePool"
DATABASE: Final = "gcp:sql/databaseInstance:DatabaseInstance"
CACHE: Final = "gcp:redis/instance:Instance"
FILES: Final = "gcp:filestore/instance:Instance"
KEY: Final = "gcp:kms/cryptoKey:CryptoKey"
SECRET: Final = "gcp:secretmanager/secret:Secret"
REPOSITORY: Final = "gcp:artifactregistry/repository:Repository"
LOG_BUCKET: Final = "gcp:logging/projectBucketConfig:ProjectBucketConfig"
NETWORK: Final = "gcp:compute/network:Network"
SUBNETWORK: Final = "gcp:compute/subnetwork:Subnetwork"
FIREWALL: Final = "gcp:compute/firewall:Firewall"
ADDRESS: Final = "gcp:compute/address:Address"
GLOBAL_ADDRESS: Final = "gcp:compute/globalAddress:GlobalAddress"
ACCOUNT_GRANT: Final = "gcp:serviceaccount/iAMMember:IAMMember"
PROVIDER: Final = "pulumi:providers:gcp"
STORAGE_CLASS: Final = "kubernetes:storage.k8s.io/v1:StorageClass"
FORWARDING_RULES: Final = (
    "gcp:compute/forwardingRule:ForwardingRule",
    "gcp:compute/globalForwardingRule:GlobalForwardingRule",
)
