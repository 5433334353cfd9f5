"""What AWS itself refuses, beyond what the types say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

from sandbox.provider import CheckFailure
from sandbox.store import Record
from sandbox.values import Properties, is_object

_REFERRED: Final = re.compile(r"(vpc|subnet|sg|igw|nat|eipalloc|rtb|lt|fs)-[0-9a-f]{17}")
_DATABASE: Final = "aws:rds/instance:Instance"
_BACKUPS_REPLICATION: Final = "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication"
# Parts of a resource that AWS deletes with it, whatever still names it.
_PARTS: Final = frozenset({"aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"})


_ARN_COLONS: Final = 5  # arn:partition:service:region:account:resource
# EC2 API, CreateSecurityGroup: what a description may be made of.
_DESCRIPTION: Final = re.compile(r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{1,255}")


def refused_inputs(type_token: str, inputs: Properties) -> list[CheckFailure]:
    """Return AWS's refusals of what was asked for; unknown values are not judged."""
    if type_token == "aws:eks/nodeGroup:NodeGroup" and is_object(sizes := inputs.get("scalingConfig")):
        least, wanted, most = (sizes.get(name) for name in ("minSize", "desiredSize", "maxSize"))
        if isinstance(least, int) and isinstance(wanted, int) and least > wanted:
            reason = f"Minimum capacity {least} can't be greater than desired size {wanted}"
            return [CheckFailure("scalingConfig.minSize", reason)]
        if isinstance(wanted, int) and isinstance(most, int) and wanted > most:
            reason = f"desired capacity {wanted} can't be greater than max size {most}"
            return [CheckFailure("scalingConfig.desiredSize", reason)]
    if type_token == "aws:ec2/securityGroup:SecurityGroup":
        description = inputs.get("description")
        if isinstance(description, str) and not _DESCRIPTION.fullmatch(description):
            reason = "Invalid security group description: valid are a-z, A-Z, 0-9, spaces and ._-:/()#,@[]+=&;{}!$*"
            return [CheckFailure("description", reason)]
    return []


def refusal_to_create(
    type_token: str, inputs: Properties, region: str, records: Callable[[], list[Record]]
) -> str | None:
    """Return AWS's reason not to create something in ``region``, beside what is there, or None."""
    if type_token != _BACKUPS_REPLICATION:
        return None
    # StartDBInstanceAutomatedBackupsReplication, which is called where the copies are to be.
    source, key = str(inputs["sourceDbInstanceArn"]), inputs.get("kmsKeyId")
    if _region_of(source) == region:
        return f"InvalidParameterValue: {source} is in {region} itself; backups are copied to another region"
    server = next((one for one in records() if one.type == _DATABASE and one.outputs.get("arn") == source), None)
    if server is None:
        return f"DBInstanceNotFound: {source} not found"
    if not server.inputs.get("backupRetentionPeriod"):
        return f"InvalidDBInstanceState: automated backups of {source} are off"
    if server.inputs.get("storageEncrypted") and not key:
        return "InvalidParameterCombination: Encrypted instances require a valid KMS key ID"
    if key and _region_of(str(key)) != region:
        return f"KMSKeyNotAccessibleFault: {key} is not in {region}"
    for other in records():
        if (other.type, other.region, other.inputs.get("sourceDbInstanceArn")) == (type_token, region, source):
            return f"InvalidDBInstanceState: {source} is already replicating to {region}"
    return None


def _region_of(arn: str) -> str:
    return arn.split(":")[3] if arn.count(":") >= _ARN_COLONS else ""


def refusal_to_delete(record: Record, records: Callable[[], list[Record]]) -> str | None:
    """Return AWS's reason not to delete ``record``, or None."""
    inputs = record.inputs
    if inputs.get("deletionProtection") or inputs.get("deletionProtectionEnabled"):
        return "InvalidParameterCombination: deletion protection is on; switch it off and update first"
    if record.type == _DATABASE and not inputs.get("skipFinalSnapshot") and not inputs.get("finalSnapshotIdentifier"):
        return "finalSnapshotIdentifier is required when skipFinalSnapshot is false"
    # Policies and settings of a resource carry its identifier as their own; nothing depends on them.
    if not _REFERRED.fullmatch(record.id) or f'"{record.id}"' in json.dumps(inputs):
        return None
    for other in records():
        if other.urn != record.urn and other.type not in _PARTS and f'"{record.id}"' in json.dumps(other.inputs):
            return f"DependencyViolation: {other.id} ({other.urn.rsplit('::', maxsplit=1)[-1]}) still depends on it"
    return None
