"""The units, as text: systemd.service(5), systemd.exec(5), systemd.timer(5). Their sandbox is written once, here.

Each is held to `systemd-analyze security` of at most 2.0 by its test. What a unit is given beyond the common sandbox
stands beside its reason.
"""

from __future__ import annotations

from pathlib import PurePosixPath

AGENT, COORDINATOR, VERIFY = "segwatch-agent", "segwatch-coordinator", "segwatch-verify"
AGENT_USER = "segwatch"  # agent.privileges.OWN_USER: the daemon already is the user that it would change to
COORDINATOR_USER = "segwatch-coordinator"  # of its own: an agent beside it that was taken over reads no signing key
STATE = PurePosixPath("/var/lib/segwatch")
CONFIGURATION = PurePosixPath("/etc/segwatch")
UNITS = PurePosixPath("/etc/systemd/system")
USERS = PurePosixPath("/etc/sysusers.d")
OWNERS = PurePosixPath("/etc/tmpfiles.d")
# Where Debian packages have theirs, of the same text (deploy/debian/build.py).
PACKAGED = {
    UNITS: PurePosixPath("/lib/systemd/system"),
    USERS: PurePosixPath("/usr/lib/sysusers.d"),
    OWNERS: PurePosixPath("/usr/lib/tmpfiles.d"),
}
FIRST_FREE_PORT = 1024

_SANDBOX = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
PrivateDevices=yes
DevicePolicy=closed
PrivateTmp=yes
PrivateMounts=yes
KeyringMode=private
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
# Each process gives up more on its own: capabilities, core dumps, and for the packet child further system calls.
SystemCallFilter=capset setrlimit seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self
LimitCORE=0
UMask=0077
"""

# A daemon says itself when it serves, how it is, and that it makes progress; one that hangs is ended, which is a failure.
_ALWAYS = """\
Type=notify
NotifyAccess=main
TimeoutStartSec=5min
WatchdogSec=2min
Restart=on-failure
RestartSec=10
"""

# The shell's own: /bin/kill is in a package (procps) that a small Debian does not have.
_RELOAD = """\
ExecReload=/bin/sh -c 'kill -HUP $MAINPID'
"""


def agent(program: str) -> str:
    """The agent's unit: CAP_NET_RAW reaches the daemon, which hands it on to its packet child alone (decision 017)."""
    return f"""\
[Unit]
Description=segwatch agent: probes other environments, witnesses what arrives here
Documentation=man:systemd.exec(5)
Wants=network-online.target
After=network-online.target
# A broker that is away is waited for by the agent; a start that fails is tried again, without end.
StartLimitIntervalSec=0

[Service]
ExecStart={program} agent --state-dir {STATE}/agent --log json
# Networks, rate and blackouts are read again; a file that cannot be used is refused and the old one stays.
{_RELOAD}User={AGENT_USER}
Group={AGENT_USER}
StateDirectory=segwatch/agent
StateDirectoryMode=0700
{_ALWAYS}
# The packet child's, and nothing else's: the daemon keeps it without using it.
AmbientCapabilities=CAP_NET_RAW
CapabilityBoundingSet=CAP_NET_RAW
# AF_PACKET: the packet child captures; AF_NETLINK: addresses and routes of this host.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET
# A round holds a socket for each source port.
LimitNOFILE=65536
TasksMax=512
{_SANDBOX}
[Install]
WantedBy=multi-user.target
"""


def coordinator(program: str, *, low_ports: bool) -> str:
    """The coordinator's unit, with the broker that it starts.

    Args:
        program: `segwatch`'s absolute path.
        low_ports: whether it listens below port 1024.
    """
    capability = "CAP_NET_BIND_SERVICE" if low_ports else ""
    # In a user namespace of its own a process has no say over the host's ports.
    namespace = "" if low_ports else "PrivateUsers=yes\n"
    return f"""\
[Unit]
Description=segwatch coordinator: rounds, store, findings, broker
Documentation=man:systemd.exec(5)
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart={program} coordinator --config {CONFIGURATION}/coordinator.yaml --log json
# The topology is loaded again; one that does not load is refused and the old one stays.
{_RELOAD}User={COORDINATOR_USER}
Group={COORDINATOR_USER}
StateDirectory=segwatch/coordinator
StateDirectoryMode=0700
{_ALWAYS}
AmbientCapabilities={capability}
CapabilityBoundingSet={capability}
{namespace}# It keeps its broker's certificate beside the CA that issues it.
ReadWritePaths={CONFIGURATION}/pki
# AF_NETLINK: the addresses of this host, at which agents' controls are answered.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
ProcSubset=pid
LimitNOFILE=65536
TasksMax=512
{_SANDBOX}
[Install]
WantedBy=multi-user.target
"""


def verify(program: str) -> str:
    """The periodic test. Its exit code is the unit's: 1 (a path fails) and 3 (not proven) are failures, too."""
    kept = STATE / "verify"
    return f"""\
[Unit]
Description=segwatch verify: the reachability test
Documentation=man:systemd.exec(5)
After={COORDINATOR}.service

[Service]
Type=oneshot
# Its output goes to the journal, those of a failure as errors: journalctl -u {VERIFY} -p err
ExecStart={program} verify --state-dir {STATE}/coordinator --quiet --timeout 50m \
--report json={kept}/result.json --report junit={kept}/junit.xml
TimeoutStartSec=1h
User={COORDINATOR_USER}
Group={COORDINATOR_USER}
StateDirectory=segwatch/verify
StateDirectoryMode=0700
AmbientCapabilities=
CapabilityBoundingSet=
# It speaks with the coordinator's socket, and with nobody else.
RestrictAddressFamilies=AF_UNIX
PrivateNetwork=yes
IPAddressDeny=any
PrivateUsers=yes
ProcSubset=pid
TasksMax=64
{_SANDBOX}"""


def timer(calendar: str) -> str:
    """When the periodic test runs: an expression of systemd.time(7)."""
    return f"""\
[Unit]
Description=segwatch verify, periodically
Documentation=man:systemd.timer(5)

[Timer]
OnCalendar={calendar}
Persistent=yes
RandomizedDelaySec=60

[Install]
WantedBy=timers.target
"""


def sysusers(user: str, text: str) -> str:
    """A system user without a shell or a home: sysusers.d(5)."""
    return f'u {user} - "{text}" - -\n'


def stamp(timer_unit: str) -> PurePosixPath:
    """Where systemd keeps when a timer with Persistent= ran last: installed again later, it would run at once."""
    return PurePosixPath(f"/var/lib/systemd/timers/stamp-{timer_unit}")


def owned(directory: PurePosixPath, user: str) -> str:
    """A directory and what is in it are a user's, from each boot on: tmpfiles.d(5)."""
    return f"Z {directory} - {user} {user} -\n"
