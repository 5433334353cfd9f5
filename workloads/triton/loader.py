"""Loads a release into a running Triton, tries it, and only then lets it serve. Runs in the pod, beside the server.

A release's models have names of their own, so two releases can be loaded together. What clients call is an ensemble
that points to the models of one release. To serve another release that ensemble is loaded again, pointing elsewhere;
what was served before stays until the new one has answered under the clients' name.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

from workloads.triton import sync

SERVING = "serving"
"""File that is there while the model answers: the pod's readiness."""

CURRENT = "current.json"
"""The release that serves; this container may be restarted without the server."""

KEY_HEADER = "x-loader-key"
_CONTROL_SECONDS = 1800  # loading tens of GB from disk; the probe of the container ends what takes longer
_POLL_SECONDS = 5


class LoadError(Exception):
    """A release could not be loaded, or did not answer as it must.

    Attributes:
        status: What the server answered; 0 where it did not.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Release:
    """A release and how it is served, from the file that the program wrote.

    Attributes:
        wanted: What is fetched.
        served: What clients call the model.
        candidate: What it is called while it is tried.
        code: For each of its models the folder of the image with its code.
        configs: ``config.pbtxt`` of each of its models, of the candidate, and of what clients call.
        check: What is asked, for how many tokens, and the seconds within which it must be answered.
        text: The file itself.
    """

    wanted: sync.Wanted
    served: str
    candidate: str
    code: Mapping[str, str]
    configs: Mapping[str, str]
    check: Mapping[str, Any]
    text: str

    @classmethod
    def of(cls, text: str) -> Release:
        """Read it."""
        document = json.loads(text)
        return cls(
            wanted=sync.Wanted.of(document),
            served=document["served"],
            candidate=document["candidate"],
            code=document["code"],
            configs=document["configs"],
            check=document["check"],
            text=text,
        )

    @property
    def name(self) -> str:
        """Its name."""
        return self.wanted.release


@dataclass
class Server:
    """The server of this pod.

    Attributes:
        control: Root of Triton's own API.
        frontend: Root of the OpenAI API in front of it.
        key: What the frontend asks for before it loads anything.
        patience: Seconds for loading a model.
    """

    control: str
    frontend: str
    key: str
    patience: float = _CONTROL_SECONDS

    def is_ready(self, model: str) -> bool:
        """Whether a model can be asked."""
        try:
            self._call(f"{self.control}/v2/models/{model}/ready", method="GET", seconds=5)
        except LoadError:
            return False
        return True

    def load(self, model: str) -> None:
        """Load a model, and the models that it needs; or load it again after its configuration was changed."""
        self._call(f"{self.control}/v2/repository/models/{model}/load", {}, seconds=self.patience)

    def unload(self, model: str) -> None:
        """Unload a model, and those that were loaded for it; requests under way are answered first."""
        body = {"parameters": {"unload_dependents": True}}
        self._call(f"{self.control}/v2/repository/models/{model}/unload", body, seconds=self.patience)

    def announce(self, model: str) -> None:
        """Make a model known to the OpenAI API: it lists only what was loaded through it."""
        headers = {KEY_HEADER: self.key}
        self._call(f"{self.frontend}/v1/models/{model}/load", {}, headers=headers, seconds=self.patience)

    def is_announced(self, model: str) -> bool:
        """Whether the OpenAI API knows a model."""
        try:
            self._call(f"{self.frontend}/v1/models/{model}", method="GET", headers={KEY_HEADER: self.key}, seconds=10)
        except LoadError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return False
            raise
        return True

    def is_alive(self) -> bool:
        """Whether the server takes commands."""
        try:
            self._call(f"{self.control}/v2/health/live", method="GET", seconds=5)
        except LoadError:
            return False
        return True

    def ask(self, model: str, check: Mapping[str, Any]) -> float:
        """Ask a model something real; seconds until it answered.

        Raises:
            LoadError: It did not, said nothing, or took too long.
        """
        body = {"text_input": check["prompt"], "max_tokens": check["tokens"], "stream": False}
        began = time.monotonic()
        answer = self._call(f"{self.control}/v2/models/{model}/generate", body, seconds=check["firstSeconds"])
        took = time.monotonic() - began
        if not str(answer.get("text_output", "")).strip():
            raise LoadError(f"{model} answered nothing: {json.dumps(answer)[:300]}")
        return took

    def _call(
        self,
        url: str,
        body: Mapping[str, Any] | None = None,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        seconds: float,
    ) -> Mapping[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        given = {"content-type": "application/json", **(headers or {})}
        request = urllib.request.Request(url, data=data, headers=given, method=method)
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise LoadError(
                f"{method} {url}: {error.code} {error.read()[:1000].decode(errors='replace')}", error.code
            ) from None
        except (OSError, ValueError) as error:
            raise LoadError(f"{method} {url}: {error}") from None
        try:
            found: Any = json.loads(text) if text else {}
        except ValueError:
            raise LoadError(f"{method} {url}: no JSON: {text[:300]!r}") from None
        return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}


@dataclass
class Loader:
    """What is loaded, and how it is changed.

    Attributes:
        server: The server of this pod.
        cache: The disk that both have.
        download: How files are fetched; for tests.
        serving: What serves.
    """

    server: Server
    cache: Path
    download: sync.Download | None = None
    serving: Release | None = None

    def serve(self, release: Release) -> None:
        """Serve a release in place of the one before.

        Raises:
            sync.FetchError: It cannot be fetched; the one before serves on.
            sync.ReleaseError: It is not what was declared; the same.
            LoadError: It cannot be loaded or does not answer; the one before serves on.
        """
        before = self.serving
        sync.fetch(release.wanted, self.cache, self.download)
        self._place(release)
        try:
            self.server.load(release.candidate)
            self._try(release.candidate, release.check)
        except LoadError:
            self._give_up(release)
            raise
        try:
            self._point(release)
            self._try(release.served, release.check)
        except LoadError:
            if before is not None:
                self._point(before)
            self._give_up(release)
            raise
        self.serving = release
        (self.cache / CURRENT).write_text(release.text)
        self.mark()
        print(f"release {release.name} serves {release.served}", flush=True)
        if before is not None and before.name != release.name:
            self._leave(before)

    def mark(self) -> None:
        """Say whether the model answers: the pod's readiness is a file."""
        path = self.cache / SERVING
        if self.serving is not None and self.server.is_ready(self.serving.served):
            path.write_text(self.serving.name)
        else:
            path.unlink(missing_ok=True)

    def resume(self) -> None:
        """Take up what an earlier run of this container left serving."""
        path = self.cache / CURRENT
        if path.exists():
            release = Release.of(path.read_text())
            if self.server.is_ready(release.served) and self.server.is_announced(release.served):
                self.serving = release

    def recover(self) -> None:
        """Serve again what was lost: everything, where the server was restarted; or the way to the models."""
        release = self.serving
        if release is None:
            return
        try:
            lost = not self.server.is_announced(release.served)
        except LoadError:
            return  # it starts, or it is busy: the next look will tell
        if lost:
            print("the server was restarted", flush=True)
            self.serving = None
            self.mark()
            self.serve(release)
        elif not self.server.is_ready(release.served):
            print(f"{release.served} is away, and is pointed to {release.name} again", flush=True)
            self._point(release)

    def _place(self, release: Release) -> None:
        """Put a release's models into the repository, each with its code from the image."""
        for model, config in release.configs.items():
            if model != release.served:
                self._write(model, config, release.code.get(model, ""))

    def _write(self, model: str, config: str, code: str = "") -> None:
        """One model's folder; its configuration is exchanged in one step, because the server may be reading."""
        version = self.cache / "repository" / model / "1"
        version.mkdir(parents=True, exist_ok=True)
        if code:
            shutil.copytree(self.cache / "code" / code / "1", version, dirs_exist_ok=True)
        partial = version.parent / ".config.pbtxt"
        partial.write_text(config)
        partial.rename(version.parent / "config.pbtxt")

    def _point(self, release: Release) -> None:
        """Let the clients' name mean the models of a release."""
        self._write(release.served, release.configs[release.served])
        if self.server.is_announced(release.served):
            self.server.load(release.served)
        else:
            self.server.announce(release.served)

    def _try(self, model: str, check: Mapping[str, Any]) -> None:
        """The first answer may be slow, because much is done once; the second must be as fast as declared."""
        if not self.server.is_ready(model):
            raise LoadError(f"{model} is loaded and not ready")
        self.server.ask(model, check)
        took = self.server.ask(model, check)
        if took > check["seconds"]:
            raise LoadError(f"{model} took {took:.1f} s for {check['tokens']} tokens; {check['seconds']} s are allowed")

    def _give_up(self, release: Release) -> None:
        """Take a release that failed out of the server; what it served before is untouched."""
        if self.serving is None or self.serving.name != release.name:
            self._unload(release)
            self._remove(release)

    def _leave(self, release: Release) -> None:
        """Take out the release that served before; its requests are answered first."""
        self._unload(release)
        self._remove(release)
        sync.keep_only(self.cache, {self.serving.name} if self.serving else set())

    def _unload(self, release: Release) -> None:
        """Unload a release. Where only some of its models could be loaded, those are not dependents of anything."""
        own = [model for model in release.configs if model not in (release.candidate, release.served)]
        for model in (release.candidate, *own):
            try:
                if model == release.candidate or self.server.is_ready(model):
                    self.server.unload(model)
            except LoadError as failed:  # it holds memory, and nothing else is wrong
                print(f"{model} could not be unloaded: {failed}", file=sys.stderr, flush=True)

    def _remove(self, release: Release) -> None:
        for model in release.configs:
            if model != release.served:
                shutil.rmtree(self.cache / "repository" / model, ignore_errors=True)


def run(loader: Loader, path: Path, *, rounds: int | None = None, pause: float = _POLL_SECONDS) -> None:
    """Serve what the file says, and follow it when it changes.

    The first release must work: a server without one is of no use, so its failure ends this container, and the pod is
    not ready. Later ones may fail: then the release before serves on until the file changes again.

    Args:
        loader: The loader.
        path: The file that the program wrote.
        rounds: How often to look; for tests.
        pause: Seconds between looks.
    """
    refused = ""
    while rounds is None or rounds > 0:
        text = path.read_text()
        if loader.serving is None:
            loader.serve(Release.of(text))
        elif text not in (loader.serving.text, refused):
            release = Release.of(text)
            try:
                loader.serve(release)
            except sync.FetchError as failed:
                print(f"release {release.name} is tried again: {failed}", file=sys.stderr, flush=True)
            except (LoadError, sync.ReleaseError) as failed:
                refused = text
                print(f"release {release.name} failed, {loader.serving.name} serves on: {failed}", file=sys.stderr)
        else:
            loader.recover()
        loader.mark()
        rounds = None if rounds is None else rounds - 1
        if rounds is None or rounds > 0:
            time.sleep(pause)


def main() -> int:
    """What runs beside the server, as long as the pod."""
    cache = Path(os.environ["CACHE"])
    server = Server(control=os.environ["CONTROL"], frontend=os.environ["FRONTEND"], key=(cache / sync.KEY).read_text())
    while not server.is_alive():  # the startup probe of this container is the limit
        time.sleep(_POLL_SECONDS)
    loader = Loader(server=server, cache=cache)
    try:
        loader.resume()
        loader.mark()
        run(loader, Path(os.environ["RELEASE"]))
    except (LoadError, sync.FetchError, sync.ReleaseError) as failed:
        print(f"failed: {failed}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
