"""Whose account it is, and whether its regions and zones are open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ops.preflight.aws.account import Account
from ops.preflight.aws.needs import GLOBAL_REGION
from ops.preflight.aws.resources import copied
from ops.preflight.model import Check, Finding
from ops.preflight.target import Target


@dataclass(frozen=True)
class Identity:
    """Who is calling.

    Attributes:
        account_id: Number of the account.
        arn: The caller, as STS says it.
    """

    account_id: str
    arn: str


def identify(account: Account, region: str) -> Identity:
    """Ask STS, which answers everybody with credentials.

    Raises:
        CredentialsError: There are none, or AWS does not take them.
        UnansweredError: STS did not answer.
    """
    answer = account.call("sts", "get_caller_identity", region)
    return Identity(account_id=str(answer["Account"]), arn=str(answer["Arn"]))


def checks(account: Account, target: Target, identity: Identity) -> Iterator[Check]:
    """Account, regions and zones."""
    settings = target.settings
    yield _account(target, identity)
    for region in filter(None, (settings.aws.region, settings.aws.dr_region if copied(settings) else "")):
        yield _region(account, region)
    if settings.database.has_replica(settings.objects):
        yield backup_copies(account, settings.aws.region, settings.aws.dr_region)
    yield _zones(account, target)


def _account(target: Target, identity: Identity) -> Check:
    def ask() -> Iterator[Finding]:
        wanted = target.settings.aws.account_id
        if wanted and wanted != identity.account_id:
            message = f"the credentials are those of {identity.account_id}, the settings allow only {wanted}"
            yield check.finding("refused", message, remedy="set AWS_PROFILE, or correct aws.accountId")
        else:
            named = "the one that the settings name" if wanted else "any account is allowed: aws.accountId is not set"
            yield check.finding("ok", f"{identity.account_id}, {named}")

    check = Check(group="account", subject="account of the credentials", ask=ask)
    return check


def _region(account: Account, region: str) -> Check:
    def ask() -> Iterator[Finding]:
        # Asked where every account may ask: in a region that is not enabled, credentials are not taken at all.
        found = account.call("ec2", "describe_regions", GLOBAL_REGION, RegionNames=[region], AllRegions=True)["Regions"]
        state = str(found[0].get("OptInStatus", "")) if found else ""
        if state in ("opt-in-not-required", "opted-in"):
            yield check.finding("ok", state.replace("-", " "))
        elif state == "not-opted-in":
            yield check.finding(
                "refused",
                "the account has not enabled it; that takes minutes to hours",
                remedy=f"aws account enable-region --region-name {region}",
                link=f"https://{GLOBAL_REGION}.console.aws.amazon.com/billing/home#/account",
            )
        else:
            yield check.finding("unknown", f"EC2 says {state or 'nothing'} about it")

    check = Check(group="region", subject=f"region {region}", ask=ask)
    return check


def backup_copies(account: Account, here: str, abroad: str) -> Check:
    """RDS copies backups between some pairs of regions only; it is asked where the copies would be."""

    def ask() -> Iterator[Finding]:
        found = account.call("rds", "describe_source_regions", abroad, RegionName=here)["SourceRegions"]
        if any(one.get("SupportsDBInstanceAutomatedBackupsReplication") for one in found):
            yield check.finding("ok", f"from {here}")
        else:
            message = f"RDS copies no backups there from {here}"
            yield check.finding("refused", message, remedy="another aws.drRegion, or database.replicateBackups: false")

    check = Check(group="region", subject=f"copies of database backups in {abroad}", ask=ask)
    return check


def _zones(account: Account, target: Target) -> Check:
    region, wanted = target.settings.aws.region, target.settings.zones

    def ask() -> Iterator[Finding]:
        found = account.call("ec2", "describe_availability_zones", region)["AvailabilityZones"]
        available = [str(one["ZoneName"]) for one in found if one.get("State") == "available"]
        missing = [zone for zone in wanted if zone not in available]
        if missing:
            message = f"not open to this account: {', '.join(missing)}; it has {', '.join(sorted(available))}"
            yield check.finding("refused", message, remedy="set network.zones")
        else:
            yield check.finding("ok", "all are available")

    check = Check(group="region", subject=f"zones {', '.join(wanted)}", ask=ask)
    return check
