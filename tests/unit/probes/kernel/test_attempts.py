"""Connections and datagrams of the kernel's own, one after another from one source port."""

from __future__ import annotations

import socket

import pytest

from probes.gate import Gate
from probes.kernel.attempts import Attempts
from reachability.vocabulary import Protocol

LOCAL = "127.0.0.1"
GATE = Gate(None)


def test_each_connection_leaves_from_the_same_source_port_and_is_given_up() -> None:
    with socket.create_server((LOCAL, 0)) as server:
        server.settimeout(5)
        attempts = Attempts(LOCAL, Protocol.TCP, GATE)
        for _ in range(3):
            attempts.begin(server.getsockname(), b"")
            connection, peer = server.accept()
            with connection:
                connection.settimeout(5)
                assert peer == attempts.way
                attempts.give_up()
                with pytest.raises(ConnectionResetError):
                    connection.recv(1)
        attempts.close()


def test_many_ports_at_a_time_and_closed_ones_do_no_harm() -> None:
    with socket.create_server((LOCAL, 0)) as one, socket.create_server((LOCAL, 0)) as other:
        attempts = Attempts(LOCAL, Protocol.TCP, GATE)
        for to in one.getsockname(), (LOCAL, 1), other.getsockname(), (LOCAL, 1):
            attempts.begin(to, b"")
        for server in one, other:
            server.settimeout(5)
            connection, peer = server.accept()
            connection.close()
            assert peer == attempts.way
        attempts.close()


def test_a_datagram_carries_the_request() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.settimeout(5)
        server.bind((LOCAL, 0))
        attempts = Attempts(LOCAL, Protocol.UDP, GATE)
        attempts.begin(server.getsockname(), b"who is there")
        assert server.recvfrom(64) == (b"who is there", attempts.way)
        attempts.close()


def test_an_address_that_is_not_this_hosts_is_an_error() -> None:
    with pytest.raises(OSError, match="assign"):
        Attempts("192.0.2.1", Protocol.TCP, GATE)
