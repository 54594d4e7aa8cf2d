"""DNS and TLS against real servers: what they say changes what is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.sealed import Process
from lab.system import System
from tests.lab.services import serve
from tests.lab.small import PROD2, REG, SERVICES, running, topology, verify

pytestmark = pytest.mark.lab

NGINX = """daemon off;
master_process off;
user root;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {directory}/b; proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f;
  uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  server {{
    listen 8443 ssl;
    listen [::]:8443 ssl;
    ssl_certificate {directory}/tls.pem;
    ssl_certificate_key {directory}/tls.key;
    return 200 hello;
  }}
}}
"""
TO_TLS = f"ip saddr 10.10.0.0/24 ip daddr {REG} tcp dport 8443 accept"
INFERENCE = "      inference: {hosts: [10.30.0.21], ports: [tcp/8443], kind: triton}"


def nginx(system: System, name: str) -> Process:
    """nginx on the registry's host, with a new certificate for `name`."""
    directory = Path(system.directory)
    (directory / "nginx.conf").write_text(NGINX.format(directory=directory))
    system.estate.run(
        "reg",
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
         "-subj", f"/CN={name}", "-keyout", "tls.key", "-out", "tls.pem"],
        cwd=directory,
    ).check()  # fmt: skip
    process = system.estate.spawn("reg", ["nginx", "-c", str(directory / "nginx.conf")])
    system.wait_for(lambda: ":8443 " in system.estate.run("reg", ["ss", "-Hltn"]).stdout, "nginx")
    return process


def test_a_certificate_is_recorded_and_tells_a_service_from_a_middlebox() -> None:
    with running([TO_TLS], text=topology(services=INFERENCE)) as system:
        server = nginx(system, "one.internal")
        outcome = verify(system, "--from", "dev", "--to", "prod")
        assert outcome.says("dev-1", REG, "tcp", 8443)[:4] == ("fail", "reachable", "replied", 2)
        [first] = outcome.body["findings"]
        assert "certificate" in first["identified"]
        server.terminate()
        nginx(system, "two.internal")
        # From now on something answers at every port of that address, but the certificate is the service's own.
        serve(system.estate, "router", [("tcp", 7777)])
        system.estate.nft(
            "router",
            "table ip box { chain pre { type nat hook prerouting priority -100; "
            f"ip saddr 10.10.0.0/24 ip daddr {REG} tcp dport != 8443 redirect to :7777\n}}\n}}\n",
        )
        outcome = verify(system, "--from", "dev", "--to", "prod")
        assert outcome.says("dev-1", REG, "tcp", 22)[1:] == ("unknown", "none", 3, "answers-for-all")
        assert outcome.says("dev-1", REG, "tcp", 8443)[:4] == ("fail", "reachable", "replied", 2)
        [second] = outcome.body["findings"]
        assert second["id"] == first["id"]
        assert "certificate" in second["identified"]
        assert second["identified"] != first["identified"]


def dnsmasq(system: System, address: str) -> Process:
    """A resolver on the core's host that knows one name."""
    process = system.estate.spawn(
        "coordinator",
        ["dnsmasq", "-k", "--no-resolv", "--no-hosts", "--no-daemon", "--user=root", "--listen-address=10.0.0.10",
         "--bind-interfaces", "--pid-file=", f"--address=/db.prod.internal/{address}", "--local-ttl=0"],
    )  # fmt: skip
    system.wait_for(lambda: "10.0.0.10:53 " in system.estate.run("coordinator", ["ss", "-Hlun"]).stdout, "dnsmasq")
    return process


def test_what_a_name_resolves_to_is_what_is_probed() -> None:
    text = topology(services="      db: {hosts: [db.prod.internal], ports: [tcp/5432]}")
    with running(text=text, services={**SERVICES}) as system:
        (system.directory / "resolv.conf").write_text("nameserver 10.0.0.10\noptions timeout:1 attempts:2\n")
        for agent in ("dev-1",):
            system.stop(agent)
            system.start_agent(agent)  # with the resolver of the lab
        server = dnsmasq(system, REG)
        said = system.cli("probe", "dns", "db.prod.internal@10.0.0.10").check().stdout
        assert REG in said
        outcome = verify(system, "--from", "dev", "--to", "prod")
        assert outcome.cell("dev-1", REG, "tcp", 5432)["service"] == "db"
        assert outcome.cell("dev-1", REG, "tcp", 5432)["result"] == "pass"
        server.terminate()
        server = dnsmasq(system, PROD2)
        outcome = verify(system, "--from", "dev", "--to", "prod")
        assert outcome.cell("dev-1", PROD2, "tcp", 5432)["service"] == "db"
        assert outcome.cell("dev-1", REG, "tcp", 5432)["service"] == "db", "where it was it is probed for three periods"
        told = {agent["name"]: agent["names_apart"] for agent in outcome.body["agents"]}
        assert all("db.prod.internal is" in words for words in told["dev-1"]), "the others have no resolver"
        server.terminate()
        outcome = verify(system, "--from", "dev", "--to", "prod")
        for address in (REG, PROD2):
            assert outcome.cell("dev-1", address, "tcp", 5432)["result"] == "pass", (
                "a resolver that is away takes no cell away"
            )
        assert not [cell for cell in outcome.cells if cell[2] == "db.prod.internal"]
