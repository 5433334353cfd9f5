"""What holds something that cannot be made again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

STATEFUL: Final[Mapping[str, str]] = {
    "aws:backup/vault:Vault": "the backups in it",
    "aws:dynamodb/table:Table": "the table's items",
    "aws:ebs/volume:Volume": "the volume's data",
    "aws:ecr/repository:Repository": "the images in it",
    "aws:efs/fileSystem:FileSystem": "the files",
    "aws:eks/cluster:Cluster": "everything in the cluster, volumes included",
    "aws:elasticache/replicationGroup:ReplicationGroup": "what is cached and counted",
    "aws:kms/key:Key": "all that is encrypted with it, after the waiting period",
    "aws:kms/replicaKey:ReplicaKey": "all that is encrypted with it, after the waiting period",
    "aws:rds/cluster:Cluster": "the databases",
    "aws:rds/instance:Instance": "the databases",
    "aws:route53/zone:Zone": "the delegation: the new zone has other name servers",
    "aws:s3/bucket:Bucket": "the objects",
    "aws:secretsmanager/secret:Secret": "the credential, after the recovery window",
    "gcp:artifactregistry/repository:Repository": "the images in it",
    "gcp:container/cluster:Cluster": "everything in the cluster, volumes included",
    "gcp:dns/managedZone:ManagedZone": "the delegation: the new zone has other name servers",
    "gcp:filestore/instance:Instance": "the files",
    "gcp:kms/cryptoKey:CryptoKey": "all that is encrypted with it, after the waiting period",
    "gcp:redis/instance:Instance": "what is cached and counted",
    "gcp:secretmanager/secret:Secret": "the credential",
    "gcp:sql/databaseInstance:DatabaseInstance": "the databases",
    "gcp:storage/bucket:Bucket": "the objects",
    "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition": "every object of that kind",
    "kubernetes:core/v1:Namespace": "everything in the namespace, volume claims included",
    "kubernetes:core/v1:PersistentVolume": "the volume's data, if its policy is Delete",
    "kubernetes:core/v1:PersistentVolumeClaim": "the volume's data, if its class deletes",
    "kubernetes:postgresql.cnpg.io/v1:Cluster": "the databases, and their volumes",
    "random:index/randomId:RandomId": "the value, and the names made from it",
    "random:index/randomPassword:RandomPassword": "the password: whoever uses it must get the new one",
    "tls:index/privateKey:PrivateKey": "the key, and the certificates made with it",
}
"""Types, and what is lost with one."""
