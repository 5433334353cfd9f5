"""All settings of a stack."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from components.capacity import NodeShape, clouds
from components.capacity.clouds import Cloud
from components.settings import nodes, workloads
from components.settings.account import AlarmSettings, AwsSettings, BudgetSettings, RegistrySettings
from components.settings.air_gap import AirGapSettings
from components.settings.base import Section
from components.settings.cluster import ClusterSettings
from components.settings.datasets import DatasetSettings
from components.settings.fine_tunes import FineTuneSettings
from components.settings.gcp import GcpSettings
from components.settings.hosted_models import HostedModelSettings
from components.settings.models import ModelSettings
from components.settings.network import NetworkSettings
from components.settings.nodes import NodeGroupSettings
from components.settings.onprem import OnPremSettings
from components.settings.platform import PlatformSettings
from components.settings.quotas import QuotaSettings
from components.settings.retrieval import RetrievalSettings
from components.settings.rotation import UNROTATED, RotationSettings
from components.settings.stores import CacheSettings, DatabaseSettings, FileSettings, ObjectSettings
from components.settings.teams import TeamSettings
from components.settings.workloads import WorkloadSettings

RESERVED_TAGS = ("project", "stack", "owner", "cost-center", "managed-by")


# Tags as AWS and the EBS driver's add-on take them: letters, digits, spaces and + - = . _ : / @; ASCII only.
_TAG = r"^[A-Za-z0-9_ .:/=+\-@]+$"
TagKey = Annotated[str, Field(min_length=1, max_length=128, pattern=_TAG)]
TagValue = Annotated[str, Field(min_length=1, max_length=256, pattern=_TAG)]


def _recovery(value: int) -> int:
    if 0 < value < 7:
        raise ValueError(f"must be 0, or 7 to 30 days (Secrets Manager); got {value}")
    return value


class Settings(Section):
    """Everything that differs between environments.

    Attributes:
        cloud: The foundation to build on.
        owner: Team that answers for the stack; a tag on everything.
        cost_center: Who pays; a tag on everything.
        protect: Refuse to delete what holds data (buckets, databases, keys, the cluster).
        key_deletion_days: Days in which a deleted encryption key can be brought back, 7 to 30.
        secret_recovery_days: Days in which a deleted credential can be brought back, 7 to 30; its name is taken for so
            long. 0 deletes at once, so that a stack can be destroyed and built again.
        tags: More tags for everything. A change replaces nodes one after another.
        aws: The AWS account; read where ``cloud`` is ``aws``.
        gcp: The Google Cloud project; read where ``cloud`` is ``gcp``.
        onprem: The existing cluster; read where ``cloud`` is ``onprem``.
        network: The VPC.
        cluster: The Kubernetes cluster.
        node_groups: Groups of nodes.
        database: PostgreSQL.
        cache: The Redis-protocol cache.
        objects: The buckets.
        files: The shared file system.
        registry: The container registry.
        budget: The monthly budget.
        alarms: Who is told.
        quotas: How far the stack may grow.
        rotation: Which credentials have been given other values.
        platform: The systems on the cluster.
        teams: Who uses the platform.
        hosted_models: Models that the cloud serves, behind the model gateway.
        models: Models of one's own, behind the model gateway.
        datasets: Text that is prepared for training.
        fine_tunes: Models that are trained, evaluated and released.
        retrievals: Models that answer from documents.
        air_gap: Mirrors in place of everything outside.
        workloads: Capacity that the node groups must be able to give; refused at preview where they cannot.
    """

    cloud: Cloud = "aws"
    owner: TagValue
    cost_center: TagValue
    protect: bool = True
    key_deletion_days: Annotated[int, Field(ge=7, le=30)] = 30
    secret_recovery_days: Annotated[int, Field(ge=0, le=30), AfterValidator(_recovery)] = 30
    tags: dict[TagKey, TagValue] = Field(default_factory=dict[str, str])
    aws: AwsSettings = AwsSettings()
    gcp: GcpSettings = GcpSettings()
    onprem: OnPremSettings = OnPremSettings()
    network: NetworkSettings = NetworkSettings()
    cluster: ClusterSettings = ClusterSettings()
    node_groups: tuple[NodeGroupSettings, ...] = nodes.table()
    database: DatabaseSettings = DatabaseSettings()
    cache: CacheSettings = CacheSettings()
    objects: ObjectSettings = ObjectSettings()
    files: FileSettings = FileSettings()
    registry: RegistrySettings = RegistrySettings()
    budget: BudgetSettings = BudgetSettings()
    alarms: AlarmSettings = AlarmSettings()
    quotas: QuotaSettings = QuotaSettings()
    rotation: RotationSettings = UNROTATED
    platform: PlatformSettings = PlatformSettings()
    teams: tuple[TeamSettings, ...] = ()
    hosted_models: tuple[HostedModelSettings, ...] = ()
    models: tuple[ModelSettings, ...] = ()
    datasets: tuple[DatasetSettings, ...] = ()
    fine_tunes: tuple[FineTuneSettings, ...] = ()
    retrievals: tuple[RetrievalSettings, ...] = ()
    air_gap: AirGapSettings = AirGapSettings()
    workloads: tuple[WorkloadSettings, ...] = workloads.table()

    @field_validator("tags")
    @classmethod
    def _tags_are_free_to_use(cls, value: dict[str, str]) -> dict[str, str]:
        if taken := [key for key in value if key.startswith("aws:") or key in RESERVED_TAGS]:
            raise ValueError(f"must not be aws:* or {', '.join(RESERVED_TAGS)}; got {', '.join(taken)}")
        return value

    @property
    def zones(self) -> tuple[str, ...]:
        """Availability zones by name: those of the settings, else the first three of the region."""
        return self.network.zones or tuple(clouds.zones_of(self.cloud, self.region)[:3])

    @property
    def region(self) -> str:
        """Region of everything but the copies for disaster recovery."""
        match self.cloud:
            case "aws":
                return self.aws.region
            case "gcp":
                return self.gcp.region
            case "onprem":
                return self.onprem.site

    def shapes(self, group: NodeGroupSettings) -> tuple[NodeShape, ...]:
        """What one node of each type of a group offers, in the group's order."""
        if self.cloud == "onprem":
            return tuple(self.onprem.shapes[kind] for kind in group.instance_types)
        return tuple(clouds.shape_of(kind, group.root_volume_gib) for kind in group.instance_types)
