"""One bucket into another of the same region: objects that are not there yet, by S3 itself, checked afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from ops.progress import Progress

AT_ONCE: Final = 32
"""Copies at a time. S3 takes 3,500 writes a second below one prefix (S3 user guide), so it is never the limit."""

LARGEST_AT_ONCE: Final = 5 * 2**30
"""Bytes that CopyObject takes (API reference); larger objects are copied in parts."""

_SHOWN: Final = 20
# What CopyObject takes along, and a copy in parts must be told; the checksum of a whole is another one in parts.
_HEADERS: Final = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType")


@dataclass(frozen=True)
class Item:
    """An object, as a listing has it.

    Attributes:
        key: Its name.
        size: Bytes.
        modified: When its current version was written.
    """

    key: str
    size: int
    modified: datetime


@dataclass
class Tally:
    """How far a copy is.

    Attributes:
        objects: In the source.
        size: Bytes of these.
        newest: When the youngest of them was written; none where there is none.
        there: Were in the target already.
        copied: Have been copied by this run.
        copied_size: Bytes of these.
        failed: Keys that could not be copied, with the reason; the first ones.
        failures: How many there are.
    """

    objects: int = 0
    size: int = 0
    newest: datetime | None = None
    there: int = 0
    copied: int = 0
    copied_size: int = 0
    failed: list[str] = field(default_factory=list[str])
    failures: int = 0

    def saw(self, item: Item) -> None:
        """Count an object of the source."""
        self.objects += 1
        self.size += item.size
        self.newest = max(self.newest or item.modified, item.modified)

    def fail(self, reason: str) -> None:
        """Count what could not be copied."""
        self.failures += 1
        if len(self.failed) < _SHOWN:
            self.failed.append(reason)


def items(s3: Any, bucket: str) -> Iterator[Item]:
    """Current objects of a bucket, by key; deleted ones and older versions are not among them."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for one in page.get("Contents", ()):
            yield Item(one["Key"], one["Size"], one["LastModified"])


def surveyed(s3: Any, bucket: str) -> Tally:
    """Count a bucket."""
    tally = Tally()
    for item in items(s3, bucket):
        tally.saw(item)
    return tally


def missing(source: Iterator[Item], target: Iterator[Item], tally: Tally) -> Iterator[Item]:
    """What the target does not have, or has in another size, or had before it was last written in the source.

    Both sides come sorted by S3, by the bytes of their keys, so neither need be held; nor is there a file of what was
    done: the target says it.
    """
    there = next(target, None)
    for item in source:
        tally.saw(item)
        while there is not None and there.key.encode() < item.key.encode():
            there = next(target, None)
        found = there if there is not None and there.key == item.key else None
        if found is not None and found.size == item.size and found.modified >= item.modified:
            tally.there += 1
        else:
            yield item


def copy_bucket(
    s3: Any,
    source: str,
    target: str,
    progress: Progress,
    *,
    label: str,
    at_once: int = AT_ONCE,
    in_parts_above: int = LARGEST_AT_ONCE,
) -> Tally:
    """Copy what is missing; what fails is told and left out, and another run takes it up.

    The target's own key encrypts the copies: no key is named, so its default holds. Metadata and tags go along.
    """
    tally = Tally()
    running: dict[Future[None], Item] = {}
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        try:
            for item in missing(items(s3, source), items(s3, target), tally):
                running[pool.submit(_copy, s3, source, target, item, in_parts_above)] = item
                if len(running) >= 4 * at_once:  # the listing does not run far ahead of the copies
                    _collect(running, tally, all_of_them=False)
                    progress.say(f"{label}: {_told(tally)}")
            _collect(running, tally, all_of_them=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    progress.say(f"{label}: {_told(tally)}")
    return tally


def _told(tally: Tally) -> str:
    failed = f", {tally.failures} failed" if tally.failures else ""
    return f"{tally.copied} copied ({gib(tally.copied_size)}), {tally.there} were there{failed}"


def gib(size: int) -> str:
    """Bytes, for people."""
    return f"{size / 2**30:.1f} GiB"


def _collect(running: dict[Future[None], Item], tally: Tally, *, all_of_them: bool) -> None:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - --help should not load it

    while running:
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for one in done:
            item = running.pop(one)
            try:
                one.result()
            except (BotoCoreError, ClientError) as error:
                tally.fail(f"{item.key}: {error}")
            else:
                tally.copied += 1
                tally.copied_size += item.size
        if not all_of_them:
            return


def _copy(s3: Any, source: str, target: str, item: Item, in_parts_above: int) -> None:
    origin = {"Bucket": source, "Key": item.key}
    if item.size <= in_parts_above:
        s3.copy_object(CopySource=origin, Bucket=target, Key=item.key)
        return
    from boto3.s3.transfer import TransferConfig  # noqa: PLC0415 - --help should not load it

    head = s3.head_object(**origin)
    told = {name: head[name] for name in _HEADERS if head.get(name)}
    tags = {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(**origin)["TagSet"]}
    s3.copy(
        origin,
        target,
        item.key,
        # What a copy in parts takes along by itself depends on the version of boto3; with REPLACE it is what is said.
        ExtraArgs={
            **told,
            "Metadata": head["Metadata"],
            "MetadataDirective": "REPLACE",
            "Tagging": urlencode(tags),
            "TaggingDirective": "REPLACE",
        },
        # At most 10,000 parts: 512 MiB reach 5 TB, the largest object there is.
        Config=TransferConfig(multipart_threshold=1, multipart_chunksize=min(in_parts_above, 512 * 2**20)),
    )


def differences(s3: Any, source: str, target: str) -> tuple[Tally, list[str]]:
    """List both buckets anew and compare; what the target lacks or has in another size, the first ones.

    What only the target has is no difference: the stack there may have written since.
    """
    tally, wrong = Tally(), list[str]()
    for item in missing(items(s3, source), items(s3, target), tally):
        tally.failures += 1
        if len(wrong) < _SHOWN:
            wrong.append(item.key)
    return tally, wrong
