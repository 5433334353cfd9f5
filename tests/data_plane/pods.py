"""Containers as the program emits them, run as processes: Secrets are files and variables, as in the cluster.

Secrets are what External Secrets would make of the emitted objects and the entries of a store.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.unit.conftest import Recorded

Secrets = Mapping[tuple[str, str], Mapping[str, str]]
"""Namespace and name to keys and values."""

_EXTERNAL_SECRET = "kubernetes:external-secrets.io/v1:ExternalSecret"
_PATIENCE_SECONDS = 300

# What a process finds instead of the cluster's DNS: names with ports, and where they are here.
_RESOLVER = """
import os, socket
_places = dict(one.split("=") for one in os.environ.get("RESOLVE", "").split(";") if one)
_genuine = socket.getaddrinfo
def _getaddrinfo(host, port, *args, **kwargs):
    place = _places.get(f"{host}:{port}")
    if place:
        host, _, port = place.partition(":")
        port = int(port)
    return _genuine(host, port, *args, **kwargs)
socket.getaddrinfo = _getaddrinfo
"""


def synced(resources: Sequence[Recorded], store: Mapping[str, Mapping[str, str]], certificates: str) -> Secrets:
    """The Secrets that come of the emitted ExternalSecrets, with the values of ``store`` by key."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for one in resources:
        if one.type != _EXTERNAL_SECRET:
            continue
        spec, metadata = one.inputs["spec"], one.inputs["metadata"]
        of_certificates = spec["secretStoreRef"]["name"] == "database-ca"
        values = {
            item["secretKey"]: certificates
            if of_certificates
            else store[item["remoteRef"]["key"]][item["remoteRef"]["property"]]
            for item in spec["data"]
        }
        template = spec["target"].get("template", {}).get("data")
        found[metadata["namespace"], spec["target"]["name"]] = (
            {key: _filled(str(text), values) for key, text in template.items()} if template else values
        )
    return found


def _filled(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\{\{ *\.(\w+) *\}\}", lambda match: values[match[1]], text)


@dataclass(frozen=True)
class Pod:
    """One pod of an emitted object.

    Attributes:
        spec: Specification of the pod.
        namespace: Where it runs.
        secrets: What the Secrets hold.
        configuration: What the ConfigMaps hold, by name.
        folder: Where volumes are made.
        programs: Folders that come first on the path, as the image has them.
        resolve: Names with ports, as clients ask for them, and where they are here.
        environment: What this machine needs otherwise than the cluster.
    """

    spec: Mapping[str, Any]
    namespace: str
    secrets: Secrets
    folder: Path
    configuration: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    programs: Sequence[Path] = ()
    resolve: Mapping[str, str] = field(default_factory=dict[str, str])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    def run(self, container: str) -> subprocess.CompletedProcess[str]:
        """Run a container to its end."""
        command, environment = self._prepared(container)
        return subprocess.run(
            command,
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            start_new_session=True,  # without a terminal, as in a pod
            check=False,
        )

    def start(self, container: str, replacing: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
        """Start a container, with other words in its command, such as a port that is free here."""
        command, environment = self._prepared(container)
        for old, new in replacing.items():
            assert any(old in word for word in command), f"{old} is not in the command"
            command = [word.replace(old, new) for word in command]
        with log.open("wb") as output:
            return subprocess.Popen(command, env=environment, cwd=self.folder, stdout=output, stderr=subprocess.STDOUT)

    def _prepared(self, name: str) -> tuple[list[str], dict[str, str]]:
        (container,) = [one for one in self.spec["containers"] if one["name"] == name]
        places = {mount["mountPath"]: self._volume(mount["name"]) for mount in container.get("volumeMounts", ())}
        (self.folder / "sitecustomize.py").write_text(_RESOLVER)
        given = {one["name"]: self._value(one, places) for one in container.get("env", ())}
        command = [
            self._moved(str(word), places) for word in (*container.get("command", ()), *container.get("args", ()))
        ]
        return command, {
            **given,
            "PATH": os.pathsep.join([*map(str, self.programs), os.environ["PATH"]]),
            "PYTHONPATH": str(self.folder),
            "RESOLVE": ";".join(f"{name}={place}" for name, place in self.resolve.items()),
            **self.environment,
        }

    def _value(self, variable: Mapping[str, Any], places: Mapping[str, Path]) -> str:
        if "value" in variable:
            return self._moved(str(variable["value"]), places)
        reference = variable["valueFrom"]["secretKeyRef"]
        return self.secrets[self.namespace, reference["name"]][reference["key"]]

    def _moved(self, text: str, places: Mapping[str, Path]) -> str:
        """Paths of mounts, as they are here; a folder that only holds mounts, too."""
        for path, place in sorted(places.items(), reverse=True):
            if path != "/tmp":
                text = re.sub(rf"{re.escape(path)}(?=/|$)", str(place), text)
        parents = {path.rsplit("/", 1)[0] for path in places}
        return str(self._gathered(text, places)) if text in parents and text not in ("", "/var/run", "/etc") else text

    def _gathered(self, folder: str, places: Mapping[str, Path]) -> Path:
        here = self.folder / "mounts"
        for path, place in places.items():
            if path.startswith(f"{folder}/"):
                link = here / path.removeprefix(f"{folder}/")
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.exists():
                    link.symlink_to(place)
        return here

    def _volume(self, name: str) -> Path:
        (volume,) = [one for one in self.spec["volumes"] if one["name"] == name]
        place = self.folder / "volumes" / name
        place.mkdir(parents=True, exist_ok=True)
        files: Mapping[str, str] = {}
        if "secret" in volume:
            files = self.secrets[self.namespace, volume["secret"]["secretName"]]
        elif "configMap" in volume:
            files = self.configuration[volume["configMap"]["name"]]
        for key, value in files.items():
            (place / key).write_text(value)
        return place
