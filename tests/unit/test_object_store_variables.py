"""How pods are told where the object store is."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.session import Session

from components.contract import ObjectStore
from workloads.object_store import store_variables

pytestmark = pytest.mark.unit

CLOUD = ObjectStore(protocol="s3", endpoint="s3.eu-central-1.amazonaws.com", region="eu-central-1", buckets={})
OWN = ObjectStore(
    protocol="s3", endpoint="objects.dc1.internal", region="dc1", buckets={}, signing="keys", path_style=True
)


class _Asked(BaseException):
    """Ends a request before it is sent: botocore's own handling of errors lets it pass."""


def _stopped(request: Any, **_: Any) -> None:
    raise _Asked(request.url)


def asked(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where botocore goes for a bucket with these variables and no others."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in store_variables(store).items():
        monkeypatch.setenv(name, value)
    session = Session()
    session.set_credentials("test", "test")
    client = session.create_client("s3")
    client.meta.events.register("before-send.s3", _stopped)
    with pytest.raises(_Asked) as seen:
        client.get_object(Bucket="models", Key="a")
    return str(seen.value)


def test_botocore_finds_the_region_and_names_a_cloud_s_bucket_in_the_host(monkeypatch: pytest.MonkeyPatch):
    assert asked(CLOUD, monkeypatch) == "https://models.s3.eu-central-1.amazonaws.com/a"


def test_botocore_goes_to_a_store_that_is_no_cloud_s(monkeypatch: pytest.MonkeyPatch):
    assert asked(OWN, monkeypatch) == "https://objects.dc1.internal/models/a"


def test_clients_of_google_s_store_are_told_nothing():
    assert store_variables(ObjectStore(protocol="gcs", endpoint="storage.googleapis.com", region="x", buckets={})) == {}
