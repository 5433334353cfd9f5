"""Which processes of earlier runs count as running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from sandbox.processes import alive

pytestmark = pytest.mark.unit


def test_a_process_counts_while_it_runs_and_not_once_it_is_killed_though_nobody_has_collected_it():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        assert alive(process.pid)
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it is dead, and still has its entry
        assert not alive(process.pid)
    finally:
        process.kill()
        process.wait()
    assert not alive(process.pid)
