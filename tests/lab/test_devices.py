"""The same boundary through other devices than Ethernet: where packets go and what they look like there is the kernel's word."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.estate import Estate
from tests.lab.pair import DEV, scene, sweep

pytestmark = pytest.mark.lab

TUNNEL = Path(__file__).with_name("tunnel.py")
ROUTER_SIDE = "lan1"  # of dev's segment
UNDERLAY = ("192.168.77.2", "192.168.77.1")  # dev-1's and the router's
GATEWAY = "10.10.0.1"


def _do(estate: Estate, *lines: str) -> None:
    estate.run("", ["sh", "-e"], text="\n".join(lines) + "\n").check()


def _underlay(estate: Estate) -> None:
    """dev-1 and its router keep the wire between them under other addresses."""
    for host, device, address in (("dev-1", "eth0", UNDERLAY[0]), ("router", ROUTER_SIDE, UNDERLAY[1])):
        _do(estate, f"ip -n {host} -4 addr flush dev {device}", f"ip -n {host} addr add {address}/24 dev {device}")


def macvlan(estate: Estate) -> None:
    """The address is on a second link address of the same wire; a third interface leads nowhere."""
    _do(
        estate,
        "ip -n dev-1 -4 addr flush dev eth0",
        "ip -n dev-1 link add mv0 link eth0 type macvlan mode bridge",
        f"ip -n dev-1 addr add {DEV}/24 dev mv0",
        "ip -n dev-1 link set mv0 up",
        f"ip -n dev-1 route add default via {GATEWAY}",
        "ip -n dev-1 link add other type veth peer name behind",
        "ip -n dev-1 addr add 10.77.0.1/24 dev other",
        "ip -n dev-1 link set other up",
        "ip -n dev-1 route add default via 10.77.0.2 metric 500",
    )


def vxlan(estate: Estate) -> None:
    """Ethernet in UDP: dev's whole network is a tunnel."""
    _underlay(estate)
    for host, near, far, own in (("dev-1", *UNDERLAY, DEV), ("router", UNDERLAY[1], UNDERLAY[0], GATEWAY)):
        _do(
            estate,
            f"ip -n {host} link add vx0 type vxlan id 7 dstport 4789 local {near} remote {far}",
            f"ip -n {host} addr add {own}/24 dev vx0",
            f"ip -n {host} link set vx0 up",
        )
    _do(estate, f"ip -n dev-1 route add default via {GATEWAY}")


def tun(estate: Estate) -> None:
    """Point-to-point, without link addresses: a program carries the packets over UDP."""
    _underlay(estate)
    for host, near, far in (("dev-1", *UNDERLAY), ("router", UNDERLAY[1], UNDERLAY[0])):
        _do(estate, f"ip -n {host} tuntap add dev tun0 mode tun", f"ip -n {host} link set tun0 up txqueuelen 10000")
        estate.spawn(host, [sys.executable, str(TUNNEL), "tun0", near, far])
    _do(
        estate,
        f"ip -n dev-1 addr add {DEV} peer {GATEWAY} dev tun0",
        "ip -n dev-1 route add default dev tun0",
        f"ip -n router addr add {GATEWAY} peer {DEV} dev tun0",
    )


def loopback(estate: Estate) -> None:
    """The address is the host's own, on `lo`; the wire has another one, of which nobody knows."""
    _do(
        estate,
        "ip -n dev-1 -4 addr flush dev eth0",
        "ip -n dev-1 addr add 10.10.0.99/24 dev eth0",
        f"ip -n dev-1 addr add {DEV}/32 dev lo",
        f"ip -n dev-1 route add default via {GATEWAY} src {DEV}",
    )


@pytest.mark.parametrize(
    ("build", "rate_pps", "way"),
    [
        pytest.param(macvlan, 20_000, "ring", id="macvlan", marks=pytest.mark.soak),
        pytest.param(vxlan, 20_000, "ring", id="vxlan"),
        pytest.param(tun, 2000, "raw", id="tun"),
        pytest.param(loopback, 20_000, "ring", id="loopback", marks=pytest.mark.soak),
    ],
)
def test_a_boundary_through_another_device(build: Callable[[Estate], None], rate_pps: int, way: str) -> None:
    assert sweep(scene(11, 3000, rate_pps), devices=build, way=way) >= 0.98
