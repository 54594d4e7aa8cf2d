"""The configurations of brokers: one user per certificate, an agent writes its own `up/` and reads its own `down/`.

A user is the whole name in a certificate, its generation included: certificates from before a revocation are nobody's.
The embedded `nats-server` takes the first; `segwatch pki broker` writes them for brokers that an operator runs.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePath
from typing import Any

from coordinator.broker import pki
from coordinator.broker.pki import COORDINATOR_URI
from reachability.topology import Topology
from wire.certificates import agent_uri
from wire.envelope import MOST_MESSAGE_BYTES
from wire.joining import ANSWERS, ASK
from wire.joining import URI as JOIN_URI
from wire.keyfiles import write_private
from wire.topics import ROOT, DownChannel, UpChannel, down, up

MOST_PAYLOAD = MOST_MESSAGE_BYTES + 64 * 1024
QUEUED = 10_000  # messages for one client that is slow or away for a moment; what is lost is sent again
CA, CERTIFICATE, KEY = "ca.pem", "broker.pem", "broker.key"


EVERYWHERE = {"", "0.0.0.0", "::"}  # noqa: S104 - agents go by BROKER_NAME, which every certificate holds


class Kind(StrEnum):
    """The brokers that configurations are written for."""

    MOSQUITTO = "mosquitto"
    RABBITMQ = "rabbitmq"
    NATS = "nats"


START = {
    Kind.MOSQUITTO: "mosquitto -c {at}/mosquitto.conf",
    Kind.RABBITMQ: "RABBITMQ_CONFIG_FILE={at}/rabbitmq.conf RABBITMQ_ADVANCED_CONFIG_FILE={at}/advanced.config"
    " RABBITMQ_ENABLED_PLUGINS_FILE={at}/enabled_plugins rabbitmq-server",
    Kind.NATS: "nats-server -c {at}/nats.conf",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the broker listens, and the directory on its host that holds these files."""

    host: str
    port: int
    directory: PurePath

    def path(self, name: str) -> str:
        """A file's whole path: a broker's working directory is anything."""
        return str(self.directory / name)


@dataclass(frozen=True, slots=True)
class Written:
    """When the certificate ends, and the command that starts the broker."""

    expires: dt.datetime
    start: str


def write(kind: Kind, topology: Topology, place: Place, pki_dir: Path, out: Path, now: dt.datetime) -> Written:
    """Write everything into the directory, with a new certificate; PkiError and OSError say why not.

    Of each agent the certificates that `pki revoke` has left in force are let in.
    """
    hosts = () if place.host in EVERYWHERE else (place.host,)
    issued = pki.server_certificate(pki_dir, hosts, now)
    generations = pki.revocations(pki_dir)
    out.mkdir(parents=True, exist_ok=True)
    write_private(out / KEY, issued.key)
    write_private(out / CERTIFICATE, issued.certificate, mode=0o644)
    write_private(out / CA, issued.trust, mode=0o644)
    for name, text in files(kind, topology, generations, place).items():
        write_private(out / name, text.encode(), mode=0o644)
    return Written(issued.expires, START[kind].format(at=place.directory))


def files(kind: Kind, topology: Topology, generations: Mapping[str, int], place: Place) -> dict[str, str]:
    """File name to text, all that the broker needs beside its certificate.

    `generations` are those of agents' certificates that are in force, 0 of an agent that is not in there.
    """
    match kind:
        case Kind.MOSQUITTO:
            return {"mosquitto.conf": mosquitto(place), "acl": mosquitto_acl(topology, generations)}
        case Kind.RABBITMQ:
            return {
                "rabbitmq.conf": rabbitmq(place),
                # A classic queue loses what it acknowledged when its node dies. What comes before a colon in a user's
                # name would be taken for a virtual host.
                "advanced.config": "[{rabbitmq_mqtt, [{durable_queue_type, quorum}, {ignore_colons_in_username, true}]}].\n",
                "enabled_plugins": "[rabbitmq_mqtt].\n",
                "definitions.json": json.dumps(rabbitmq_definitions(topology, generations), indent=1) + "\n",
            }
        case Kind.NATS:
            made = nats(topology, generations, place, place.path("store"))
            return {"nats.conf": "".join(f"{key}: {json.dumps(value, indent=1)}\n" for key, value in made.items())}


# -- nats-server ------------------------------------------------------------------------------------------------------


def nats(
    topology: Topology, generations: Mapping[str, int], place: Place, store: str, *, joining: bool = False
) -> dict[str, Any]:
    """The configuration of a nats-server (its format takes JSON); `joining`: who brings a one-time token is let in too."""
    tls = {
        "cert_file": place.path(CERTIFICATE),
        "key_file": place.path(KEY),
        "ca_file": place.path(CA),
        "verify_and_map": True,
    }
    users: list[dict[str, Any]] = [{"user": COORDINATOR_URI, "allowed_connection_types": ["MQTT"]}]
    users += [
        _nats_user(environment, agent, generations.get(agent, 0)) for agent, environment in topology.agents().items()
    ]
    users += [_nats_joining()] if joining else []
    return {
        "server_name": "segwatch",
        # It cannot do without a port for its own protocol: on loopback, with certificates, and no user may use it.
        "host": "127.0.0.1",
        "port": -1,
        "tls": tls,
        "max_payload": MOST_PAYLOAD,
        "jetstream": {"store_dir": store},
        # 1000 consumers by default, and then subscriptions fail without a word.
        "accounts": {"SEGWATCH": {"jetstream": {"max_consumers": 20000}, "users": users}},
        "mqtt": {"host": place.host, "port": place.port, "ack_wait": "5s", "max_ack_pending": 200, "tls": tls},
    }


def _nats_user(environment: str, agent: str, generation: int) -> dict[str, Any]:
    own = _dotted(f"{ROOT}/{environment}/{agent}")
    return {
        "user": agent_uri(environment, agent, generation),
        "allowed_connection_types": ["MQTT"],
        "permissions": {
            "publish": [f"{own}.up.{channel.value}" for channel in UpChannel],
            # $MQTT…: what the server itself subscribes to for a QoS 1 subscription of this user.
            "subscribe": [f"{own}.down.{channel.value}" for channel in DownChannel]
            + ["$MQTT.sub.>", "$MQTT.deliver.>"],
        },
    }


def _nats_joining() -> dict[str, Any]:
    answers = f"{_dotted(ANSWERS)}.*"
    return {
        "user": JOIN_URI,
        "allowed_connection_types": ["MQTT"],
        "permissions": {"publish": [_dotted(ASK)], "subscribe": [answers, "$MQTT.sub.>", "$MQTT.deliver.>"]},
    }


# -- mosquitto --------------------------------------------------------------------------------------------------------


def mosquitto(place: Place) -> str:
    """`mosquitto.conf`, for 2.0 and later."""
    return f"""\
# segwatch: after a change of the topology's agents or a revocation write these files anew, then: kill -HUP <mosquitto>
listener {place.port} {place.host}
cafile {place.path(CA)}
certfile {place.path(CERTIFICATE)}
keyfile {place.path(KEY)}
tls_version tlsv1.2
require_certificate true
# The whole subject: an agent that is named 'coordinator' is not the coordinator.
use_subject_as_username true
allow_anonymous false
acl_file {place.path("acl")}
max_packet_size {MOST_PAYLOAD}
max_queued_messages {QUEUED}
"""


def mosquitto_acl(topology: Topology, generations: Mapping[str, int]) -> str:
    """The ACL file: users are the certificates' subjects as RFC 2253 writes them."""
    lines = ["user CN=coordinator", "topic readwrite segwatch/#"]
    for agent, environment in topology.agents().items():
        generation = generations.get(agent, 0)
        lines += ["", f"user {f'serialNumber={generation},' if generation else ''}OU={environment},CN={agent}"]
        lines += [f"topic write {up(environment, agent, channel)}" for channel in UpChannel]
        lines += [f"topic read {down(environment, agent, channel)}" for channel in DownChannel]
    return "\n".join(lines) + "\n"


# -- RabbitMQ ---------------------------------------------------------------------------------------------------------


def rabbitmq(place: Place) -> str:
    """`rabbitmq.conf`, for 3.10 and later; MQTT only."""
    host = f"[{place.host}]" if ":" in place.host else place.host
    return f"""\
# segwatch: after a change of the topology's agents or a revocation write these files anew, then: rabbitmqctl
# import_definitions {place.path("definitions.json")}; who is no longer in it is removed by: rabbitmqctl delete_user NAME
listeners.tcp = none
mqtt.listeners.tcp = none
mqtt.listeners.ssl.1 = {host}:{place.port}
ssl_options.cacertfile = {place.path(CA)}
ssl_options.certfile = {place.path(CERTIFICATE)}
ssl_options.keyfile = {place.path(KEY)}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
ssl_options.versions.1 = tlsv1.3
ssl_options.versions.2 = tlsv1.2
mqtt.ssl_cert_login = true
mqtt.allow_anonymous = false
ssl_cert_login_from = subject_alternative_name
ssl_cert_login_san_type = uri
ssl_cert_login_san_index = 0
load_definitions = {place.path("definitions.json")}
"""


def rabbitmq_definitions(topology: Topology, generations: Mapping[str, int]) -> dict[str, Any]:
    """Users without a password (their certificate lets them in), with permissions on queues and on topics."""
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    # A session's queue has the client's id, which is random.
    queue = r"mqtt-subscription-segwatch-[0-9a-f]{24}qos[01]"
    own = {"configure": f"^{queue}$", "write": rf"^(amq\.topic|{queue})$", "read": rf"^(amq\.topic|{queue})$"}
    permissions = [_of(COORDINATOR_URI, everything)]
    topics = [_of(COORDINATOR_URI, {"exchange": "amq.topic", "write": r"^segwatch\.", "read": r"^segwatch\."})]
    for agent, environment in topology.agents().items():
        user = agent_uri(environment, agent, generations.get(agent, 0))
        ups = _any_of(up(environment, agent, channel) for channel in UpChannel)
        downs = _any_of(down(environment, agent, channel) for channel in DownChannel)
        permissions.append(_of(user, own))
        topics.append(_of(user, {"exchange": "amq.topic", "write": ups, "read": downs}))
    return {
        "vhosts": [{"name": "/"}],
        "users": [{"name": each["user"], "password_hash": "", "tags": []} for each in permissions],
        "permissions": permissions,
        "topic_permissions": topics,
    }


def _of(user: str, rights: Mapping[str, str]) -> dict[str, str]:
    return {"user": user, "vhost": "/", **rights}


def _any_of(topics: Iterable[str]) -> str:
    """A pattern of exactly these topics as RabbitMQ writes them; a name has letters, digits and dashes only."""
    return "^(" + "|".join(_dotted(topic).replace(".", r"\.") for topic in topics) + ")$"


def _dotted(topic: str) -> str:
    return topic.replace("/", ".")
