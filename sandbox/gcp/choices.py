"""What the Google Cloud provider itself refuses before it asks Google: words and numbers of single properties.

Read off the schemas of the Terraform provider 7.31.0, which pulumi-gcp 9.23 bridges: every ``ValidateFunc`` in
``google/services/*/resource_*.go`` that lists words or bounds. Only what the program sets or may set is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_ALIGNERS: Final = (
    "NONE", "DELTA", "RATE", "INTERPOLATE", "NEXT_OLDER", "MIN", "MAX", "MEAN", "COUNT", "SUM", "STDDEV", "COUNT_TRUE",
    "COUNT_FALSE", "FRACTION_TRUE", "PERCENTILE_99", "PERCENTILE_95", "PERCENTILE_50", "PERCENTILE_05",
    "PERCENT_CHANGE",
)  # fmt: skip
_DAYS: Final = (
    "DAY_OF_WEEK_UNSPECIFIED", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY",
)  # fmt: skip
_FLAG: Final = ("FALSE", "TRUE")
_METADATA: Final = ("MODE_UNSPECIFIED", "GCE_METADATA", "GKE_METADATA")

CHOICES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "artifactregistry/repository:Repository": {
        "cleanupPolicies.action": ("DELETE", "KEEP"),
        "cleanupPolicies.condition.tagState": ("TAGGED", "UNTAGGED", "ANY"),
        "mode": ("STANDARD_REPOSITORY", "VIRTUAL_REPOSITORY", "REMOTE_REPOSITORY"),
        "remoteRepositoryConfig.dockerRepository.publicRepository": ("DOCKER_HUB",),
    },
    "billing/budget:Budget": {
        "budgetFilter.calendarPeriod": ("MONTH", "QUARTER", "YEAR", "CALENDAR_PERIOD_UNSPECIFIED"),
        "budgetFilter.creditTypesTreatment": (
            "INCLUDE_ALL_CREDITS", "EXCLUDE_ALL_CREDITS", "INCLUDE_SPECIFIED_CREDITS",
        ),
        "thresholdRules.spendBasis": ("CURRENT_SPEND", "FORECASTED_SPEND"),
    },
    "compute/address:Address": {
        "addressType": ("INTERNAL", "EXTERNAL"),
        "networkTier": ("PREMIUM", "STANDARD"),
    },
    "compute/firewall:Firewall": {"direction": ("INGRESS", "EGRESS")},
    "compute/globalAddress:GlobalAddress": {"addressType": ("EXTERNAL", "INTERNAL")},
    "compute/network:Network": {"routingMode": ("REGIONAL", "GLOBAL")},
    "compute/routerNat:RouterNat": {
        "logConfig.filter": ("ERRORS_ONLY", "TRANSLATIONS_ONLY", "ALL"),
        "natIpAllocateOption": ("MANUAL_ONLY", "AUTO_ONLY"),
        "sourceSubnetworkIpRangesToNat": (
            "ALL_SUBNETWORKS_ALL_IP_RANGES", "ALL_SUBNETWORKS_ALL_PRIMARY_IP_RANGES", "LIST_OF_SUBNETWORKS",
        ),
    },
    "compute/subnetwork:Subnetwork": {
        "logConfig.aggregationInterval": tuple(
            f"INTERVAL_{each}" for each in ("5_SEC", "30_SEC", "1_MIN", "5_MIN", "10_MIN", "15_MIN")
        ),
        "logConfig.metadata": ("EXCLUDE_ALL_METADATA", "INCLUDE_ALL_METADATA", "CUSTOM_METADATA"),
        "stackType": ("IPV4_ONLY", "IPV4_IPV6", "IPV6_ONLY"),
    },
    "container/cluster:Cluster": {
        "clusterAutoscaling.autoscalingProfile": ("BALANCED", "OPTIMIZE_UTILIZATION"),
        "databaseEncryption.state": ("ENCRYPTED", "ALL_OBJECTS_ENCRYPTION_ENABLED", "DECRYPTED"),
        "datapathProvider": ("DATAPATH_PROVIDER_UNSPECIFIED", "LEGACY_DATAPATH", "ADVANCED_DATAPATH"),
        "gatewayApiConfig.channel": ("CHANNEL_DISABLED", "CHANNEL_EXPERIMENTAL", "CHANNEL_STANDARD"),
        "loggingConfig.enableComponents": (
            "SYSTEM_COMPONENTS", "APISERVER", "CONTROLLER_MANAGER", "KCP_CONNECTION", "KCP_SSHD", "KCP_HPA",
            "SCHEDULER", "WORKLOADS",
        ),
        "networkingMode": ("VPC_NATIVE", "ROUTES"),
        "nodeConfig.workloadMetadataConfig.mode": _METADATA,
        "nodePoolDefaults.nodeConfigDefaults.insecureKubeletReadonlyPortEnabled": _FLAG,
        "releaseChannel.channel": ("UNSPECIFIED", "RAPID", "REGULAR", "STABLE", "EXTENDED"),
        "securityPostureConfig.mode": ("DISABLED", "BASIC", "ENTERPRISE", "MODE_UNSPECIFIED"),
        "securityPostureConfig.vulnerabilityMode": tuple(
            f"VULNERABILITY_{each}" for each in ("DISABLED", "BASIC", "ENTERPRISE", "MODE_UNSPECIFIED")
        ),
    },
    "container/nodePool:NodePool": {
        "autoscaling.locationPolicy": ("BALANCED", "ANY"),
        "nodeConfig.guestAccelerators.gpuDriverInstallationConfig.gpuDriverVersion": (
            "GPU_DRIVER_VERSION_UNSPECIFIED", "INSTALLATION_DISABLED", "DEFAULT", "LATEST",
        ),
        "nodeConfig.kubeletConfig.insecureKubeletReadonlyPortEnabled": _FLAG,
        "nodeConfig.taints.effect": ("NO_SCHEDULE", "PREFER_NO_SCHEDULE", "NO_EXECUTE"),
        "nodeConfig.workloadMetadataConfig.mode": _METADATA,
        "upgradeSettings.strategy": ("SURGE", "BLUE_GREEN"),
    },
    "dns/managedZone:ManagedZone": {"visibility": ("private", "public")},
    "filestore/instance:Instance": {
        "fileShares.nfsExportOptions.accessMode": ("READ_ONLY", "READ_WRITE"),
        "fileShares.nfsExportOptions.squashMode": ("NO_ROOT_SQUASH", "ROOT_SQUASH"),
        "networks.connectMode": ("DIRECT_PEERING", "PRIVATE_SERVICE_ACCESS", "PRIVATE_SERVICE_CONNECT"),
        "networks.modes": ("ADDRESS_MODE_UNSPECIFIED", "MODE_IPV4", "MODE_IPV6"),
        "protocol": ("NFS_V3", "NFS_V4_1"),
    },
    "monitoring/alertPolicy:AlertPolicy": {
        "combiner": ("AND", "OR", "AND_WITH_MATCHING_RESOURCE"),
        "conditions.conditionThreshold.aggregations.perSeriesAligner": tuple(f"ALIGN_{each}" for each in _ALIGNERS),
        "conditions.conditionThreshold.comparison": tuple(
            f"COMPARISON_{each}" for each in ("GT", "GE", "LT", "LE", "EQ", "NE")
        ),
        "severity": ("CRITICAL", "ERROR", "WARNING"),
    },
    "redis/instance:Instance": {
        "connectMode": ("DIRECT_PEERING", "PRIVATE_SERVICE_ACCESS"),
        "maintenancePolicy.weeklyMaintenanceWindows.day": _DAYS,
        "persistenceConfig.persistenceMode": ("DISABLED", "RDB"),
        "persistenceConfig.rdbSnapshotPeriod": ("ONE_HOUR", "SIX_HOURS", "TWELVE_HOURS", "TWENTY_FOUR_HOURS"),
        "readReplicasMode": ("READ_REPLICAS_DISABLED", "READ_REPLICAS_ENABLED"),
        "tier": ("BASIC", "STANDARD_HA"),
        "transitEncryptionMode": ("SERVER_AUTHENTICATION", "DISABLED"),
    },
    "servicenetworking/connection:Connection": {"deletionPolicy": ("ABANDON",)},
    "sql/databaseInstance:DatabaseInstance": {
        "settings.availabilityType": ("REGIONAL", "ZONAL"),
        "settings.connectorEnforcement": ("NOT_REQUIRED", "REQUIRED"),
        "settings.edition": ("ENTERPRISE", "ENTERPRISE_PLUS"),
        "settings.ipConfiguration.serverCaMode": (
            "CA_MODE_UNSPECIFIED", "GOOGLE_MANAGED_INTERNAL_CA", "GOOGLE_MANAGED_CAS_CA", "CUSTOMER_MANAGED_CAS_CA",
        ),
        "settings.ipConfiguration.sslMode": (
            "ALLOW_UNENCRYPTED_AND_ENCRYPTED", "ENCRYPTED_ONLY", "TRUSTED_CLIENT_CERTIFICATE_REQUIRED",
        ),
    },
    "sql/user:User": {"deletionPolicy": ("ABANDON",)},
    "storage/bucket:Bucket": {"lifecycleRules.condition.withState": ("LIVE", "ARCHIVED", "ANY")},
}  # fmt: skip
"""By type, without its package, and property. An empty text is taken everywhere: it stands for nothing said."""

BOUNDS: Final[Mapping[str, Mapping[str, tuple[float | None, float | None]]]] = {
    "compute/firewall:Firewall": {"priority": (0, 65535)},
    "container/nodePool:NodePool": {
        "autoscaling.maxNodeCount": (0, None),
        "autoscaling.minNodeCount": (0, None),
        "autoscaling.totalMaxNodeCount": (0, None),
        "autoscaling.totalMinNodeCount": (0, None),
        "nodeConfig.ephemeralStorageLocalSsdConfig.localSsdCount": (0, None),
        "upgradeSettings.maxSurge": (0, None),
        "upgradeSettings.maxUnavailable": (0, None),
    },
    "redis/instance:Instance": {
        "maintenancePolicy.weeklyMaintenanceWindows.startTime.hours": (0, 23),
        "maintenancePolicy.weeklyMaintenanceWindows.startTime.minutes": (0, 59),
    },
    "sql/databaseInstance:DatabaseInstance": {
        "settings.maintenanceWindow.day": (1, 7),
        "settings.maintenanceWindow.hour": (0, 23),
    },
}
"""The smallest and the largest number, by type and property."""
