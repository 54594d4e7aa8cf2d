"""What tests of the packet child's confinement share: a host with its user, what `--check` shows, what the kernel has."""

from __future__ import annotations

import ctypes

LANDLOCK = ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1) > 0  # the version of landlock(7)
SHOWN = "from cli.agent.sandbox import lines; from pathlib import Path; import sys; print(*lines(Path(sys.argv[1]), *sys.argv[2:] or ['']), sep='\\n')"

# In the mount namespace of `open_to_all`: a host that has the packet child's user.
CHILDS = """
users=$(mktemp)
cat /etc/passwd > "$users"
echo "segwatch-packets:x:64998:64998::/nonexistent:/usr/sbin/nologin" >> "$users"
chmod 644 "$users"
mount --bind "$users" /etc/passwd
rm "$users"
exec "$@"
"""
CHILDS_USER = 64998


def with_childs_user() -> list[str]:
    return ["sh", "-euc", CHILDS, "sh"]
