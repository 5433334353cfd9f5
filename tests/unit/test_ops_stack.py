"""The way to a stack's cluster: by the stack's credentials, else by the operator's, never to another cluster."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.stack import Stack, StackError, same_cluster

pytestmark = pytest.mark.unit

ADDRESS = "https://192.168.10.10:6443"
TOKEN = {"token": "t"}
STACK = Stack("onprem", sandbox=False, outputs={})


def kubeconfig(server: str, authority: str = "", user: dict[str, Any] | None = None) -> str:
    known = {"server": server, **({"certificate-authority-data": authority} if authority else {})}
    return yaml.safe_dump(
        {
            "clusters": [{"name": "c", "cluster": known}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "c",
            "users": [{"name": "u", "user": user or {}}],
        }
    )


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The operator's kubeconfig; kubectl shows a file as it is."""

    def shown(path: Path, arguments: Sequence[str]) -> str:
        assert list(arguments[:2]) == ["config", "view"]
        return json.dumps(yaml.safe_load(path.read_text()) if path.exists() else {"clusters": None})

    monkeypatch.setattr("ops.stack.kubectl", shown)
    place = tmp_path / "own"
    monkeypatch.setenv("KUBECONFIG", str(place))
    return place


def told(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("ops.stack.pulumi", lambda arguments, sandbox: text)  # noqa: ARG005 - as the engine's


def test_credentials_of_the_stack_are_taken_where_it_has_some(monkeypatch: pytest.MonkeyPatch, own: Path):
    own.write_text(kubeconfig("https://192.0.2.1:6443", user=TOKEN))
    text = kubeconfig(ADDRESS, user={"exec": {"command": "aws"}})
    told(monkeypatch, text)

    with STACK.kubeconfig() as path:
        assert path.read_text() == text
        assert path.stat().st_mode & 0o077 == 0

    assert not path.exists()


def test_a_cluster_that_was_there_is_reached_as_the_operator_reaches_it(monkeypatch: pytest.MonkeyPatch, own: Path):
    own.write_text(kubeconfig(ADDRESS, user=TOKEN))
    told(monkeypatch, kubeconfig(ADDRESS, "AUTHORITY"))

    with STACK.kubeconfig() as path:
        assert path == own


@pytest.mark.parametrize("there", [True, False])
def test_another_cluster_or_none_is_refused(monkeypatch: pytest.MonkeyPatch, own: Path, there: bool):
    if there:
        own.write_text(kubeconfig("https://192.0.2.1:6443", "ANOTHER", TOKEN))
    told(monkeypatch, kubeconfig(ADDRESS, "AUTHORITY"))

    with pytest.raises(StackError, match="set KUBECONFIG"), STACK.kubeconfig():
        pass


def test_the_same_cluster_under_another_name_is_known_by_its_authority(own: Path, tmp_path: Path):
    own.write_text(kubeconfig("https://api.dc1.internal:6443", "AUTHORITY"))
    (tmp_path / "known").write_text(kubeconfig(ADDRESS, "AUTHORITY"))

    assert same_cluster(own, tmp_path / "known")
