"""An estate in a sealed place: environments as network segments, hosts in them, a router with real nftables rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any, Self

from lab.sealed import Finished, Process, Sealed

CORE = "core"
_SYSCTLS = (
    "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.router_solicitations=0",
    "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0",
)  # fmt: skip
_ROUTER_SYSCTLS = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")


@dataclass(frozen=True, slots=True)
class Host:
    """A host: its addresses with prefix lengths, of either family."""

    name: str
    addresses: tuple[str, ...]

    def address(self, family: int = 4) -> str:
        """Its first address of a family."""
        return next(str(ip_interface(a).ip) for a in self.addresses if ip_interface(a).version == family)


@dataclass(frozen=True, slots=True)
class Segment:
    """An environment's network: the router has the first address of each of its networks."""

    name: str
    networks: tuple[str, ...]
    hosts: tuple[Host, ...]

    @property
    def gateways(self) -> tuple[str, ...]:
        """The router's addresses in it, with prefix lengths."""
        return tuple(f"{net[1]}/{net.prefixlen}" for net in map(ip_network, self.networks))


@dataclass(frozen=True, slots=True)
class Plan:
    """What to build. `rules` are nftables statements of the router's forward chain, in order, before its final drop."""

    segments: tuple[Segment, ...]
    rules: tuple[str, ...] = ()
    names: dict[str, str] = field(default_factory=dict)  # /etc/hosts: name -> address

    def host(self, name: str) -> Host:
        """The host of that name."""
        return next(host for segment in self.segments for host in segment.hosts if host.name == name)


CORE_SEGMENT = Segment(CORE, ("10.0.0.0/24", "fd00::/64"), (Host("coordinator", ("10.0.0.10/24", "fd00::10/64")),))


class Estate:
    """A built plan. `place` runs processes on its hosts."""

    def __init__(self, plan: Plan, place: Sealed | None = None) -> None:
        self.plan = plan
        self.place = place or Sealed()
        try:
            self._build()
            self.rules(plan.rules)
        except BaseException:
            self.place.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Tear it down."""
        self.place.close()

    @property
    def directory(self) -> Path:
        """Files of the lab; ordinary ones, also reached from outside."""
        return self.place.directory

    def run(self, host: str, argv: Sequence[str], **more: Any) -> Finished:
        """Run a command on a host to its end."""
        return self.place.run(host, argv, **more)

    def spawn(self, host: str, argv: Sequence[str], **more: Any) -> Process:
        """Start a process on a host."""
        return self.place.spawn(host, argv, **more)

    def nft(self, host: str, text: str) -> Finished:
        """Load an nftables script on a host, or on the router."""
        return self.run(host, ["nft", "-f", "-"], text=text).check()

    def rules(self, rules: Sequence[str]) -> None:
        """Replace the router's rules between environments, in one transaction; existing connections are forgotten."""
        self.nft("router", ruleset(self.plan, rules))

    def _build(self) -> None:
        if self.plan.names:
            lines = ["127.0.0.1 localhost", "::1 localhost", *(f"{a} {n}" for n, a in self.plan.names.items())]
            (self.directory / "hosts").write_text("\n".join(lines) + "\n", "utf-8")
        spaces = ["router", *(host.name for s in self.plan.segments for host in s.hosts)]
        spaces += [f"switch-{s.name}" for s in self.plan.segments]
        self._ip("", [f"netns add {name}" for name in spaces])
        sysctls = " ".join(_SYSCTLS)
        script = "".join(
            f"ip netns exec {name} sysctl -qw {sysctls}\n" for name in spaces if not name.startswith("switch-")
        )
        script += f"ip netns exec router sysctl -qw {' '.join(_ROUTER_SYSCTLS)}\n"
        script += "".join(
            f"ip netns exec switch-{s.name} sh -c 'for f in /proc/sys/net/bridge/bridge-nf-call-*; "
            f"do [ ! -e $f ] || echo 0 > $f; done; sysctl -qw net.ipv6.conf.all.disable_ipv6=1'\n"
            for s in self.plan.segments
        )
        self.run("", ["sh", "-e"], text=script).check()
        for number, segment in enumerate(self.plan.segments):
            self._segment(number, segment)

    def _segment(self, number: int, segment: Segment) -> None:
        switch, router = f"switch-{segment.name}", f"lan{number}"
        links = ["link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0", "link set br0 up"]
        ends = [(host.name, "eth0", f"p{index}", host.addresses) for index, host in enumerate(segment.hosts)]
        ends.append(("router", router, "pr", segment.gateways))
        for name, interface, port, _ in ends:
            links.append(f"link add {port} type veth peer name {interface} netns {name}")
            links.append(f"link set {port} master br0 up")
        self._ip(switch, links)
        for name, interface, _, addresses in ends:
            lines = [f"link set {interface} up", "link set lo up"]
            lines += [f"addr add {a} dev {interface}{' nodad' if ':' in a else ''}" for a in addresses]
            if name != "router":
                for gateway in segment.gateways:
                    address = ip_interface(gateway)
                    if any(ip_interface(a).version == address.version for a in addresses):
                        lines.append(f"{'-6 ' if address.version == 6 else ''}route add default via {address.ip}")  # noqa: PLR2004
            self._ip(name, [line for line in lines if not line.startswith("-6 ")])
            self._ip(name, [line.removeprefix("-6 ") for line in lines if line.startswith("-6 ")], "-6")

    def _ip(self, space: str, lines: Sequence[str], *options: str) -> None:
        if lines:
            command = ["ip", *(("-n", space) if space else ()), *options, "-batch", "-"]
            self.run("", command, text="\n".join(lines) + "\n").check()


def ruleset(plan: Plan, rules: Sequence[str]) -> str:
    """The router's whole ruleset: what is established is let through, the core may talk with everybody, then `rules`, then drop."""
    core = [net for segment in plan.segments if segment.name == CORE for net in segment.networks]
    lines = [f"ip{'6' if ':' in net else ''} {way} {net} accept" for net in core for way in ("saddr", "daddr")]
    body = "\n    ".join(("ct state established,related accept", *lines, *rules, "counter drop"))
    return (
        "add table inet lab\ndelete table inet lab\n"
        "table inet lab {\n  chain forward {\n    type filter hook forward priority 0; policy drop;\n"
        f"    {body}\n  }}\n}}\n"
    )
