"""What a workflow writes to GitHub: one comment on a pull request, one issue, each written over and not repeated.

Standard library alone, so that a job that may write needs to install nothing:
``python3 -m ops.github comment --pull-request 7 --name "plan of dev" comment.md``. The token is in ``GH_TOKEN``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote, urlencode

LIMIT: Final = 65_536
"""Characters that GitHub takes in a body."""

_AUTHOR: Final = "github-actions[bot]"
_PAGE: Final = 100
_TIMEOUT_SECONDS: Final = 30


class GitHubError(Exception):
    """GitHub refused, or did not answer."""


@dataclass(frozen=True)
class Repository:
    """A repository, and who writes to it.

    Attributes:
        name: ``owner/name``.
        token: A token that may write comments or issues.
        api: Address of the API.
        author: Login of whoever the token belongs to; only what it wrote is written over.
    """

    name: str
    token: str
    api: str = "https://api.github.com"
    author: str = _AUTHOR

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One call below ``/repos/<name>``.

        Raises:
            GitHubError: It failed.
        """
        request = urllib.request.Request(
            f"{self.api}/repos/{self.name}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {self.token}",
                "Content-Type": "application/json",
                "X-GitHub-Api-Version": "2022-11-28",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise GitHubError(f"{method} {path}: {error.code} {error.reason}") from None
        except OSError as error:
            raise GitHubError(f"{method} {path}: {error}") from None
        return json.loads(text) if text else None

    def listed(self, path: str, **query: str) -> Iterator[dict[str, Any]]:
        """Everything on all pages of a list."""
        page = 1
        while True:
            asked = urlencode({**query, "per_page": str(_PAGE), "page": str(page)})
            found = cast("list[dict[str, Any]]", self.call("GET", f"{path}?{asked}"))
            yield from found
            if len(found) < _PAGE:
                return
            page += 1

    def wrote(self, thing: dict[str, Any], marker: str) -> bool:
        """Whether this is ours. A marker alone proves nothing: anybody can write one."""
        return thing["user"]["login"] == self.author and str(thing.get("body") or "").startswith(marker)


def marker(name: str) -> str:
    """First line of what is written under a name; invisible on the page."""
    clean = "".join(one for one in name if one.isalnum() or one in " ._-")
    return f"<!-- workflow: {clean} -->"


def body(name: str, text: str) -> str:
    """Text with its marker, no longer than GitHub takes."""
    whole = f"{marker(name)}\n{text}"
    cut = "\n\n_Cut: GitHub takes no more._\n"
    return whole if len(whole) <= LIMIT else whole[: LIMIT - len(cut)] + cut


def comment(repository: Repository, number: int, name: str, text: str) -> str:
    """Write the one comment of this name on a pull request, and return what was done."""
    written = body(name, text)
    for one in repository.listed(f"/issues/{number}/comments"):
        if repository.wrote(one, marker(name)):
            if one["body"] == written:
                return "unchanged"
            repository.call("PATCH", f"/issues/comments/{one['id']}", {"body": written})
            return "updated"
    repository.call("POST", f"/issues/{number}/comments", {"body": written})
    return "created"


def issue(repository: Repository, name: str, title: str, text: str, *, label: str) -> str:
    """Write the one open issue of this name, and return what was done."""
    written = body(name, text)
    if (found := _open_issue(repository, name, label)) is not None:
        if found["body"] == written:
            return "unchanged"
        repository.call("PATCH", f"/issues/{found['number']}", {"title": title, "body": written})
        return "updated"
    repository.call("POST", "/issues", {"title": title, "body": written, "labels": [label]})
    return "created"


def close(repository: Repository, name: str, text: str, *, label: str) -> str:
    """Close the open issue of this name with a last word, and return what was done."""
    if (found := _open_issue(repository, name, label)) is None:
        return "none open"
    repository.call("POST", f"/issues/{found['number']}/comments", {"body": text})
    repository.call("PATCH", f"/issues/{found['number']}", {"state": "closed", "state_reason": "completed"})
    return "closed"


def _open_issue(repository: Repository, name: str, label: str) -> dict[str, Any] | None:
    issues = repository.listed("/issues", state="open", labels=label)
    return next((one for one in issues if "pull_request" not in one and repository.wrote(one, marker(name))), None)


def pull_request_of(repository: Repository, *, owner: str, branch: str, commit: str) -> int | None:
    """Number of the open pull request whose head is this commit of this branch; None where it has moved on.

    From GitHub's own word on the run, and not from what the run wrote: that is the pull request's.
    """
    for one in repository.listed("/pulls", state="open", head=f"{owner}:{branch}"):
        if one["head"]["sha"] == commit:
            return int(one["number"])
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python3 -m ops.github", description=__doc__)
    parser.add_argument("--repository", default=os.environ.get("GITHUB_REPOSITORY", ""))
    parser.add_argument("--api", default=os.environ.get("GITHUB_API_URL", "https://api.github.com"))
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("comment", help="write the one comment of a name")
    one.add_argument("--pull-request", type=int, required=True)
    two = commands.add_parser("issue", help="write the one open issue of a name")
    two.add_argument("--title", required=True)
    three = commands.add_parser("close", help="close the open issue of a name")
    for parser_ in (one, two, three):
        parser_.add_argument("--name", required=True)
        parser_.add_argument("file", type=Path)
    for parser_ in (two, three):
        parser_.add_argument("--label", default="drift")
    four = commands.add_parser("pull-request", help="print the number of the pull request of a commit")
    for option in ("--owner", "--branch", "--commit"):
        four.add_argument(option, required=True)
    given = parser.parse_args(arguments)
    repository = Repository(quote(given.repository), os.environ.get("GH_TOKEN", ""), given.api)
    try:
        print(_run(repository, given))
    except GitHubError as error:
        print(f"github: {error}", file=sys.stderr)
        return 1
    return 0


def _run(repository: Repository, given: argparse.Namespace) -> str:
    match given.command:
        case "comment":
            return comment(repository, given.pull_request, given.name, given.file.read_text())
        case "issue":
            return issue(repository, given.name, given.title, given.file.read_text(), label=given.label)
        case "close":
            return close(repository, given.name, given.file.read_text(), label=given.label)
        case _:
            number = pull_request_of(repository, owner=given.owner, branch=given.branch, commit=given.commit)
            return "" if number is None else str(number)


if __name__ == "__main__":
    sys.exit(main())
