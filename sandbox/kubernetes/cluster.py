"""One real control plane per stack, run by kwokctl on loopback."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from sandbox.kubernetes.api import Client
from sandbox.processes import alive
from sandbox.toolchain.control_plane import ControlPlaneBinaries

# Six ports a cluster from a block of its own: below the range that systems give to outgoing connections (Linux from
# 32768, macOS from 49152), and by name, so that a stopped cluster finds its ports free when it comes back.
_FIRST_PORT, _BLOCKS, _BLOCK_SIZE = 20000, 1200, 10
_PORTS = (
    "etcdPort",
    "etcdPeerPort",
    "kubeApiserverPort",
    "kubeControllerManagerPort",
    "kubeSchedulerPort",
    "kwokControllerPort",
)
_HEALTH_SECONDS = 5.0
_POLL_SECONDS = 0.2
_WAIT_SECONDS = 60.0  # for the other components once the API server is ready; they take 1 s on an idle machine
_WAIT = "120s"  # a cluster is ready in 5 s on an idle machine; a busy one is slower
_LOG_TAIL_LINES = 5

_COMPONENT_ARGUMENTS = (
    # Nothing runs behind a Service here, so no webhook would ever answer; the configurations are stored and not called.
    "kube-apiserver=disable-admission-plugins=MutatingAdmissionWebhook,ValidatingAdmissionWebhook",
    # The etcd that a wheel carries (3.5.1) is older than what streaming lists need. With the feature off the server
    # says so, and clients list at once; otherwise they fall back after a pause of seconds, again and again.
    "kube-apiserver=feature-gates=WatchList=false",
    # There is one of each; after a restart they would wait for the lease of the one that was killed.
    "kube-controller-manager=leader-elect=false",
    "kube-scheduler=leader-elect=false",
)

# A pod that waits for a node is tried again within a second, not after the ten of the default.
_SCHEDULER = """\
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
podInitialBackoffSeconds: 1
podMaxBackoffSeconds: 1
"""


class ClusterError(Exception):
    """The control plane did not do what it should; the message ends with its own last words."""


class Cluster:
    """The control plane of one stack.

    Everything lies in ``folder``: certificates, etcd's data, logs, the kubeconfig. Clusters of different folders share
    nothing, and their ports are free ones, so that several run at a time.
    """

    def __init__(self, folder: Path, binaries: ControlPlaneBinaries | None = None) -> None:
        """Describe the cluster in ``folder``; ``binaries`` are needed to create it, not to stop or delete it."""
        self._folder = folder.resolve()
        self._binaries = binaries
        self.name = "sandbox-" + hashlib.sha256(str(self._folder).encode()).hexdigest()[:8]
        self.kubeconfig = self._folder / "kubeconfig.yaml"

    @property
    def _home(self) -> Path:
        return self._folder / "kwok" / "clusters" / self.name

    @property
    def exists(self) -> bool:
        """Whether it was created, running or not."""
        return (self._home / "kwok.yaml").exists() and self.kubeconfig.exists()

    def client(self) -> Client:
        """Return a client of its API server."""
        return Client(self.kubeconfig)

    def healthy(self) -> bool:
        """Whether every component runs, and those that can say so are well."""
        return self.exists and self._running() and self.client().healthy() and self._controllers_healthy()

    def up(self, report: Callable[[str], None]) -> Client:
        """Create the cluster, start it again after a reboot or a crash, or reuse it as it runs.

        Raises:
            ClusterError: It does not become ready.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            if self.healthy():
                return self.client()
            if self.exists:
                report(f"starting the control plane {self.name} again")
                self._kwokctl("stop", "cluster", "--name", self.name, check=False)
                self._kwokctl("start", "cluster", "--name", self.name, "--wait", _WAIT)
            else:
                report(f"creating the control plane {self.name}")
                self._create()
            deadline = time.monotonic() + _WAIT_SECONDS
            while not self.healthy():
                if time.monotonic() > deadline or not self._running():
                    raise ClusterError(f"the control plane {self.name} is not ready{self._last_words()}")
                time.sleep(_POLL_SECONDS)
        return self.client()

    def stop(self) -> None:
        """Stop its processes; what it stores stays."""
        if self.exists:
            with self._locked():
                self._kwokctl("stop", "cluster", "--name", self.name)

    def down(self) -> None:
        """Stop its processes and delete what it stores."""
        if not self._folder.exists():
            return
        with self._locked():
            if self._home.exists():
                self._kwokctl("delete", "cluster", "--name", self.name, "--kubeconfig", str(self.kubeconfig))
        shutil.rmtree(self._folder / "kwok", ignore_errors=True)
        self.kubeconfig.unlink(missing_ok=True)

    def _create(self) -> None:
        if self._binaries is None:
            raise ClusterError(f"the control plane {self.name} was never created")
        if self._home.exists():  # an interrupted creation left half of it
            self._kwokctl("delete", "cluster", "--name", self.name, check=False)
            shutil.rmtree(self._home, ignore_errors=True)
        scheduler = self._folder / "scheduler.yaml"
        scheduler.write_text(_SCHEDULER)
        programs = {
            "etcd": self._binaries.etcd,
            "kube-apiserver": self._binaries.kube_apiserver,
            "kube-controller-manager": self._binaries.kube_controller_manager,
            "kube-scheduler": self._binaries.kube_scheduler,
            "kwok-controller": self._binaries.kwok,
        }
        flags = [item for name, path in programs.items() for item in (f"--{name}-binary", str(path))]
        flags += ["--config", str(self._configure()), "--runtime", "binary"]
        flags += ["--kubeconfig", str(self.kubeconfig), "--kube-scheduler-config", str(scheduler)]
        flags += ["--disable-qps-limits", "--wait", _WAIT]
        flags += [item for argument in _COMPONENT_ARGUMENTS for item in ("--extra-args", argument)]
        try:
            self._kwokctl("create", "cluster", "--name", self.name, *flags)
        except BaseException:  # an interrupt too must not leave processes of half a cluster
            self._kwokctl("delete", "cluster", "--name", self.name, check=False)
            self.kubeconfig.unlink(missing_ok=True)
            raise
        self.kubeconfig.chmod(0o600)

    def _configure(self) -> Path:
        """Write the settings that kwokctl has no flags for."""
        options = dict(zip(_PORTS, free_ports(self.name), strict=True))
        config = {"apiVersion": "config.kwok.x-k8s.io/v1alpha1", "kind": "KwokctlConfiguration", "options": options}
        path = self._folder / "kwokctl.yaml"
        path.write_text(yaml.safe_dump(config))
        return path

    def _controllers_healthy(self) -> bool:
        settings = (self._home / "kwok.yaml").read_text()
        ports = re.findall(r"^ *(?:kubeControllerManagerPort|kubeSchedulerPort): (\d+)$", settings, re.MULTILINE)
        return all(_answers(int(port)) for port in ports)

    def _running(self) -> bool:
        pids = [path.read_text().strip() for path in (self._home / "pids").glob("*.pid")]
        return bool(pids) and all(pid.isdigit() and alive(int(pid)) for pid in pids)

    def _kwokctl(self, *arguments: str, check: bool = True) -> None:
        program = self._folder / "kwokctl"  # remembered, so that stop and down need no search
        if self._binaries is not None:
            program.unlink(missing_ok=True)
            program.symlink_to(self._binaries.kwokctl)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("KWOK_")}
        environment = {**kept, "KWOK_WORKDIR": str(self._folder / "kwok"), "KUBECONFIG": str(self.kubeconfig)}
        try:
            answer = subprocess.run(
                [str(program), *arguments], env=environment, capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise ClusterError(f"kwokctl cannot run: {error}") from error
        if check and answer.returncode != 0:
            lines = answer.stderr.strip().splitlines()[-_LOG_TAIL_LINES:]
            raise ClusterError(f"kwokctl {arguments[0]} cluster failed:\n" + "\n".join(lines) + self._last_words())

    def _last_words(self) -> str:
        """Return the last lines of the components' logs; `reset` starts over."""
        words = [f"; logs in {self._home / 'logs'}, `python -m sandbox reset` starts over"]
        for log in sorted((self._home / "logs").glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
            words += [f"{log.stem}: {line}" for line in lines]
        return "\n".join(words)

    @contextmanager
    def _locked(self) -> Generator[None]:
        """Let one process at a time start or stop this cluster."""
        with (self._folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def free_ports(name: str) -> Sequence[int]:
    """Return ports for the cluster ``name``: the block that its name leads to, or the next one that is free.

    Raises:
        ClusterError: Every block is in use.
    """
    first = int(hashlib.sha256(name.encode()).hexdigest(), 16)
    for offset in range(_BLOCKS):
        start = _FIRST_PORT + (first + offset) % _BLOCKS * _BLOCK_SIZE
        ports = range(start, start + len(_PORTS))
        if all(_is_free(port) for port in ports):
            return ports
    raise ClusterError(f"no free ports between {_FIRST_PORT} and {_FIRST_PORT + _BLOCKS * _BLOCK_SIZE}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Go's listeners do
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _answers(port: int) -> bool:
    """Whether a component on loopback says that it is well; its certificate is one that it made for itself."""
    unverified = ssl.create_default_context()
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE  # loopback, and nothing secret is sent
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=_HEALTH_SECONDS, context=unverified)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()
