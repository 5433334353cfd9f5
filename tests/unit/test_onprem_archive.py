"""The database's archive: one history in each folder, and a server that begins with what a lost one left."""

from __future__ import annotations

from typing import Any

import onprem_stack
import pulumi
import pytest
from conftest import Recorder

from components.settings import parse

pytestmark = pytest.mark.unit


@pytest.fixture
def site(recorded: Recorder) -> Recorder:
    recorded.outputs.update(
        {
            "tls:index/selfSignedCert:SelfSignedCert": {"certPem": "AUTHORITY"},
            "tls:index/locallySignedCert:LocallySignedCert": {"certPem": "SERVER"},
            "tls:index/privateKey:PrivateKey": {"privateKeyPem": "KEY"},
            "tls:index/certRequest:CertRequest": {"certRequestPem": "REQUEST"},
        }
    )
    return recorded


def spec(site: Recorder, **archive: str) -> dict[str, Any]:
    site.run(lambda: onprem_stack.build(onprem_stack.settings(databaseArchive=archive)))
    *_, latest = site.of("kubernetes:postgresql.cnpg.io/v1:Cluster").values()
    return latest.inputs["spec"]


def test_a_server_begins_empty_unless_it_is_told_otherwise(site: Recorder):
    found = spec(site)
    assert set(found["bootstrap"]) == {"initdb"}
    assert "externalClusters" not in found


def test_a_lost_server_s_archive_is_read_and_another_one_written(site: Recorder):
    found = spec(site, name="database-2", recoverFrom="database", recoverTo="2026-11-22T03:00:00Z")
    recovery = found["bootstrap"]["recovery"]
    (origin,) = found["externalClusters"]
    written = found["backup"]["barmanObjectStore"]
    assert set(found["bootstrap"]) == {"recovery"}
    assert recovery["source"] == origin["name"]
    assert recovery["recoveryTarget"] == {"targetTime": "2026-11-22T03:00:00Z"}
    assert (origin["barmanObjectStore"]["serverName"], written["serverName"]) == ("database", "database-2")
    assert {**origin["barmanObjectStore"], "serverName": ""} == {**written, "serverName": ""}, "one store, by one key"


def test_the_administrator_is_the_same_after_a_recovery(site: Recorder):
    """The Secret has today's password, and the archive that of then."""
    begun = spec(site)["bootstrap"]["initdb"]
    recovered = spec(site, name="database-2", recoverFrom="database")["bootstrap"]["recovery"]
    assert begun.items() <= recovered.items()
    assert "recoveryTarget" not in recovered, "all of the log"


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        ({"recoverFrom": "database"}, "name must be another than recoverFrom"),
        ({"recoverTo": "2026-11-22T03:00:00Z"}, "recoverTo needs recoverFrom"),
        ({"name": "b", "recoverFrom": "a", "recoverTo": "2026-11-22T03:00:00"}, "onprem.databaseArchive.recoverTo"),
    ],
)
def test_an_archive_that_would_be_spoilt_and_a_moment_without_a_time_zone_are_refused(
    archive: dict[str, str], said: str
):
    with pytest.raises(pulumi.RunError, match=said):
        onprem_stack.settings(databaseArchive=archive)


@pytest.mark.parametrize(("section", "setting", "value"), [("objects", "replicate", True), ("cache", "replicas", 1)])
def test_what_only_a_cloud_s_store_does_is_refused_and_not_left_undone(section: str, setting: str, value: object):
    """Without the refusal a stack would be taken for one whose data are elsewhere too."""
    with pytest.raises(pulumi.RunError, match=rf"{section}\.{setting}: must be \w+ on premises"):
        parse({**onprem_stack.raw(), section: {setting: value}})
