"""Leftovers that hold data, or the key or the name of something that did."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from ops.leftovers.aws.look import Look
from ops.leftovers.model import Leftover
from ops.preflight.aws.account import AwsError

# AWS deletes a secret this long after it was asked to where nobody said otherwise; the answer has no date of the end.
_WITHIN: Final = "within 30 days"
_FILE_SYSTEM: Final = "aws:efs/fileSystem:FileSystem"


def volumes(look: Look) -> Iterator[Leftover]:
    """Disks of persistent volumes."""
    for one in look.pages("ec2", "describe_volumes", "Volumes"):
        name = str(one["VolumeId"])
        made_by = look.maker(one.get("Tags"), name)
        if not made_by and name in look.record.volumes and not look.others(one.get("Tags")):
            made_by = "the volume driver, for a volume of the cluster"
        if made_by:
            note = f"{one['Size']} GiB" + ("" if one["State"] == "available" else f", {one['State']}")
            command = f"aws ec2 delete-volume --volume-id {name}"
            fate = "waits" if one["State"] == "deleting" else "data"
            yield look.found("volume", name, made_by, command, fate=fate, note=note)


def snapshots(look: Look) -> Iterator[Leftover]:
    """Snapshots of disks; Velero's outlive their backup's object."""
    for one in look.pages("ec2", "describe_snapshots", "Snapshots", OwnerIds=["self"]):
        name = str(one["SnapshotId"])
        made_by = look.maker(one.get("Tags"), name)
        if not made_by and one.get("VolumeId") in look.record.volumes and not look.others(one.get("Tags")):
            made_by = "a snapshot of a volume of the cluster"
        if made_by:
            command = f"aws ec2 delete-snapshot --snapshot-id {name}"
            yield look.found("snapshot", name, made_by, command, fate="data", note=f"{one.get('VolumeSize')} GiB")


def buckets(look: Look) -> Iterator[Leftover]:
    """Buckets; the list is one for all regions, so each is looked at from its own."""
    known = {one.id for one in look.record.of("aws:s3/bucket:Bucket")}
    start, end = f"{look.record.prefix}-", f"-{look.region}"
    for one in look.pages("s3", "list_buckets", "Buckets"):
        name = str(one["Name"])
        if name not in known and not (name.startswith(start) and name.endswith(end)):
            continue
        try:
            place = look.call("s3", "get_bucket_location", Bucket=name).get("LocationConstraint") or "us-east-1"
            if place != look.region:
                continue
            tags = _bucket_tags(look, name)
        except AwsError as error:
            if error.code == "NoSuchBucket":
                continue
            raise
        if made_by := look.maker(tags, name):
            again = f"--stack {look.record.stack} --confirm {look.record.stack}"
            command = f"python -m ops leftovers {again} --remove --data --yes"
            note = "with every version of every object in it"
            yield Leftover(
                kind="bucket", name=name, region=look.region, made_by=made_by, command=command, fate="data", note=note
            )


def _bucket_tags(look: Look, name: str) -> Any:
    try:
        return look.call("s3", "get_bucket_tagging", Bucket=name)["TagSet"]
    except AwsError as error:
        if error.code != "NoSuchTagSet":
            raise
        return []


def databases(look: Look) -> Iterator[Leftover]:
    """What RDS keeps of a server that is gone: snapshots that somebody took, the last one, and automated backups."""
    server = f"{look.record.prefix}-postgres"
    for one in look.pages("rds", "describe_db_snapshots", "DBSnapshots"):
        name = str(one["DBSnapshotIdentifier"])
        made_by = look.maker(one.get("TagList"), name, str(one.get("DBSnapshotArn")))
        if not made_by and one.get("DBInstanceIdentifier") == server and not look.others(one.get("TagList")):
            made_by = "RDS, or somebody, from this stack's server"
        if made_by and one.get("SnapshotType") != "automated":  # those go with the automated backup
            command = f"aws rds delete-db-snapshot --db-snapshot-identifier {name}"
            fate = "waits" if one.get("Status") == "deleting" else "data"
            yield look.found("database snapshot", name, made_by, command, fate=fate, note="a copy of the databases")
    for one in look.pages("rds", "describe_db_instance_automated_backups", "DBInstanceAutomatedBackups"):
        # RDS writes the status in both ways: with a capital letter, and without.
        if str(one.get("Status")).lower() != "retained" or one.get("DBInstanceIdentifier") != server:
            continue
        # Copies of a server's in another region have a name of their own, and are deleted by it.
        copied = str(one.get("Region") or look.region) != look.region
        name = str(one["DBInstanceAutomatedBackupsArn" if copied else "DbiResourceId"])
        option = "db-instance-automated-backups-arn" if copied else "dbi-resource-id"
        command = f"aws rds delete-db-instance-automated-backup --{option} {name}"
        yield look.found("automated backup", name, "RDS, from this stack's server", command, fate="data")


def recovery_points(look: Look) -> Iterator[Leftover]:
    """AWS Backup's copies of the shared files."""
    for known in look.record.of(_FILE_SYSTEM):
        if not known.arn or known.arn.split(":")[3] != look.region:
            continue
        points = look.pages("backup", "list_recovery_points_by_resource", "RecoveryPoints", ResourceArn=known.arn)
        for one in points:
            name, vault = str(one["RecoveryPointArn"]), str(one["BackupVaultName"])
            command = f"aws backup delete-recovery-point --backup-vault-name {vault} --recovery-point-arn {name}"
            fate = "waits" if one.get("Status") == "DELETING" else "data"
            yield look.found(
                "recovery point", name, f"AWS Backup, of file system {known.id}", command, fate=fate, note=vault
            )


def secrets(look: Look) -> Iterator[Leftover]:
    """Entries of Secrets Manager; in its recovery window one keeps its name, and the next `up` fails on it."""
    prefix = f"{look.record.prefix}/"
    for one in look.pages("secretsmanager", "list_secrets", "SecretList", IncludePlannedDeletion=True):
        name = str(one["Name"])
        made_by = look.maker(one.get("Tags"), name, str(one.get("ARN")))
        # The stroke ends the name: it can be no longer one.
        if not made_by and name.startswith(prefix) and not look.others(one.get("Tags")):
            made_by = "this stack, by its name"
        if not made_by:
            continue
        command = f"aws secretsmanager delete-secret --force-delete-without-recovery --secret-id {name}"
        ended = one.get("DeletedDate")
        note = f"in its recovery window since {ended:%Y-%m-%d}; gone {_WITHIN}" if ended else ""
        yield look.found("secret", name, made_by, command, fate="data", note=note)


def repositories(look: Look) -> Iterator[Leftover]:
    """Repositories of images: ECR makes those of pull-through caches when something is pulled."""
    prefix = f"{look.record.prefix}/"
    for one in look.pages("ecr", "describe_repositories", "repositories"):
        name = str(one["repositoryName"])
        if not name.startswith(prefix):
            continue
        tags = look.call("ecr", "list_tags_for_resource", resourceArn=str(one["repositoryArn"])).get("tags")
        if not look.others(tags):
            command = f"aws ecr delete-repository --force --repository-name {name}"
            made_by = "ECR, for an image that was pulled through it, or this stack"
            yield look.found("repository", name, made_by, command, fate="data", note="with the images in it")


def log_groups(look: Look) -> Iterator[Leftover]:
    """Log groups: AWS's services write once more after they are gone, and make theirs anew."""
    prefix, cluster = look.record.prefix, look.record.cluster or look.record.prefix
    starts = (
        f"/aws/eks/{cluster}/",
        f"/aws/containerinsights/{cluster}/",
        f"/aws/rds/instance/{prefix}-postgres/",
        f"/aws/sagemaker/Endpoints/{prefix}-",
        *(one.id for one in look.record.of("aws:cloudwatch/logGroup:LogGroup")),
    )
    for start in dict.fromkeys(starts):
        for one in look.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=start):
            name, arn = str(one["logGroupName"]), str(one["arn"])
            tags = look.call("logs", "list_tags_for_resource", resourceArn=arn.removesuffix(":*")).get("tags")
            made_by = look.maker(tags, name)
            # Where the name ends with the stroke it can be no other stack's.
            if not made_by and start.endswith("/") and name.startswith(start) and not look.others(tags):
                made_by = "the service that writes to it, which makes it when it is missing"
            if made_by:
                command = f"aws logs delete-log-group --log-group-name {name}"
                yield look.found("log group", name, made_by, command, fate="safe")


def keys(look: Look) -> Iterator[Leftover]:
    """Keys that the engine made; AWS deletes none at once."""
    for known in (*look.record.of("aws:kms/key:Key"), *look.record.of("aws:kms/replicaKey:ReplicaKey")):
        if known.arn and known.arn.split(":")[3] != look.region:
            continue
        try:
            told = look.call("kms", "describe_key", KeyId=known.id)["KeyMetadata"]
        except AwsError as error:
            if error.code != "NotFoundException":
                raise
            continue
        if told["KeyState"] == "PendingDeletion":
            ends = told["DeletionDate"]
            note = f"AWS deletes it on {ends:%Y-%m-%d}; it costs nothing until then"
            command = f"aws kms cancel-key-deletion --key-id {known.id}"
            yield look.found("key", known.id, "the engine", command, fate="waits", note=f"{note}; this takes it back")
        else:
            days = timedelta(days=7).days  # the least that AWS takes
            command = f"aws kms schedule-key-deletion --pending-window-in-days {days} --key-id {known.id}"
            yield look.found("key", known.id, "the engine, which no longer knows it", command, fate="by hand")
