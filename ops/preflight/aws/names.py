"""Are the names free, or this stack's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ops.preflight.aws.account import Account, AwsError, tags_of
from ops.preflight.aws.regions import Identity
from ops.preflight.aws.resources import Kind, buckets, copied, names
from ops.preflight.model import Check, Finding
from ops.preflight.target import Target

# What says that there is nothing of that name.
_FREE: Final = frozenset(
    {
        "404",
        "DBInstanceNotFound",
        "DBInstanceNotFoundFault",
        "NoSuchBucket",
        "NotFoundException",
        "PullThroughCacheRuleNotFoundException",
        "RepositoryNotFoundException",
        "ResourceNotFoundException",
    }
)

_Look = Callable[[Check, str], Finding]


def checks(account: Account, target: Target, identity: Identity) -> Iterator[Check]:
    """One question for each name."""
    looks = _Looks(account, target, identity)
    for name, region in buckets(target, identity.account_id).items():
        yield _check("bucket", name, looks.bucket(region))
    kinds: Mapping[Kind, tuple[str, _Look]] = {
        "cluster": ("cluster", looks.cluster),
        "database": ("database", looks.database),
        "logGroup": ("log group", looks.log_group),
        "secret": ("secret", looks.secret),
        "repository": ("repository", looks.repository),
        "cacheRule": ("pull-through cache rule", looks.cache_rule),
        "budget": ("budget", looks.budget),
        "alias": ("key alias", looks.alias),
    }
    for kind, (word, look) in kinds.items():
        for name in names(target, kind):
            yield _check(word, name, look)
    there = target.settings.aws.dr_region
    abroad = _Looks(account, target, identity, region=there)
    for domain in copied(target.settings):
        yield _check(f"key alias in {there}", f"alias/{target.prefix}-{domain}", abroad.alias)


def _check(word: str, name: str, look: _Look) -> Check:
    def ask() -> Iterator[Finding]:
        try:
            yield look(check, name)
        except AwsError as error:
            if error.code not in _FREE:
                raise
            yield check.finding("ok", "free")

    check = Check(group="name", subject=f"{word} {name}", ask=ask)
    return check


class _Looks:
    """A look at one name of each kind. An error of :data:`_FREE` says that it is free."""

    def __init__(self, account: Account, target: Target, identity: Identity, region: str = "") -> None:
        self._account, self._target, self._identity = account, target, identity
        self._region = region or target.settings.aws.region

    def _call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        return self._account.call(service, operation, self._region, **parameters)

    def _judge(self, check: Check, tags: Any, remedy: str) -> Finding:
        """Somebody has the name: this stack, by the tag, or somebody else."""
        if self._target.owns(tags_of(tags)):
            return check.finding("ok", "this stack's own")
        return check.finding(
            "refused", f"taken, and not by this stack: no tag stack={self._target.prefix}", remedy=remedy
        )

    def bucket(self, region: str) -> _Look:
        """A look at a bucket, which is somewhere in all of AWS."""

        def look(check: Check, name: str) -> Finding:
            try:
                self._account.call("s3", "head_bucket", region, Bucket=name)
            except AwsError as error:
                if not error.denied:
                    raise
                # There is one, or there is none and the caller may list no bucket: S3 answers both alike.
                return check.finding("unknown", f"S3 says neither that it is free nor whose it is: {error}")
            try:
                tags = self._account.call("s3", "get_bucket_tagging", region, Bucket=name)["TagSet"]
            except AwsError as error:
                if error.code != "NoSuchTagSet":
                    raise
                tags = []
            return self._judge(check, tags, f"aws s3 rb s3://{name} (empty it first, all versions)")

        return look

    def cluster(self, check: Check, name: str) -> Finding:
        """A look at an EKS cluster."""
        found = self._call("eks", "describe_cluster", name=name)["cluster"]
        return self._judge(check, found.get("tags"), f"aws eks delete-cluster --name {name}")

    def database(self, check: Check, name: str) -> Finding:
        """A look at an RDS server."""
        found = self._call("rds", "describe_db_instances", DBInstanceIdentifier=name)["DBInstances"]
        if not found:
            return check.finding("ok", "free")
        return self._judge(
            check, found[0].get("TagList"), f"aws rds delete-db-instance --db-instance-identifier {name}"
        )

    def log_group(self, check: Check, name: str) -> Finding:
        """A look at a log group; EKS makes its own again when it writes once more after a destroy."""
        found = self._account.pages("logs", "describe_log_groups", "logGroups", self._region, logGroupNamePrefix=name)
        group = next((one for one in found if one["logGroupName"] == name), None)
        if group is None:
            return check.finding("ok", "free")
        arn = str(group["arn"]).removesuffix(":*")
        tags = self._call("logs", "list_tags_for_resource", resourceArn=arn)["tags"]
        remedy = f"aws logs delete-log-group --region {self._region} --log-group-name {name}"
        return self._judge(check, tags, remedy)

    def secret(self, check: Check, name: str) -> Finding:
        """A look at a secret; a deleted one keeps its name until its recovery window is over."""
        found = self._call("secretsmanager", "describe_secret", SecretId=name)
        remedy = (
            f"aws secretsmanager delete-secret --region {self._region} --secret-id {name} "
            "--force-delete-without-recovery"
        )
        if deleted := found.get("DeletedDate"):
            message = f"deleted on {deleted:%Y-%m-%d}, and its name is taken until its recovery window is over"
            return check.finding("refused", message, remedy=remedy)
        return self._judge(check, found.get("Tags"), remedy)

    def repository(self, check: Check, name: str) -> Finding:
        """A look at an image repository."""
        found = self._call("ecr", "describe_repositories", repositoryNames=[name])["repositories"][0]
        tags = self._call("ecr", "list_tags_for_resource", resourceArn=found["repositoryArn"])["tags"]
        return self._judge(check, tags, f"aws ecr delete-repository --region {self._region} --repository-name {name}")

    def cache_rule(self, check: Check, name: str) -> Finding:
        """A look at a pull-through cache rule, which carries no tags: the cluster's tell whose it is."""
        found = self._call("ecr", "describe_pull_through_cache_rules", ecrRepositoryPrefixes=[name])
        if not found["pullThroughCacheRules"]:
            return check.finding("ok", "free")
        remedy = f"aws ecr delete-pull-through-cache-rule --region {self._region} --ecr-repository-prefix {name}"
        try:
            tags = self._call("eks", "describe_cluster", name=self._target.prefix)["cluster"].get("tags")
        except AwsError as error:
            if error.code not in _FREE:
                raise
            return check.finding("refused", "taken, and there is no cluster of this stack", remedy=remedy)
        return self._judge(check, tags, remedy)

    def budget(self, check: Check, name: str) -> Finding:
        """A look at a budget; they are the account's, whatever the region."""
        account_id = self._identity.account_id
        self._call("budgets", "describe_budget", AccountId=account_id, BudgetName=name)
        arn = f"arn:aws:budgets::{account_id}:budget/{name}"
        tags = self._call("budgets", "list_tags_for_resource", ResourceARN=arn)["ResourceTags"]
        return self._judge(check, tags, f"aws budgets delete-budget --account-id {account_id} --budget-name {name}")

    def alias(self, check: Check, name: str) -> Finding:
        """A look at a key's alias, which carries no tags: its key's tell whose it is."""
        found = self._account.pages("kms", "list_aliases", "Aliases", self._region)
        alias = next((one for one in found if one["AliasName"] == name), None)
        if alias is None:
            return check.finding("ok", "free")
        tags = self._call("kms", "list_resource_tags", KeyId=alias["TargetKeyId"])["Tags"]
        return self._judge(check, tags, f"aws kms delete-alias --region {self._region} --alias-name {name}")
