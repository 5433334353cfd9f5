"""What must not stand in a log: credentials, encoded refusals and, where asked for, the account's number."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from ops.preflight.model import Finding

HIDDEN: Final = "[hidden]"

_CREDENTIALS: Final = (
    re.compile(r"\b(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{12,}\b"),  # IAM user guide, "unique ID prefixes"
    # EC2 says what it refused in a message that only some may decode; it names the caller and the whole request.
    re.compile(r"(?<=Encoded authorization failure message: )\S+"),
    re.compile(r"(?i)(?<=secret[ _-]access[ _-]key[=:] )\S+|(?<=session[ _-]token[=:] )\S+|(?<=password[=:] )\S+"),
    re.compile(r"X-Amz-(?:Signature|Security-Token|Credential)=[^&\s\"']+"),
)
_ROLE_SESSION: Final = re.compile(r"(:assumed-role/[^/\s]+)/[^\s'\"]+")  # often somebody's e-mail address


def redactor(*, account: str = "", secrets: Sequence[str] = ()) -> Callable[[str], str]:
    """A function that takes out of a text what must not be shown.

    Args:
        account: Number of the account, to be hidden; empty to leave it.
        secrets: Values that must not be shown, whatever they look like.
    """
    values = [value for value in (*secrets, account) if value]

    def redact(text: str) -> str:
        for value in values:
            text = text.replace(value, HIDDEN)
        for pattern in _CREDENTIALS:
            text = pattern.sub(HIDDEN, text)
        return _ROLE_SESSION.sub(rf"\1/{HIDDEN}", text)

    return redact


def redacted(finding: Finding, redact: Callable[[str], str]) -> Finding:
    """The finding with every text in it redacted."""
    texts: Mapping[str, str] = {
        "subject": redact(finding.subject),
        "message": redact(finding.message),
        "remedy": redact(finding.remedy),
        "link": redact(finding.link),
    }
    return replace(finding, **texts)
