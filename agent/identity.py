"""What this host is and can: its own addresses, and whether it may capture and send raw packets."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import netifaces

LACKS_NET_RAW = "this process lacks CAP_NET_RAW"
ALLOW = "To allow them: RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET in the unit."


def own_addresses() -> tuple[str, ...]:
    """Every address of this host that others can reach, without loopback and link-local ones."""
    found = []
    for interface in netifaces.interfaces():
        families = netifaces.ifaddresses(interface)
        for family in (netifaces.AF_INET, netifaces.AF_INET6):
            for entry in families.get(family, []):
                address = ip_address(str(entry["addr"]).partition("%")[0])
                if not (address.is_loopback or address.is_link_local):
                    found.append(str(address))
    return tuple(dict.fromkeys(found))


def lacks_raw() -> str:
    """Why this process cannot open a packet socket; "" when it can."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError:
        return LACKS_NET_RAW
    except OSError as error:
        return f"this process may not open packet sockets (AF_PACKET): {error.strerror}"
    return ""


def lacks_netlink() -> str:
    """Why this process cannot ask the kernel for addresses and routes; "" when it can."""
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()
    except OSError as error:
        return f"this process may not open netlink sockets (AF_NETLINK): {error.strerror}"
    return ""
