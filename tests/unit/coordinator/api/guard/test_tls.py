"""The API's certificate: refused in words where it cannot be used, taken anew where it has changed."""

import datetime as dt
import ssl
from pathlib import Path

import pytest

from coordinator.api.guard.tls import CannotServeError, Certificate
from tests.support.web_certificate import NOW, issue, make_ca
from wire.keyfiles import Exposed


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    return make_ca(tmp_path / "pki")


def shown(served: Certificate, ca: Path, name: str) -> bytes:
    """The certificate that a client is shown, which trusts the CA and asks for the name."""
    trusting = ssl.create_default_context(cafile=ca / "ca.pem")
    (to_server, to_client) = (ssl.MemoryBIO(), ssl.MemoryBIO())
    client = trusting.wrap_bio(to_client, to_server, server_hostname=name)
    server = served.context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for one in (client, server):
            try:
                one.do_handshake()
            except ssl.SSLWantReadError:
                continue
    found = client.getpeercert(binary_form=True)
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["segwatch.example", "127.0.0.1"])  # a client that asks for an address names none
def test_a_renewed_one_is_shown_without_a_restart(tmp_path: Path, ca: Path, name: str) -> None:
    pair = issue(ca, tmp_path, "segwatch.example", "127.0.0.1")
    served = Certificate(*pair)
    first = shown(served, ca, name)
    assert shown(served, ca, name) == first
    issue(ca, tmp_path, "segwatch.example", "127.0.0.1", life=dt.timedelta(days=20))
    second = shown(served, ca, name)
    assert second != first
    assert served.valid[1] == pytest.approx((NOW + dt.timedelta(days=20)).timestamp(), abs=1)
    # Half a pair, or none, changes nothing.
    pair[1].write_bytes(b"no key")
    assert shown(served, ca, name) == second
    pair[0].unlink()
    assert shown(served, ca, name) == second


def test_it_has_names_and_an_end(tmp_path: Path, ca: Path) -> None:
    served = Certificate(*issue(ca, tmp_path, "Segwatch.example", "10.0.0.1"))
    assert "segwatch.example" in served.names
    assert served.valid[1] == pytest.approx((NOW + dt.timedelta(days=9)).timestamp(), abs=1)


def test_nothing_older_than_tls_1_2(tmp_path: Path, ca: Path) -> None:
    assert Certificate(*issue(ca, tmp_path, "a.example")).context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_what_cannot_be_used_is_said(tmp_path: Path, ca: Path) -> None:
    certificate, key = issue(ca, tmp_path, "a.example")
    with pytest.raises(CannotServeError, match="are not a certificate and its key, both PEM"):
        Certificate(certificate, ca / "ca.key")
    with pytest.raises(CannotServeError, match=r"web\.key and .*web\.key are not"):
        Certificate(key, key)
    with pytest.raises(FileNotFoundError) as caught:
        Certificate(tmp_path / "none.pem", key)
    assert str(caught.value.filename).endswith("none.pem")
    key.chmod(0o640)
    with pytest.raises(Exposed, match=r"web\.key can be read by others\. Fix it: chmod 600"):
        Certificate(certificate, key)
