"""The database as a stack's state holds it: what a restored one must be like, and how the state comes to mean it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from ops.refusals import RefusedError

RDS: Final = "aws:rds/instance:Instance"
CLOUD_SQL: Final = "gcp:sql/databaseInstance:DatabaseInstance"
_COPYING: Final = "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication"
RESTORED_FROM: Final = "restored-from"
"""Tag of a server that a restore has made, until the stack has adopted it; only such a server may be discarded."""


@dataclass(frozen=True)
class Declared:
    """The database that the program declares.

    Attributes:
        urn: Pulumi's name of the resource.
        type: Its type.
        id: The cloud's name of it in the state; of RDS the resource id, which a server keeps through renames.
        inputs: As the program gave them, with references resolved.
        outputs: As the cloud answered when it was last asked.
    """

    urn: str
    type: str
    id: str
    inputs: Mapping[str, Any] = field(repr=False)
    outputs: Mapping[str, Any] = field(repr=False)

    @property
    def identifier(self) -> str:
        """Name of the server at the cloud, which begins its address."""
        return str(self.inputs["identifier"] if self.type == RDS else self.outputs["name"])

    @property
    def region(self) -> str:
        """Where it is."""
        return str(self.outputs["region"])

    @property
    def project(self) -> str:
        """Project that holds it, on Google Cloud."""
        return str(self.outputs.get("project", ""))


def database_of(state: Mapping[str, Any]) -> Declared:
    """The database in a stack's state, as ``pulumi stack export`` prints it.

    Raises:
        RefusedError: There is none that a cloud restores, or more than one.
    """
    found = [one for one in _resources(state) if one["type"] in (RDS, CLOUD_SQL) and not one.get("delete")]
    if not found:
        raise RefusedError(
            "this stack has no database of a cloud; on premises restore from the backups of the server's own operator"
        )
    if len(found) > 1:
        names = ", ".join(str(one["urn"]).rpartition("::")[2] for one in found)
        raise RefusedError(f"the state holds several databases ({names}), and which one is meant cannot be told")
    (one,) = found
    return Declared(one["urn"], one["type"], one["id"], one.get("inputs", {}), one.get("outputs", {}))


def copying_of(state: Mapping[str, Any]) -> str:
    """Pulumi's name of what copies the database's backups to another region; empty where nothing does.

    Copying belongs to a server, whatever its name. To the engine nothing changes when another gets that name.
    """
    found = (str(one["urn"]) for one in _resources(state) if one["type"] == _COPYING and not one.get("delete"))
    return next(found, "")


def adopted(state: Mapping[str, Any], urn: str, resource_id: str) -> dict[str, Any]:
    """The same state with another server behind one resource. Nothing else changes: others refer to it by its URN."""
    changed = copy.deepcopy(dict(state))
    for resource in _resources(changed):
        if resource["urn"] == urn and not resource.get("delete"):
            resource["id"] = resource_id
            outputs = resource.get("outputs", {})
            for key in {"id", "resourceId"} & outputs.keys():
                outputs[key] = resource_id
    return changed


def _resources(state: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    deployment = cast("Mapping[str, Any]", state.get("deployment") or {})
    return cast("Sequence[dict[str, Any]]", deployment.get("resources") or ())


# What the program declares, and what RDS calls it: a difference here would make the next `up` replace the server.
_REPLACING: Final[Mapping[str, str]] = {
    "engine": "Engine",
    "kmsKeyId": "KmsKeyId",
    "storageEncrypted": "StorageEncrypted",
    "username": "MasterUsername",
}


def replacing_differences(declared: Declared, server: Mapping[str, Any]) -> list[str]:
    """What would make ``pulumi up`` replace a server in the place of the declared one; empty where nothing would."""
    return [
        f"{name} is {server.get(called)}, and the stack says {declared.inputs[name]}"
        for name, called in _REPLACING.items()
        if name in declared.inputs and server.get(called) != declared.inputs[name]
    ]


def restore_arguments(declared: Declared, target: str) -> dict[str, Any]:
    """What both kinds of restore are told, so that the new server has the network, key and class of the old.

    Logs are exported only once the server has its final name: RDS would make log groups of the present one, without
    key and without retention. The network, the key and the class come from the state, which has them even where the
    server itself is gone.
    """
    inputs = declared.inputs
    return {
        "DBInstanceClass": inputs["instanceClass"],
        "DBSubnetGroupName": inputs["dbSubnetGroupName"],
        "VpcSecurityGroupIds": list(inputs["vpcSecurityGroupIds"]),
        "DBParameterGroupName": inputs["parameterGroupName"],
        "Port": int(inputs.get("port", 5432)),
        "MultiAZ": bool(inputs.get("multiAz")),
        "StorageType": inputs.get("storageType", "gp3"),
        "PubliclyAccessible": False,
        "AutoMinorVersionUpgrade": bool(inputs.get("autoMinorVersionUpgrade", True)),
        "CopyTagsToSnapshot": bool(inputs.get("copyTagsToSnapshot", True)),
        # By hand, while it is beside the stack: nobody deletes it without meaning to.
        "DeletionProtection": True,
        "Tags": [
            *({"Key": key, "Value": value} for key, value in sorted(declared.outputs.get("tagsAll", {}).items())),
            {"Key": RESTORED_FROM, "Value": declared.identifier},
        ],
        **({"CACertificateIdentifier": inputs["caCertIdentifier"]} if inputs.get("caCertIdentifier") else {}),
        **({"DBInstanceIdentifier": target}),
    }


def completing_arguments(declared: Declared) -> dict[str, Any]:
    """What a restore does not take and a change does: password, monitoring, windows, backups."""
    inputs = declared.inputs
    insights = bool(inputs.get("performanceInsightsEnabled"))
    return {
        # The password of the backup is nobody's any more: RDS makes a new one and keeps it in Secrets Manager.
        "ManageMasterUserPassword": True,
        "MasterUserSecretKmsKeyId": inputs["masterUserSecretKmsKeyId"],
        "BackupRetentionPeriod": int(inputs["backupRetentionPeriod"]),
        "PreferredBackupWindow": inputs["backupWindow"],
        "PreferredMaintenanceWindow": inputs["maintenanceWindow"],
        "EnablePerformanceInsights": insights,
        **(
            {
                "PerformanceInsightsKMSKeyId": inputs["performanceInsightsKmsKeyId"],
                "PerformanceInsightsRetentionPeriod": int(inputs["performanceInsightsRetentionPeriod"]),
            }
            if insights
            else {}
        ),
        **(
            {
                "MonitoringInterval": int(inputs["monitoringInterval"]),
                "MonitoringRoleArn": inputs["monitoringRoleArn"],
            }
            if inputs.get("monitoringInterval")
            else {}
        ),
        **({"MaxAllocatedStorage": int(inputs["maxAllocatedStorage"])} if inputs.get("maxAllocatedStorage") else {}),
        "ApplyImmediately": True,
    }
