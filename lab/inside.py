"""Process 1 of a lab: inside its own user, mount, network and process namespaces. When it ends, all of the lab ends.

Speaks JSON over a sequential-packet socket on descriptor 3; the three standard files of a process to start come along.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from typing import Any

MOST = 1024 * 1024


def main() -> None:
    """Serve until the parent closes its end."""
    # The parent decides. What is ignored would be ignored by all that is started here; a handler ends with exec.
    signal.signal(signal.SIGINT, lambda *_: None)
    control = socket.socket(fileno=3)
    # `ip netns` keeps its names under /run, which is not ours to write to; names in shared memory hold numbers of
    # processes, of which every lab has the same.
    for place in "/run", "/dev/shm":  # noqa: S108 - mounted over
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
    control.send(json.dumps({"ready": True}).encode())
    children: dict[int, subprocess.Popen[bytes]] = {}
    while True:
        data, fds, _, _ = socket.recv_fds(control, MOST, 3)
        if not data:
            return
        try:
            answer = _serve(json.loads(data), fds, children)
        except OSError as error:
            answer = {"error": f"{error.strerror}: {error.filename or ''}"}
        finally:
            for fd in fds:
                os.close(fd)
        control.send(json.dumps(answer).encode())


def _serve(request: dict[str, Any], fds: list[int], children: dict[int, subprocess.Popen[bytes]]) -> dict[str, Any]:
    match request["op"]:
        case "spawn":
            process = subprocess.Popen(
                request["argv"],
                stdin=fds[0],
                stdout=fds[1],
                stderr=fds[2],
                env=request["env"],
                cwd=request["cwd"],
                start_new_session=True,
            )
            children[process.pid] = process
            return {"pid": process.pid}
        case "poll":
            _reap(children)
            child = children.get(request["pid"])
            return {"returncode": child.poll() if child else None}
        case "signal":
            with contextlib.suppress(ProcessLookupError):
                os.kill(request["pid"], request["signal"])
            return {}
        case _:
            return {"error": f"unknown request {request['op']}"}


def _reap(children: dict[int, subprocess.Popen[bytes]]) -> None:
    """Process 1 inherits orphans; those that are not ours to wait for are cleared away."""
    for child in children.values():
        child.poll()
    with contextlib.suppress(ChildProcessError):
        info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if info is not None and info.si_pid not in children:
            os.waitpid(info.si_pid, os.WNOHANG)


if __name__ == "__main__":
    main()
