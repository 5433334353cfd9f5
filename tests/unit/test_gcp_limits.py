"""What Google Cloud documents of names, ranges and tiers, held over every resource that the foundation emits.

No provider is at hand that would say so: docs/gcp.md has the sources.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit import gcp_stack
from tests.unit.conftest import Recorded, Recorder, recording
from tests.unit.gcp_stack import PROJECT

pytestmark = pytest.mark.unit

_RFC1035 = r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?"

# Type, input, form. An input that is not given is named by the engine: the logical name and eight characters more.
_NAMES = [
    ("gcp:artifactregistry/repository:Repository", "repositoryId", _RFC1035),
    ("gcp:compute/address:Address", "name", _RFC1035),
    ("gcp:compute/firewall:Firewall", "name", _RFC1035),
    ("gcp:compute/globalAddress:GlobalAddress", "name", _RFC1035),
    ("gcp:compute/network:Network", "name", _RFC1035),
    ("gcp:compute/router:Router", "name", _RFC1035),
    ("gcp:compute/routerNat:RouterNat", "name", _RFC1035),
    ("gcp:compute/subnetwork:Subnetwork", "name", _RFC1035),
    ("gcp:container/cluster:Cluster", "name", r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?"),
    ("gcp:container/nodePool:NodePool", "name", r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?"),
    ("gcp:filestore/instance:Instance", "name", r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?"),
    ("gcp:kms/cryptoKey:CryptoKey", "name", r"[a-zA-Z0-9_-]{1,63}"),
    ("gcp:kms/keyRing:KeyRing", "name", r"[a-zA-Z0-9_-]{1,63}"),
    ("gcp:projects/iAMCustomRole:IAMCustomRole", "roleId", r"[a-zA-Z0-9_.]{3,64}"),
    ("gcp:redis/instance:Instance", "name", r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?"),
    ("gcp:secretmanager/secret:Secret", "secretId", r"[a-zA-Z0-9_-]{1,255}"),
    ("gcp:serviceaccount/account:Account", "accountId", r"[a-z][-a-z0-9]{4,28}[a-z0-9]"),
    ("gcp:sql/databaseInstance:DatabaseInstance", "name", r"[a-z]([-a-z0-9]{0,84}[a-z0-9])?"),
    ("gcp:storage/bucket:Bucket", "name", r"(?!goog)(?!.*google)[a-z0-9][-a-z0-9_]{1,61}[a-z0-9]"),
]


@pytest.fixture(scope="module")
def emitted() -> Iterator[Recorder]:
    """The foundation of the shipped stack."""
    with recording() as recorder:
        gcp_stack.build(recorder)
        yield recorder


def of(emitted: Recorder, kind: str) -> list[Recorded]:
    found = list(emitted.of(kind).values())
    assert found, f"the foundation emits no {kind} any more"
    return found


@pytest.mark.parametrize(("kind", "field", "form"), _NAMES, ids=[f"{kind}.{field}" for kind, field, _ in _NAMES])
def test_names_have_the_documented_form(emitted: Recorder, kind: str, field: str, form: str):
    names = [str(one.inputs.get(field, f"{one.name}-0000000")) for one in of(emitted, kind)]
    assert [name for name in names if not re.fullmatch(form, name)] == []


def test_an_instance_of_cloud_sql_and_its_project_are_98_characters_together(emitted: Recorder):
    for one in of(emitted, "gcp:sql/databaseInstance:DatabaseInstance"):
        assert len(f"{PROJECT.id}:{one.inputs.get('name', one.name + '-0000000')}") <= 98


def test_labels_are_of_lower_case_and_64_at_most(emitted: Recorder):
    for one in emitted.resources:
        for field in ("labels", "userLabels", "resourceLabels", "defaultLabels"):
            given: Any = one.inputs.get(field) or {}
            labels: dict[str, str] = json.loads(given) if isinstance(given, str) else given  # a provider's are JSON
            assert len(labels) <= 64, one.name
            for key, value in labels.items():
                assert re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key), (one.name, key)
                assert re.fullmatch(r"[a-z0-9_-]{0,63}", str(value)), (one.name, key, value)


def test_ranges_of_the_network_have_room_and_do_not_overlap(emitted: Recorder):
    (subnet,) = of(emitted, "gcp:compute/subnetwork:Subnetwork")
    (cluster,) = of(emitted, "gcp:container/cluster:Cluster")
    private = cluster.inputs["privateClusterConfig"]
    ranges = [ipaddress.IPv4Network(subnet.inputs["ipCidrRange"])]
    ranges += [ipaddress.IPv4Network(one["ipCidrRange"]) for one in subnet.inputs["secondaryIpRanges"]]
    assert all(one.prefixlen <= 29 for one in ranges), "a subnet is a /29 at least"
    if block := private.get("masterIpv4CidrBlock"):
        control_plane = ipaddress.IPv4Network(block)
        assert control_plane.prefixlen == 28
        ranges.append(control_plane)
    for one in of(emitted, "gcp:compute/globalAddress:GlobalAddress"):
        assert one.inputs["prefixLength"] <= 24, "private services access takes a /24 at least"
        if address := one.inputs.get("address"):
            ranges.append(ipaddress.IPv4Network(f"{address}/{int(one.inputs['prefixLength'])}"))
    clashes = [(a, b) for index, a in enumerate(ranges) for b in ranges[index + 1 :] if a.overlaps(b)]
    assert clashes == []
    assert len(ranges) >= 4


def test_stores_are_within_the_bounds_of_their_tiers(emitted: Recorder):
    for one in of(emitted, "gcp:sql/databaseInstance:DatabaseInstance"):
        settings: dict[str, Any] = one.inputs["settings"]
        backup = settings["backupConfiguration"]
        assert settings["diskSize"] >= 10
        assert 1 <= backup["transactionLogRetentionDays"] <= 7
        assert 1 <= backup["backupRetentionSettings"]["retainedBackups"] <= 365
    for one in of(emitted, "gcp:redis/instance:Instance"):
        assert one.inputs["tier"] in ("BASIC", "STANDARD_HA")
        assert 1 <= one.inputs["memorySizeGb"] <= 300
    for one in of(emitted, "gcp:filestore/instance:Instance"):
        (share,) = [one.inputs["fileShares"]]
        assert one.inputs["tier"] in ("ZONAL", "REGIONAL", "ENTERPRISE"), "only these take a key of ours"
        assert re.fullmatch(r"[a-z][a-z0-9_]{0,15}", share["name"])
        assert 1024 <= share["capacityGb"] <= 102400
        assert share["capacityGb"] % 256 == 0


def test_keys_rotate_no_oftener_than_daily_and_conditions_are_short_enough(emitted: Recorder):
    for one in of(emitted, "gcp:kms/cryptoKey:CryptoKey"):
        assert int(one.inputs["rotationPeriod"].removesuffix("s")) >= 86_400, "a day at least"
    for one in emitted.resources:
        if condition := one.inputs.get("condition"):
            assert len(condition["title"]) <= 100, one.name
            assert len(re.findall(r"&&|\|\|", condition["expression"])) <= 12, one.name
