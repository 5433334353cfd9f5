"""Empty a bucket with all its versions, a batch at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, cast

from ops.preflight.aws.account import Account
from ops.preflight.model import UnansweredError

BATCH: Final = 1000
"""Versions that s3:DeleteObjects takes in one call; ListObjectVersions answers as many."""

_ROUNDS: Final = 5
_AT_ONCE: Final = 8  # batches; S3 takes 3,500 deletes a second and prefix before it slows down


class NotEmptiedError(UnansweredError):
    """S3 keeps some versions; the message has its word for the first of them."""


def empty(account: Account, bucket: str, region: str, tell: Callable[[int], None] = lambda _: None) -> int:
    """Delete every version, delete marker and unfinished upload; return how many versions there were.

    It holds no list of the bucket: what it has deleted is gone when it is interrupted, and the next call goes on.

    Args:
        account: The account.
        bucket: Name of the bucket.
        region: Where it is.
        tell: Called after each batch with the number of versions deleted so far.

    Raises:
        NotEmptiedError: S3 keeps some, such as objects under a lock.
    """
    gone = 0
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in range(_ROUNDS):  # who still writes, such as S3 its access logs, is a round behind
            before, waiting = gone, deque[Future[int]]()
            for batch in _versions(account, bucket, region):
                waiting.append(pool.submit(_delete, account, bucket, region, batch))
                if len(waiting) >= _AT_ONCE:  # a bucket has more versions than memory
                    gone += waiting.popleft().result()
                    tell(gone)
            for one in waiting:
                gone += one.result()
                tell(gone)
            if gone == before:
                break
    for upload in account.pages("s3", "list_multipart_uploads", "Uploads", region, Bucket=bucket):
        account.call(
            "s3", "abort_multipart_upload", region, Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
        )
    return gone


def _versions(account: Account, bucket: str, region: str) -> Iterator[list[dict[str, str]]]:
    more: dict[str, Any] = {}
    while True:
        page = account.call("s3", "list_object_versions", region, Bucket=bucket, MaxKeys=BATCH, **more)
        listed = [*(page.get("Versions") or ()), *(page.get("DeleteMarkers") or ())]
        if listed:
            yield [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in listed]
        if not page.get("IsTruncated"):
            return
        more = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page.get("NextVersionIdMarker", "")}


def _delete(account: Account, bucket: str, region: str, batch: list[dict[str, str]]) -> int:
    wanted = {"Objects": batch, "Quiet": True}
    answer = account.call("s3", "delete_objects", region, Bucket=bucket, Delete=wanted)
    refused = cast("list[dict[str, str]]", answer.get("Errors") or [])
    if refused:
        first = refused[0]
        raise NotEmptiedError(
            f"{bucket}: S3 keeps {len(refused)} versions, {first['Key']} first: {first.get('Message')}"
        )
    return len(batch)
