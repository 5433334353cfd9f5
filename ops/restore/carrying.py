"""A server from backups that are under another key: restored, and then restored once more from a copy under its own.

RDS makes a restored server with the key of its backups, and never changes a server's key. It changes that of a
snapshot when it copies one (``CopyDBSnapshot``). So a server in between is needed, the carrier.
"""

from __future__ import annotations

import hashlib
from typing import Final

from ops.progress import Progress
from ops.restore.declared import Declared
from ops.restore.rds import MAX_NAME, Moment, Servers
from ops.restore.replica import Copies


def is_carried(copies: Copies, declared: Declared) -> bool:
    """Whether the backups are under another key than the server that is to come of them."""
    return copies.kms_key != declared.inputs.get("kmsKeyId", "")


def restore(copies: Copies, declared: Declared, target: str, moment: Moment, servers: Servers) -> None:
    """Begin the last step, the restore into ``target``; what comes before it is waited for.

    Each step leaves something of a name of its own, so a run that was cut off goes on with what is there.
    """
    if not is_carried(copies, declared):
        servers.restore_copies(declared, target, copies.arn, moment)
        return
    carrier, taken, rekeyed = between(target)
    if servers.find_snapshot(rekeyed) is None:
        if servers.find_snapshot(taken) is None:
            if servers.find(carrier) is None:
                servers.restore_copies(declared, carrier, copies.arn, moment, for_now=True)
            servers.available(carrier)
            servers.take_snapshot(carrier, taken)
        servers.snapshot_available(taken)
        servers.copy_snapshot(taken, rekeyed, str(declared.inputs["kmsKeyId"]))
    servers.snapshot_available(rekeyed)
    servers.restore(declared, target, Moment(snapshot=rekeyed))


def tidy(target: str, servers: Servers, progress: Progress) -> None:
    """Remove what was needed in between."""
    carrier, *snapshots = between(target)
    for snapshot in snapshots:
        if servers.find_snapshot(snapshot):
            progress.say(f"{snapshot} is not needed any more")
            servers.remove_snapshot(snapshot)
    if servers.find(carrier):
        progress.say(f"{carrier} is not needed any more")
        servers.remove(carrier)


def steps(copies: Copies, declared: Declared) -> list[str]:
    """What a restore does, in words."""
    into = "restore the copied backups into a server"
    if not is_carried(copies, declared):
        return [into]
    return [
        f"{into} in between, which has their key",
        "take a snapshot of it, and copy that under the stack's key",
        "restore the copy into the new server, and remove what was in between",
    ]


def between(target: str) -> tuple[str, str, str]:
    """Names of the carrier, of its snapshot, and of the copy of that under the other key.

    The names of snapshots may be longer than those of servers. A name that is cut keeps a mark of the whole: else the
    carrier of one moment would be taken for that of another.
    """
    carrier = f"{target}{_CARRIER}"
    if len(carrier) > MAX_NAME:
        mark = hashlib.sha256(target.encode()).hexdigest()[:8]
        carrier = f"{target[: MAX_NAME - len(_CARRIER) - len(mark) - 1].rstrip('-')}-{mark}{_CARRIER}"
    return carrier, f"{target}-carried", f"{target}-rekeyed"


_CARRIER: Final = "-carrier"
