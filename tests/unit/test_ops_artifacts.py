"""Links to artifacts: fetched over HTTP with the right bytes, refused elsewhere and for too long, written down."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from botocore import session
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from moto.moto_api._internal import moto_api_backend
from typer.testing import CliRunner

from components.buckets import LINKED
from ops.artifacts import cli
from ops.artifacts.cli import role_signer, seconds_of
from ops.stack import Stack
from tests.unit.moto_account import clients
from workloads.artifacts.links import MAX_SECONDS, GoogleSigner, LinkRefusedError, S3Signer, Signer, checked, link

pytestmark = pytest.mark.unit

REGION, BUCKET = "us-east-1", "llmops-dev-models-123456789012-us-east-1"
OBJECT = f"s3://{BUCKET}/chat/7/weights ü.bin"
CONTENT = bytes(range(256)) * 64
WITHIN = [f"s3://{BUCKET}", "gs://llmops-gcp-models-acme"]


@pytest.fixture(scope="module")
def account() -> Iterator[dict[str, Any]]:
    with clients("s3", "kms", "iam", region=REGION) as made:
        yield made


@pytest.fixture
def s3(account: dict[str, Any]) -> Any:
    """A bucket with a key of its own, and an object in it."""
    moto_api_backend.reset()
    s3, key = account["s3"], account["kms"].create_key()["KeyMetadata"]["Arn"]
    s3.create_bucket(Bucket=BUCKET)
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
    s3.put_bucket_encryption(Bucket=BUCKET, ServerSideEncryptionConfiguration={"Rules": [rule]})
    s3.put_object(Bucket=BUCKET, Key="chat/7/weights ü.bin", Body=CONTENT)
    return s3


@pytest.fixture
def run(s3: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line of a stack."""
    outputs = {
        "region": REGION,
        "cloud": "aws",
        "buckets": {"models": f"s3://{BUCKET}", "data": "s3://llmops-dev-data-123456789012-us-east-1"},
    }
    stack = Stack("dev", False, outputs)
    monkeypatch.setattr(cli.Stack, "read", staticmethod(lambda *_arguments, **_more: stack))
    return lambda *arguments: CliRunner().invoke(cli.app, ["link", *arguments, "--stack", "dev"])


def asked(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_a_link_is_fetched_without_an_account_and_has_the_right_bytes(run: Any):
    done = run(OBJECT, "--for", "30m", "--purpose", "for the partner")
    assert done.exit_code == 0, done.output
    url = done.stdout.strip()
    answer = requests.get(url, timeout=30)
    assert answer.content == CONTENT
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="weights _.bin"')
    assert "UTF-8''weights%20%C3%BC.bin" in answer.headers["Content-Disposition"]
    told = asked(url)
    assert (told["X-Amz-Algorithm"], told["X-Amz-Expires"]) == ("AWS4-HMAC-SHA256", "1800")


def signature(url: str, credentials: Credentials) -> str:
    """What botocore's own signature of such a request is, at the moment that the link names."""
    parts, told = urlsplit(url), asked(url)
    del told["X-Amz-Signature"]
    request = AWSRequest(method="GET", url=f"{parts.scheme}://{parts.netloc}{parts.path}?{urlencode(told, safe='~')}")
    request.context["timestamp"] = told["X-Amz-Date"]
    auth = S3SigV4QueryAuth(credentials, "s3", REGION, expires=int(told["X-Amz-Expires"]))
    prepared = request.prepare()
    request.headers["host"] = parts.netloc
    request.url = prepared.url.replace("+", "%20")
    return auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)


def test_the_end_is_signed_so_nobody_can_move_it(s3: Any):
    """S3 refuses what is older than it says; the emulated one does not look, so the signature is reckoned here."""
    url = link(OBJECT, 600, within=WITHIN, purpose="x", signer=S3Signer(region=REGION)).url
    credentials = Credentials("AKIAADMINISTRATOR000", "administrator")
    assert signature(url, credentials) == asked(url)["X-Amz-Signature"]
    longer = url.replace("X-Amz-Expires=600", "X-Amz-Expires=604800")
    assert longer != url
    assert signature(longer, credentials) != asked(url)["X-Amz-Signature"]
    begun = datetime.strptime(asked(url)["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert abs(begun - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("url", "lifetime", "reason"),
    [
        (OBJECT, "13h", "12 hours"),
        (OBJECT, "0m", "1 minute"),
        (OBJECT, "1d", "no time"),
        ("s3://llmops-dev-data-123456789012-us-east-1/secret.parquet", "1h", "lies outside"),
        (f"s3://{BUCKET}-other/chat", "1h", "lies outside"),
        (f"s3://{BUCKET}/chat/", "1h", "names no object"),
        (f"s3://{BUCKET}", "1h", "names no object"),
        (f"https://{BUCKET}/chat", "1h", "names no object"),
        (f"s3://{BUCKET}/chat/../../other/x", "1h", "in its path"),
        (f"s3://{BUCKET}/chat/none", "1h", "cannot be read"),
    ],
)
def test_other_links_are_refused_and_nothing_is_written_down(run: Any, url: str, lifetime: str, reason: str):
    refused = run(url, "--for", lifetime)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert reason in refused.stderr
    assert "artifact-link" not in refused.stderr


def test_who_what_why_and_until_when_are_written_down_and_the_link_is_not(
    run: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cli.getpass, "getuser", lambda: "kim")
    with caplog.at_level(logging.INFO, "llmops.artifacts.links"):
        done = run(OBJECT, "--purpose", "audit 2026", "--json")
    told = json.loads(done.stdout)
    (line,) = [json.loads(record.message) for record in caplog.records if record.name == "llmops.artifacts.links"]
    assert {key: line[key] for key in ("event", "object", "by", "purpose")} == {
        "event": "artifact-link",
        "object": OBJECT,
        "by": "kim",
        "purpose": "audit 2026",
    }
    assert datetime.fromisoformat(line["until"]) == datetime.fromisoformat(told["until"]).replace(microsecond=0)
    secret = asked(told["url"])["X-Amz-Signature"]
    assert all(secret not in record.getMessage() for record in caplog.records if "werkzeug" not in record.name)


def test_the_link_is_in_no_representation(s3: Any):
    made = link(OBJECT, 600, within=WITHIN, purpose="x", signer=S3Signer(region=REGION))
    assert "Signature" not in repr(made)


class Lent(Signer):
    """Credentials that end."""

    by = "role"

    def __init__(self, ends: datetime) -> None:
        self.ends = ends

    def sign(self, bucket: str, key: str, seconds: int, disposition: str) -> str:
        return "https://…"


def test_a_link_that_would_break_before_its_time_is_refused():
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    signer = Lent(now + timedelta(minutes=50))
    with pytest.raises(LinkRefusedError, match="ask for 50 minutes"):
        link(OBJECT, 3600, within=WITHIN, purpose="x", signer=signer, now=lambda: now)
    assert link(OBJECT, 3000, within=WITHIN, purpose="x", signer=signer, now=lambda: now).until == signer.ends


def test_the_end_of_credentials_that_renew_themselves_is_known(s3: Any):
    """As in a pod: its credentials last an hour, so no link of it may last longer."""
    from botocore.credentials import RefreshableCredentials

    ends = datetime.now(UTC) + timedelta(minutes=40)
    lent = {"access_key": "AKIAADMINISTRATOR000", "secret_key": "administrator", "token": "token"}
    own = session.Session()
    own._credentials = RefreshableCredentials(  # as a provider of botocore sets it
        **lent, expiry_time=ends, refresh_using=lambda: {**lent, "expiry_time": ends.isoformat()}, method="test"
    )
    with pytest.raises(LinkRefusedError, match="ask for 39 minutes"):
        link(OBJECT, 3600, within=WITHIN, purpose="x", signer=S3Signer(own, region=REGION))


def test_the_stacks_role_signs_under_the_name_of_who_asks(account: dict[str, Any], s3: Any):
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}
    role = account["iam"].create_role(
        RoleName="links", AssumeRolePolicyDocument=json.dumps(trust), MaxSessionDuration=43200
    )["Role"]["Arn"]
    signer = role_signer(role, REGION, MAX_SECONDS, "kim@example.org")
    assert signer.by.endswith("assumed-role/links/kim@example.org")
    made = link(OBJECT, MAX_SECONDS, within=WITHIN, purpose="x", signer=signer)
    assert "X-Amz-Security-Token" in asked(made.url)
    assert requests.get(made.url, timeout=30).content == CONTENT


def test_lifetimes_are_minutes_or_hours():
    assert (seconds_of("30m"), seconds_of("12h")) == (1800, MAX_SECONDS)


def test_links_are_given_to_what_the_stacks_role_may_read():
    assert cli.LINKED == LINKED
    assert not {"data", "logs", "backups", "vectors"} & set(LINKED)


class GoogleKey:
    """A service account's key file."""

    signer_email = "links@acme.iam.gserviceaccount.com"

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def sign_bytes(self, message: bytes) -> bytes:
        return self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())


def verified(key: GoogleKey, url: str) -> Mapping[str, str]:
    """Check a link as Cloud Storage does: by its own canonical form and the account's public key."""
    import hashlib

    parts, told = urlsplit(url), asked(url)
    query = parts.query.partition("&X-Goog-Signature=")[0]
    canonical = f"GET\n{parts.path}\n{query}\nhost:{parts.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
    scope = told["X-Goog-Credential"].partition("/")[2]
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    message = f"GOOG4-RSA-SHA256\n{told['X-Goog-Date']}\n{scope}\n{digest}"
    key.key.public_key().verify(
        bytes.fromhex(told["X-Goog-Signature"]), message.encode(), padding.PKCS1v15(), hashes.SHA256()
    )
    return told


def test_a_link_of_cloud_storage_is_signed_by_v4_and_cannot_be_made_longer():
    key, now = GoogleKey(), datetime(2026, 11, 22, 12, tzinfo=UTC)
    signer = GoogleSigner(key, now=lambda: now)
    made = link("gs://llmops-gcp-models-acme/chat/a b~/ü.bin", 900, within=WITHIN, purpose="x", signer=signer)
    told = verified(key, made.url)
    assert (told["X-Goog-Expires"], told["X-Goog-Date"]) == ("900", "20261122T120000Z")
    assert urlsplit(made.url).path == "/llmops-gcp-models-acme/chat/a%20b~/%C3%BC.bin"
    with pytest.raises(InvalidSignature):
        verified(key, made.url.replace("X-Goog-Expires=900", "X-Goog-Expires=9000"))


def test_credentials_of_google_that_cannot_sign_are_refused_with_what_to_do():
    with pytest.raises(LinkRefusedError, match="serviceAccountTokenCreator"):
        GoogleSigner(object())


def test_a_folder_that_a_pipeline_names_is_the_whole_of_what_it_may_link():
    folder = f"s3://{BUCKET}/releases/"
    assert checked(f"{folder}a.bin", 60, [folder]) == (BUCKET, "releases/a.bin")
    with pytest.raises(LinkRefusedError, match="lies outside"):
        checked(f"s3://{BUCKET}/releases-old/a.bin", 60, [folder])
    with pytest.raises(LinkRefusedError, match="lies outside"):
        checked(f"s3://{BUCKET}/a.bin", 60, ["s3://"])
