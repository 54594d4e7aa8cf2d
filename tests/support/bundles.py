"""An agent's credentials and its bundle, made for a test; the certificate is its own issuer's."""

from __future__ import annotations

import datetime as dt
import io
import tarfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from nacl.signing import SigningKey

from wire.certificates import agent_uri

CONFIGURATION = """\
name: {name}
environment: {environment}
broker: mqtts://127.0.0.1:1
allow: [10.30.0.0/24]
"""


def credentials(name: str, environment: str) -> dict[str, bytes]:
    """`agent.pem` and `agent.key` of an agent; another pair at each call."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    uri = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(agent_uri(environment, name))])
    made = x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(now).not_valid_after(now + dt.timedelta(days=1)).add_extension(uri, critical=True)
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {
        "agent.pem": made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        "agent.key": key.private_bytes(serialization.Encoding.PEM, *plain),
    }


def bundle(path: Path, name: str = "dev-1", environment: str = "dev", **changed: bytes | None) -> Path:
    """A bundle; `changed` are members with `_` for the dot, None for one to leave out."""
    files: dict[str, bytes | None] = {
        "agent.yaml": CONFIGURATION.format(name=name, environment=environment).encode(),
        **credentials(name, environment),
        "ca.pem": b"pem",
        "coordinator.pub": SigningKey.generate().verify_key.encode().hex().encode(),
    }
    files |= {member.replace("_", "."): data for member, data in changed.items()}
    with tarfile.open(path, "w") as tar:
        for member, data in files.items():
            if data is not None:
                info = tarfile.TarInfo(member)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    path.chmod(0o600)
    return path
