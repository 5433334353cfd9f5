"""Downloads with verified checksums that leave nothing half-made."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import requests

_TIMEOUT_SECONDS = (5.0, 30.0)  # to connect, between bytes; a closed network is noticed by the first
_CHUNK_BYTES = 1024 * 1024
_REPORT_EVERY_SECONDS = 5.0
_STALE_AFTER_SECONDS = 3600.0  # a part file older than this belongs to no running download
_PART = ".part"


class Unavailable(Exception):  # noqa: N818 reads as what it says: "except Unavailable"
    """Something cannot be downloaded; the message says what and why."""


class ChecksumMismatch(Unavailable):
    """What came is not what was announced."""


def override_variable(url: str) -> str:
    """Name of the environment variable that stands for the host of ``url``: ``SANDBOX_DOWNLOADS_GITHUB_COM``."""
    return "SANDBOX_DOWNLOADS_" + re.sub(r"[^A-Z0-9]", "_", urlsplit(url).netloc.upper())


def resolve(url: str) -> str:
    """``url`` with the base URL of its host replaced by the environment's, where one is set."""
    parts = urlsplit(url)
    base = os.environ.get(override_variable(url))
    return url if not base else base.rstrip("/") + url.removeprefix(f"{parts.scheme}://{parts.netloc}")


def fetch(url: str, target: Path, *, sha256: str | None, report: Callable[[str], None]) -> Path:
    """Download ``url`` to ``target`` unless it is there already.

    Args:
        url: Where it lies officially; see :func:`override_variable` for mirrors.
        target: File to write; it appears whole or not at all.
        sha256: Expected digest in hex; None where the publisher gives none.
        report: Receives one line of progress every few seconds.

    Raises:
        Unavailable: The host cannot be reached, or it refuses.
        ChecksumMismatch: The digest differs.
    """
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target.parent)
    part = target.with_name(f".{target.name}.{os.getpid()}{_PART}")
    try:
        digest = _stream(resolve(url), part, target.name, report)
        if sha256 is not None and digest != sha256.lower():
            raise ChecksumMismatch(f"{resolve(url)}: SHA-256 is {digest}, expected {sha256.lower()}; nothing was kept")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def fetch_text(url: str) -> str:
    """Return the text at ``url``.

    Raises:
        Unavailable: The host cannot be reached, or it refuses.
    """
    resolved = resolve(url)
    try:
        response = requests.get(resolved, timeout=_TIMEOUT_SECONDS)
        response.raise_for_status()
    except requests.RequestException as error:
        raise Unavailable(f"{resolved}: {_reason(error)}") from error
    return response.text


def _stream(url: str, part: Path, name: str, report: Callable[[str], None]) -> str:
    digest = hashlib.sha256()
    try:
        with requests.get(url, stream=True, timeout=_TIMEOUT_SECONDS) as response, part.open("wb") as file:
            response.raise_for_status()
            total = int(response.headers.get("Content-Length", 0))
            done, reported = 0, time.monotonic()
            report(f"downloading {name} from {urlsplit(url).netloc}{_size(total)}")
            for chunk in response.iter_content(_CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                if time.monotonic() - reported >= _REPORT_EVERY_SECONDS:
                    reported = time.monotonic()
                    report(f"downloading {name}: {done >> 20} MiB{f' of {total >> 20}' if total else ''}")
    except requests.RequestException as error:
        raise Unavailable(f"{url}: {_reason(error)}") from error
    return digest.hexdigest()


def _size(total_bytes: int) -> str:
    return f" ({total_bytes >> 20} MiB)" if total_bytes >> 20 else ""


def _reason(error: requests.RequestException) -> str:
    """Say it in a line that a user can read, instead of nested exceptions."""
    if error.response is not None:
        return f"HTTP {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return f"TLS failed ({error})"
    if isinstance(error, requests.ConnectionError):
        return "the host cannot be reached"
    return str(error)


def _sweep(folder: Path) -> None:
    """Remove what interrupted downloads left behind."""
    for part in folder.glob(f".*{_PART}"):
        try:
            if time.time() - part.stat().st_mtime > _STALE_AFTER_SECONDS:
                part.unlink()
        except FileNotFoundError:
            continue  # another process swept it first
