"""Questions to an account, and the three answers that there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

Answer = Literal["ok", "refused", "unknown"]
"""``unknown`` is what nobody could find out. It is never counted as ``ok``."""

Group = Literal["account", "region", "quota", "offer", "permission", "name"]
GROUPS: Final[tuple[Group, ...]] = get_args(Group)

EXIT_OK: Final = 0
EXIT_REFUSED: Final = 1
EXIT_UNKNOWN: Final = 3
"""Nothing is refused, but something is unknown. Not 2: that says that preflight itself could not run."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One answer.

    Attributes:
        group: What kind of question it answers.
        subject: What was asked about.
        answer: The answer.
        message: Why, with the figures.
        remedy: A command line or a setting that changes the answer; empty where there is none.
        link: Page of the cloud's console on which the same can be done.
        figures: Numbers behind the answer, for programs.
    """

    group: Group
    subject: str
    answer: Answer
    message: str
    remedy: str = ""
    link: str = ""
    figures: Mapping[str, float] = field(default_factory=dict[str, float])


class UnansweredError(Exception):
    """A question that the cloud did not answer: not allowed to ask, not reachable, too slow."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question.

    Attributes:
        group: What kind of question.
        subject: What it asks about; stands in the report where there is no answer.
        ask: Asks, and returns one finding or several. It may raise :class:`UnansweredError`.
    """

    group: Group
    subject: str
    ask: Callable[[], Iterable[Finding]]

    def finding(
        self,
        answer: Answer,
        message: str,
        *,
        remedy: str = "",
        link: str = "",
        figures: Mapping[str, float] | None = None,
    ) -> Finding:
        """An answer to this question."""
        return Finding(
            group=self.group,
            subject=self.subject,
            answer=answer,
            message=message,
            remedy=remedy,
            link=link,
            figures=figures or {},
        )


def exit_code(findings: Sequence[Finding]) -> int:
    """The exit code that says the worst of it. No finding at all says nothing, which is not ok."""
    answers = {finding.answer for finding in findings}
    if "refused" in answers:
        return EXIT_REFUSED
    return EXIT_UNKNOWN if "unknown" in answers or not answers else EXIT_OK
