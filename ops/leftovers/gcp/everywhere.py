"""What is of the whole project: accounts, roles, sinks of logs, alarms, DNS."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ops.leftovers.gcp.look import Look, bare, last, texts
from ops.leftovers.model import Leftover

_IAM: Final = "https://iam.googleapis.com/v1/projects"
_LOGS: Final = "https://logging.googleapis.com/v2/projects"
_MONITORING: Final = "https://monitoring.googleapis.com/v3/projects"
_DNS: Final = "https://dns.googleapis.com/dns/v1/projects"
_PREFIX_OF_ACCOUNTS: Final = 10  # characters of the stack's prefix in the id of an account
_PROOF: Final = "_acme-challenge."


def service_accounts(look: Look) -> Iterator[Leftover]:
    """Accounts of pods and nodes: known ones by the record; of others the name tells too little to delete them."""
    begin = look.record.prefix[:_PREFIX_OF_ACCOUNTS].rstrip("-")
    form = re.compile(rf"{re.escape(begin)}-[a-z0-9-]+-[0-9a-f]{{8}}@{re.escape(look.project)}\.iam\..+")
    for one in look.pages(f"{_IAM}/{look.project}/serviceAccounts", "accounts"):
        email = str(one.get("email", ""))
        command = f"gcloud iam service-accounts delete {email}"
        if made_by := look.maker(one):
            yield look.found("role", email, made_by, command)
        elif form.fullmatch(email):
            yield look.found(
                "role",
                email,
                f"a stack whose name begins with {begin}, by its name",
                command,
                fate="by hand",
                note="the record of the destroy would tell whose it is",
            )


def custom_roles(look: Look) -> Iterator[Leftover]:
    """Roles of the stack's own; a deleted one can be brought back for a week, and keeps its id longer."""
    begin = look.record.prefix.replace("-", "_")
    for one in look.pages(f"{_IAM}/{look.project}/roles", "roles", showDeleted="true"):
        name = last(str(one["name"]))
        if name not in (f"{begin}_predictor", f"{begin}_dns_prover") and not look.maker(one):
            continue
        yield look.found(
            "custom role",
            name,
            "this stack, by its name",
            f"gcloud iam roles delete {name}",
            fate="waits" if one.get("deleted") else "safe",
            note="deleted; Google keeps it for a while" if one.get("deleted") else "",
        )


def sinks(look: Look) -> Iterator[Leftover]:
    """Ways of logs."""
    for one in look.pages(f"{_LOGS}/{look.project}/sinks", "sinks"):
        if one["name"] == f"{look.record.prefix}-cluster":
            name = str(one["name"])
            yield look.found("log sink", name, "this stack, by its name", f"gcloud logging sinks delete {name}")


def alarms(look: Look) -> Iterator[Leftover]:
    """Alert policies and the channels that they tell: both are called after the stack."""
    for key, kind, command in (
        ("alertPolicies", "alarm", "gcloud monitoring policies delete"),
        ("notificationChannels", "notification channel", "gcloud beta monitoring channels delete"),
    ):
        for one in look.pages(f"{_MONITORING}/{look.project}/{key}", key):
            title = str(one.get("displayName", ""))
            made_by = look.maker(one, one.get("userLabels") or {})
            if made_by or title.startswith((f"{look.record.prefix} ", f"{look.record.prefix}: ")):
                name = bare(str(one["name"]))
                yield look.found(kind, title or name, made_by or "this stack, by its name", f"{command} {name}")


def zones(look: Look) -> Iterator[Leftover]:
    """Zones of the stack, and in everybody else's the records of proofs that were never taken back."""
    for zone in look.pages(f"{_DNS}/{look.project}/managedZones", "managedZones"):
        name = str(zone["name"])
        networks = texts(zone, "privateVisibilityConfig.networks.networkUrl")
        ours = look.maker(zone) or any(bare(one) == look.network for one in networks)
        if ours:
            command = f"gcloud dns managed-zones delete {name}"
            yield look.found("zone", name, "this stack, by its label or network", command, note="its records go first")
            continue
        if zone.get("visibility") == "private":
            continue
        for one in look.pages(f"{_DNS}/{look.project}/managedZones/{name}/rrsets", "rrsets", type="TXT"):
            if str(one["name"]).startswith(_PROOF):
                yield look.found(
                    "DNS record",
                    f"{one['name']} TXT",
                    "cert-manager, for a proof of a domain",
                    f"gcloud dns record-sets delete {one['name']} --type TXT --zone {name}",
                    fate="by hand",
                    note="of this stack's certificates or another's; it is of use while a certificate is proven",
                )
