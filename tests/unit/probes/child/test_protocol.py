"""The packet child as a process of its own."""

from __future__ import annotations

import subprocess
import sys

from probes.child.protocol import Configure, frame


def test_a_child_whose_daemon_was_killed_ends_without_a_word() -> None:
    """Its first order may still be in the pipe when nobody reads its answer any more."""
    command = [sys.executable, "-P", "-m", "probes.child"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        child.stdin.write(
            frame(Configure(agent="dev-1", rate_pps=1, flows=1, held=(), broker_host="127.0.0.1", broker_port=1))
        )
        child.stdin.flush()
        assert (child.wait(20), child.stderr.read()) == (0, b"")
