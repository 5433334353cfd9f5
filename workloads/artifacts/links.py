"""Links to single objects: signed, for a limited time, written down; for people and programs without an account.

For pods and for the program. S3 needs botocore, Cloud Storage needs google-auth; each is loaded when it is used.
"""

from __future__ import annotations

import binascii
import hashlib
import importlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol
from urllib.parse import quote, urlsplit

MAX_SECONDS: Final = 12 * 3600
"""Longest life of a link. Credentials of a role last 12 hours at most (IAM user guide, "Methods to assume a role"), and
so do signatures by a key that Google keeps (Cloud Storage, "Signed URLs"): a longer link would break before its time,
or would need credentials that last for ever."""

MIN_SECONDS: Final = 60

_LEEWAY: Final = timedelta(minutes=1)  # credentials that were lent for as long as the link begin a moment before it

_LOG: Final = logging.getLogger("llmops.artifacts.links")


class LinkRefusedError(ValueError):
    """A link that is not given; the message says why."""


@dataclass(frozen=True)
class Link:
    """A link to an object.

    Attributes:
        url: Whoever has it reads the object until then; it is a credential, so it is not in ``repr`` and in no log.
        object: The object's own URL.
        until: When the link ends.
        by: Whose credentials signed it.
    """

    url: str = field(repr=False)
    object: str
    until: datetime
    by: str


class Signer(Protocol):
    """Signs the reading of one object."""

    by: str
    """Whose credentials sign."""
    ends: datetime | None
    """When these credentials end, and with them every link; none where they do not, or where it cannot be told."""

    def sign(self, bucket: str, key: str, seconds: int, disposition: str) -> str:
        """The link, which ends after ``seconds``."""
        ...


def link(
    url: str,
    seconds: int,
    *,
    within: Sequence[str],
    purpose: str = "",
    filename: str = "",
    asked_by: str = "",
    signer: Signer | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Link:
    """Sign a link to one object, and write down who, what, why and until when.

    Args:
        url: ``s3://bucket/key`` or ``gs://bucket/key``.
        seconds: How long it holds; 12 hours at most.
        within: Folders or buckets that links may be given to, by URL.
        purpose: What it is for, in words; it is written down.
        filename: What a browser saves it as; else the last part of the key.
        asked_by: Who wants it; else who signs it.
        signer: Whose credentials sign it; else those that the cloud's own client finds.
        now: The clock.

    Raises:
        LinkRefusedError: It is too long, lies elsewhere, names no object, or would break before its time.
    """
    bucket, key = checked(url, seconds, within)
    found = signer or (S3Signer() if url.startswith("s3://") else GoogleSigner())
    until = now() + timedelta(seconds=seconds)
    if found.ends is not None and found.ends < until - _LEEWAY:
        left = max(0, int((found.ends - now()).total_seconds()) // 60)
        raise LinkRefusedError(
            f"the credentials of {found.by} end at {found.ends:%Y-%m-%dT%H:%MZ}, and the link with them: "
            f"ask for {left} minutes at most, or sign in anew"
        )
    signed = found.sign(bucket, key, seconds, _disposition(filename or key.rpartition("/")[2]))
    made = Link(signed, url, until, found.by)
    _LOG.info("%s", audit_line(made, asked_by=asked_by or found.by, purpose=purpose))
    return made


def audit_line(made: Link, *, asked_by: str, purpose: str) -> str:
    """One line of JSON about a link, without the link."""
    return json.dumps(
        {
            "event": "artifact-link",
            "object": made.object,
            "by": asked_by,
            "signer": made.by,
            "until": made.until.astimezone(UTC).isoformat(timespec="seconds"),
            "purpose": purpose,
        }
    )


def checked(url: str, seconds: int, within: Sequence[str]) -> tuple[str, str]:
    """Bucket and key of a link that may be given.

    Raises:
        LinkRefusedError: It may not.
    """
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise LinkRefusedError(
            f"a link holds 1 minute to 12 hours, not {seconds} s: what signs it, credentials of a role, "
            "lasts no longer; give a new link later, or a role that may read"
        )
    scheme, rest = url.partition("://")[::2]
    bucket, key = rest.partition("/")[::2]
    if scheme not in ("s3", "gs") or not bucket or not key or key.endswith("/"):
        raise LinkRefusedError(f"{url!r} names no object: s3://bucket/key or gs://bucket/key")
    if not any(url.startswith(f"{place.rstrip('/')}/") for place in within if urlsplit(place).netloc):
        raise LinkRefusedError(f"{url} lies outside of {', '.join(within) or 'everything that links are given to'}")
    if any(part in (".", "..") for part in key.split("/")):  # some clients would resolve them, out of the folder
        raise LinkRefusedError(f"{url}: no link is given to a key with . or .. in its path")
    return bucket, key


def _disposition(filename: str) -> str:
    """RFC 6266: a plain name for old clients, and the whole one beside it."""
    plain = "".join(sign if sign.isascii() and sign.isprintable() and sign not in '"\\' else "_" for sign in filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


class S3Signer(Signer):
    """SigV4 by botocore. S3 decrypts with the bucket's key in the name of who signed, who must be allowed to."""

    def __init__(self, session: Any = None, *, region: str | None = None, by: str = "") -> None:
        """Take a botocore session, or what the environment has.

        Raises:
            LinkRefusedError: There are no credentials.
        """
        self._session = session or importlib.import_module("botocore.session").get_session()
        credentials = self._session.get_credentials()
        if credentials is None:
            raise LinkRefusedError("there are no credentials of AWS to sign with")
        # Fresh ones where they are renewed by themselves: a link lasts no longer than those it was signed with.
        access_key = credentials.get_frozen_credentials().access_key
        self.by = by or access_key
        ends = getattr(credentials, "_expiry_time", None)  # botocore tells it in no other way
        self.ends = ends if isinstance(ends, datetime) else None
        config = importlib.import_module("botocore.config").Config(signature_version="s3v4")
        self._client = self._session.create_client("s3", region_name=region, config=config)

    def sign(self, bucket: str, key: str, seconds: int, disposition: str) -> str:
        """Sign after looking: a link to nothing, or to what may not be read, would fail at whoever gets it."""
        refusal = importlib.import_module("botocore.exceptions").ClientError
        try:
            self._client.head_object(Bucket=bucket, Key=key)
        except refusal as error:
            raise LinkRefusedError(f"s3://{bucket}/{key} cannot be read by {self.by}: {error}") from None
        return self._client.generate_presigned_url(
            "get_object",
            Params={"Bucket": bucket, "Key": key, "ResponseContentDisposition": disposition},
            ExpiresIn=seconds,
        )


class GoogleSigner(Signer):
    """V4 by a service account: its own key file, or a key that Google keeps (``iam.serviceAccounts.signBlob``)."""

    _HOST: Final = "storage.googleapis.com"

    def __init__(
        self,
        credentials: Any = None,
        *,
        account: str = "",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Take credentials, or what the environment has; ``account``: sign as this service account.

        Raises:
            LinkRefusedError: Nothing of it can sign.
        """
        found = credentials or self._default(account)
        if not hasattr(found, "sign_bytes") or not getattr(found, "signer_email", None):
            raise LinkRefusedError(
                "these credentials of Google cannot sign: name a service account that may read the bucket, "
                "on which you have roles/iam.serviceAccountTokenCreator"
            )
        self._credentials, self._now = found, now
        self.by, self.ends = found.signer_email, None

    @staticmethod
    def _default(account: str) -> Any:
        scope = "https://www.googleapis.com/auth/cloud-platform"
        found = importlib.import_module("google.auth").default(scopes=[scope])[0]
        if not account:
            return found
        lent = importlib.import_module("google.auth.impersonated_credentials")
        return lent.Credentials(found, target_principal=account, target_scopes=[scope])

    def sign(self, bucket: str, key: str, seconds: int, disposition: str) -> str:
        """Cloud Storage, "V4 signing process with your own program"."""
        moment = f"{self._now().astimezone(UTC):%Y%m%dT%H%M%SZ}"
        scope = f"{moment[:8]}/auto/storage/goog4_request"
        path = f"/{bucket}/{quote(key, safe='/~')}"
        asked = {
            "X-Goog-Algorithm": "GOOG4-RSA-SHA256",
            "X-Goog-Credential": f"{self.by}/{scope}",
            "X-Goog-Date": moment,
            "X-Goog-Expires": str(seconds),
            "X-Goog-SignedHeaders": "host",
            "response-content-disposition": disposition,
        }
        query = "&".join(f"{quote(name, safe='')}={quote(asked[name], safe='~')}" for name in sorted(asked))
        canonical = "\n".join(("GET", path, query, f"host:{self._HOST}", "", "host", "UNSIGNED-PAYLOAD"))
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        signature = self._credentials.sign_bytes("\n".join(("GOOG4-RSA-SHA256", moment, scope, digest)).encode())
        return f"https://{self._HOST}{path}?{query}&X-Goog-Signature={binascii.hexlify(signature).decode()}"
