"""One real control plane per stack, run by kwokctl on loopback."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from sandbox.kubernetes.api import Client
from sandbox.toolchain.control_plane import ControlPlaneBinaries

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
        """Whether its API server answers and every component runs."""
        return self.exists and self._running() and self.client().healthy()

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
        if not self.healthy():
            raise ClusterError(f"the control plane {self.name} is not ready{self._last_words()}")
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
        flags += [
            "--runtime",
            "binary",
            "--kubeconfig",
            str(self.kubeconfig),
            "--kube-scheduler-config",
            str(scheduler),
        ]
        flags += ["--disable-qps-limits", "--wait", _WAIT]
        flags += [item for argument in _COMPONENT_ARGUMENTS for item in ("--extra-args", argument)]
        try:
            self._kwokctl("create", "cluster", "--name", self.name, *flags)
        except BaseException:  # an interrupt too must not leave processes of half a cluster
            self._kwokctl("delete", "cluster", "--name", self.name, check=False)
            self.kubeconfig.unlink(missing_ok=True)
            raise
        self.kubeconfig.chmod(0o600)

    def _running(self) -> bool:
        pids = [path.read_text().strip() for path in (self._home / "pids").glob("*.pid")]
        return bool(pids) and all(_alive(pid) for pid in pids)

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


def _alive(pid: str) -> bool:
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except OSError:
        return False
    return True
