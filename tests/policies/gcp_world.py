"""A small Google Cloud stack that every policy accepts."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from world import LATER, SETTINGS, Given, settings

from components.settings import Settings

PROVIDER: dict[str, Any] = {
    "project": "llmops-test",
    "region": "us-central1",
    "defaultLabels": json.dumps({"owner": "ml-platform", "cost-center": "ml-test"}),
}
_LABELS = {"owner": "ml-platform", "cost-center": "ml-test"}
_KEY = "projects/llmops-test/locations/us-central1/keyRings/r/cryptoKeys/data"
_POD = "serviceAccount:llmops-test.svc.id.goog[velero/velero]"


def google_settings(**changes: Any) -> Settings:
    """The settings that the stack keeps to."""
    quotas = {
        **SETTINGS["quotas"],
        "gpus": {"l4": 4},
        "nodes": 8,
        "instanceTypes": ["n2-standard-*", "g2-standard-*", "db-custom-*"],
        "regions": ["us-central1"],
    }
    return settings(**{"quotas": quotas, "network": {"cidr": "10.48.0.0/16"}, **changes})


def _pools() -> Iterable[Given]:
    guarded: dict[str, Any] = {
        "bootDiskKmsKey": LATER, "diskSizeGb": 100, "serviceAccount": LATER,
        "workloadMetadataConfig": {"mode": "GKE_METADATA"},
        "shieldedInstanceConfig": {"enableSecureBoot": True, "enableIntegrityMonitoring": True},
    }  # fmt: skip
    common: dict[str, Any] = {"location": "us-central1", "networkConfig": {"enablePrivateNodes": True}}
    yield Given("system", "gcp:container/nodePool:NodePool", {
        **common, "autoscaling": {"totalMinNodeCount": 1, "totalMaxNodeCount": 4},
        "nodeConfig": {**guarded, "machineType": "n2-standard-2", "spot": False, "labels": {"llmops/role": "system"}},
    })  # fmt: skip
    yield Given("training", "gcp:container/nodePool:NodePool", {
        **common, "autoscaling": {"totalMinNodeCount": 0, "totalMaxNodeCount": 4},
        "nodeConfig": {
            **guarded, "machineType": "g2-standard-16", "spot": True, "labels": {"llmops/role": "gpu-training"},
            "guestAccelerators": [{"type": "nvidia-l4", "count": 1}],
        },
    })  # fmt: skip


def _stores() -> Iterable[Given]:
    yield Given("bucket", "gcp:storage/bucket:Bucket", {
        "name": "models", "location": "US-CENTRAL1", "publicAccessPrevention": "enforced",
        "uniformBucketLevelAccess": True, "versioning": {"enabled": True}, "forceDestroy": False,
        "encryption": {"defaultKmsKeyName": LATER},
        "lifecycleRules": [{"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}}],
    }, protect=True)  # fmt: skip
    yield Given("database", "gcp:sql/databaseInstance:DatabaseInstance", {
        "region": "us-central1", "databaseVersion": "POSTGRES_17", "encryptionKeyName": LATER,
        "deletionProtection": True,
        "settings": {
            "tier": "db-custom-2-8192", "availabilityType": "REGIONAL", "deletionProtectionEnabled": True,
            "diskSize": 20, "diskAutoresizeLimit": 40, "diskType": "PD_SSD", "edition": "ENTERPRISE",
            "ipConfiguration": {"ipv4Enabled": False, "privateNetwork": LATER, "sslMode": "ENCRYPTED_ONLY"},
            "backupConfiguration": {
                "enabled": True, "pointInTimeRecoveryEnabled": True,
                "backupRetentionSettings": {"retainedBackups": 7},
            },
            "userLabels": dict(_LABELS),
        },
    }, protect=True)  # fmt: skip
    yield Given("cache", "gcp:redis/instance:Instance", {
        "region": "us-central1", "tier": "STANDARD_HA", "memorySizeGb": 2, "customerManagedKey": LATER,
        "authEnabled": True, "transitEncryptionMode": "SERVER_AUTHENTICATION", "deletionProtection": True,
        "persistenceConfig": {"persistenceMode": "RDB"},
    })  # fmt: skip
    yield Given("files", "gcp:filestore/instance:Instance", {
        "location": "us-central1-a", "tier": "ZONAL", "kmsKeyName": LATER, "deletionProtectionEnabled": True,
        "fileShares": {"name": "models", "capacityGb": 1024},
    }, protect=True)  # fmt: skip
    yield Given("secret", "gcp:secretmanager/secret:Secret", {
        "secretId": "token", "deletionProtection": True,
        "replication": {"userManaged": {"replicas": [
            {"location": "us-central1", "customerManagedEncryption": {"kmsKeyName": LATER}},
        ]}},
    })  # fmt: skip
    yield Given("images", "gcp:artifactregistry/repository:Repository", {
        "location": "us-central1", "format": "DOCKER", "mode": "STANDARD_REPOSITORY", "kmsKeyName": LATER,
        "dockerConfig": {"immutableTags": True},
    })  # fmt: skip
    yield Given("mirror", "gcp:artifactregistry/repository:Repository", {
        "location": "us-central1", "format": "DOCKER", "mode": "REMOTE_REPOSITORY",
    })  # fmt: skip
    yield Given("audit", "gcp:logging/projectBucketConfig:ProjectBucketConfig", {
        "location": "us-central1", "retentionDays": 400, "cmekSettings": {"kmsKeyName": LATER},
    })  # fmt: skip


def google_world() -> list[Given]:
    """A fresh copy of all of it."""
    found = [
        Given("google", "pulumi:providers:gcp", dict(PROVIDER)),
        Given("network", "gcp:compute/network:Network", {"autoCreateSubnetworks": False}),
        Given("subnet", "gcp:compute/subnetwork:Subnetwork", {
            "region": "us-central1", "privateIpGoogleAccess": True, "logConfig": {"flowSampling": 0.1},
        }),
        Given("address", "gcp:compute/address:Address", {"region": "us-central1", "addressType": "EXTERNAL"}),
        Given("services", "gcp:compute/globalAddress:GlobalAddress", {"addressType": "INTERNAL"}),
        Given("firewall", "gcp:compute/firewall:Firewall", {
            "direction": "INGRESS", "sourceRanges": ["10.48.192.0/28"],
            "allows": [{"protocol": "tcp", "ports": ["8443"]}],
        }),
        Given("key", "gcp:kms/cryptoKey:CryptoKey", {
            "purpose": "ENCRYPT_DECRYPT", "rotationPeriod": "7776000s", "destroyScheduledDuration": "2592000s",
        }, protect=True),
        Given("cluster", "gcp:container/cluster:Cluster", {
            "location": "us-central1", "deletionProtection": True, "resourceLabels": dict(_LABELS),
            "databaseEncryption": {"state": "ENCRYPTED", "keyName": _KEY},
            "privateClusterConfig": {"enablePrivateNodes": True, "enablePrivateEndpoint": True},
            "loggingConfig": {"enableComponents": ["SYSTEM_COMPONENTS", "APISERVER"]},
        }),
        *_pools(),
        *_stores(),
        Given("storage-class", "kubernetes:storage.k8s.io/v1:StorageClass", {
            "metadata": {"name": "standard"}, "provisioner": "pd.csi.storage.gke.io",
            "parameters": {"type": "pd-balanced", "disk-encryption-kms-key": LATER},
        }),
        Given("reader", "gcp:storage/bucketIAMMember:BucketIAMMember", {
            "bucket": "models", "role": "roles/storage.objectViewer", "member": LATER,
        }),
        Given("pod", "gcp:serviceaccount/iAMMember:IAMMember", {
            "role": "roles/iam.workloadIdentityUser", "member": _POD,
        }),
    ]  # fmt: skip
    return [
        replace(one, props=copy.deepcopy(one.props), provider=PROVIDER if one.type.startswith("gcp:") else {})
        for one in found
    ]
