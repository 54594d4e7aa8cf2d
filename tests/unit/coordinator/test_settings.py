from pathlib import Path
from typing import Any

import pytest

from coordinator.broker.addresses import Listen
from coordinator.settings import Settings

TLS = {"web_cert": Path("c.pem"), "web_key": Path("c.key")}


def made(web: str, **more: Any) -> Settings:
    listen = Listen("127.0.0.1", 8883)
    return Settings(
        topology=Path("t"), pki=Path("keys"), listen=listen, state_dir=Path("s"), web=Listen.parse(web), **more
    )


@pytest.mark.parametrize(
    "web", ["10.0.0.1:8600", "0.0.0.0:8600", "[::]:8600", ":8600", "segwatch.example:8600", "[fd00::1]:1"]
)
def test_off_loopback_the_api_has_tls_or_is_refused(web: str) -> None:
    with pytest.raises(
        ValueError, match=r"--web .* can be reached by others: it needs TLS. Give --web-cert FILE"
    ) as caught:
        made(web)
    assert "keys/broker.pem" in str(caught.value)
    with pytest.raises(ValueError, match="it needs TLS") as caught:
        made(web, broker="mqtts://a")
    assert "broker.pem" not in str(caught.value), "nobody makes one"
    assert made(web, **TLS).web


@pytest.mark.parametrize("web", ["127.0.0.1:8600", "localhost:8600", "[::1]:8600", "127.0.0.9:1"])
def test_on_loopback_it_needs_none(web: str) -> None:
    assert made(web).web
    assert made(web, **TLS).web


@pytest.mark.parametrize("name", list(TLS))
def test_half_a_pair_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="give both"):
        made("127.0.0.1:8600", **{name: TLS[name]})
