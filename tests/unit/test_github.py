"""What workflows write to GitHub, against a small server that answers as GitHub's API does."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ops import github
from ops.github import LIMIT, GitHubError, Repository

pytestmark = pytest.mark.unit

BOT = "github-actions[bot]"


class GitHub:
    """Comments, issues and pull requests of one repository."""

    def __init__(self) -> None:
        self.comments: list[dict[str, Any]] = []
        self.issues: list[dict[str, Any]] = []
        self.pulls: list[dict[str, Any]] = []
        self.writes: list[str] = []

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Any:
        if method != "GET":
            self.writes.append(f"{method} {path}")
        if match := re.fullmatch(r"/issues/(\d+)/comments", path):
            number = int(match[1])
            if method == "POST":
                return self._add(self.comments, {"issue": number, "body": body["body"]})
            return self._page([one for one in self.comments if one["issue"] == number], query)
        if match := re.fullmatch(r"/issues/comments/(\d+)", path):
            return self._change(self.comments, "id", int(match[1]), body)
        if match := re.fullmatch(r"/issues/(\d+)", path):
            return self._change(self.issues, "number", int(match[1]), body)
        if path == "/issues" and method == "POST":
            return self._add(self.issues, {**body, "state": "open", "number": 100 + len(self.issues)})
        if path == "/issues":
            wanted = [one for one in self.issues if one["state"] == "open" and query["labels"][0] in one["labels"]]
            return self._page(wanted, query)
        if path == "/pulls":
            return self._page([one for one in self.pulls if one["head"]["label"] == query["head"][0]], query)
        raise KeyError(path)

    def _page(self, things: list[dict[str, Any]], query: dict[str, list[str]]) -> list[dict[str, Any]]:
        size, page = int(query["per_page"][0]), int(query["page"][0])
        return things[(page - 1) * size : page * size]

    def _add(self, things: list[dict[str, Any]], thing: dict[str, Any]) -> dict[str, Any]:
        things.append({"id": len(things) + 1, "user": {"login": BOT}, **thing})
        return things[-1]

    def _change(self, things: list[dict[str, Any]], key: str, value: int, change: Any) -> dict[str, Any]:
        (found,) = [one for one in things if one[key] == value]
        found.update(change)
        return found


@pytest.fixture
def hub() -> Iterator[tuple[GitHub, Repository]]:
    state = GitHub()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            url = urlsplit(self.path)
            authorized = self.headers["Authorization"] == "Bearer token"
            answer = (
                state.answer(self.command, url.path.removeprefix("/repos/owner/name"), parse_qs(url.query), body)
                if authorized
                else {"message": "Bad credentials"}
            )
            self.send_response(200 if authorized else 401)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        do_GET = do_POST = do_PATCH = _serve  # noqa: N815 what the server calls

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield state, Repository("owner/name", "token", f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()


def test_a_report_is_one_comment_that_is_written_over(hub: tuple[GitHub, Repository]):
    state, repository = hub

    done = [github.comment(repository, 7, "plan of dev", text) for text in ("first", "second", "second")]

    assert done == ["created", "updated", "unchanged"]
    assert [one["body"] for one in state.comments] == ["<!-- workflow: plan of dev -->\nsecond"]


def test_each_stack_and_each_pull_request_has_a_comment_of_its_own(hub: tuple[GitHub, Repository]):
    state, repository = hub
    for number, stack in ((7, "dev"), (7, "prod"), (8, "dev")):
        github.comment(repository, number, f"plan of {stack}", stack)

    assert [(one["issue"], one["body"].splitlines()[1]) for one in state.comments] == [
        (7, "dev"), (7, "prod"), (8, "dev"),
    ]  # fmt: skip


def test_a_comment_of_somebody_else_with_our_marker_is_left_alone(hub: tuple[GitHub, Repository]):
    state, repository = hub
    forged = {"id": 50, "issue": 7, "user": {"login": "mallory"}, "body": github.body("plan of dev", "all is well")}
    state.comments.append(forged)

    assert github.comment(repository, 7, "plan of dev", "true") == "created"
    assert forged["body"].endswith("all is well")


def test_ours_is_found_behind_a_hundred_others(hub: tuple[GitHub, Repository]):
    state, repository = hub
    state.comments = [
        {"id": 1000 + number, "issue": 7, "user": {"login": "someone"}, "body": "hello"} for number in range(100)
    ]
    github.comment(repository, 7, "plan of dev", "first")

    assert github.comment(repository, 7, "plan of dev", "second") == "updated"
    assert len(state.comments) == 101


def test_what_is_too_long_is_cut_where_it_can_be_seen():
    text = github.body("plan", "x" * (2 * LIMIT))

    assert len(text) == LIMIT
    assert text.startswith("<!-- workflow: plan -->\n")
    assert text.rstrip().endswith("_Cut: GitHub takes no more._")


def test_a_name_cannot_close_the_marker():
    assert github.marker("a --> b\n") == "<!-- workflow: a -- b -->"


def test_drift_is_one_open_issue_until_nothing_is_left_of_it(hub: tuple[GitHub, Repository]):
    state, repository = hub

    done = [
        github.issue(repository, "drift of prod", "Drift: prod", "a bucket", label="drift"),
        github.issue(repository, "drift of prod", "Drift: prod", "two buckets", label="drift"),
        github.close(repository, "drift of prod", "nothing differs", label="drift"),
        github.close(repository, "drift of prod", "nothing differs", label="drift"),
        github.issue(repository, "drift of prod", "Drift: prod", "again", label="drift"),
    ]

    assert done == ["created", "updated", "closed", "none open", "created"]
    assert [(one["state"], one["labels"]) for one in state.issues] == [("closed", ["drift"]), ("open", ["drift"])]
    assert [one["body"] for one in state.comments] == ["nothing differs"]


def test_a_report_goes_only_to_the_pull_request_whose_head_it_is_about(hub: tuple[GitHub, Repository]):
    state, repository = hub
    state.pulls = [
        {"number": 3, "head": {"label": "fork:branch", "sha": "old"}},
        {"number": 4, "head": {"label": "fork:branch", "sha": "new"}},
        {"number": 5, "head": {"label": "owner:branch", "sha": "new"}},
    ]

    def found(commit: str) -> int | None:
        return github.pull_request_of(repository, owner="fork", branch="branch", commit=commit)

    assert (found("new"), found("gone")) == (4, None)


def test_a_refusal_is_one_line_and_holds_no_token(
    hub: tuple[GitHub, Repository], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    _, repository = hub
    monkeypatch.setenv("GH_TOKEN", "wrong-token")

    named = ["--owner", "a", "--branch", "b", "--commit", "c"]
    code = github.main(["--repository", "owner/name", "--api", repository.api, "pull-request", *named])

    assert code == 1
    assert capsys.readouterr().err.startswith("github: GET /pulls?")
    with pytest.raises(GitHubError, match="401"):
        github.comment(Repository("owner/name", "wrong-token", repository.api), 7, "x", "y")
