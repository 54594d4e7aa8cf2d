"""The key that signs what the agent sends, and the word of its certificate's key for it.

OpenSSL's keys take a library of several MiB to sign with, which an idle agent must not hold. So a process that ends makes an
Ed25519 key, one per certificate, and has the certificate's own key sign its public half:
`python -m agent.upkey CERTIFICATE KEY FILE`.
"""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path

import msgspec
from nacl.signing import SigningKey

from agent.config import AgentConfig, ConfigError, credential
from wire.keyfiles import Exposed, check_key, write_private
from wire.signing import PROOF, sign_up

FILE = "agent.sign"
MAKE_S = 60


class UpKey(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds: certificate in DER, private seed, proof."""

    certificate: bytes
    seed: bytes
    proof: bytes

    @property
    def signing(self) -> SigningKey:
        """The key itself."""
        return SigningKey(self.seed)


class Signer:
    """Signs what goes up, by the current certificate; ConfigError when there cannot be a key."""

    def __init__(self, config: AgentConfig, state_dir: Path) -> None:
        self._place = (config, state_dir)
        self._key = load(*self._place)

    def renew(self) -> None:
        """Take in a certificate that has changed; ConfigError when that cannot be done, with the old one still in force."""
        self._key = load(*self._place)

    def sign(self, sealed: bytes) -> bytes:
        """A sealed message, signed."""
        return sign_up(self._key.signing, sealed)

    def shown(self) -> tuple[bytes, bytes, bytes]:
        """Certificate, public key and proof: by these the coordinator knows it."""
        return self._key.certificate, self._key.signing.verify_key.encode(), self._key.proof


def load(config: AgentConfig, state_dir: Path) -> UpKey:
    """The key for the current certificate, made where there is none yet; ConfigError says why there cannot be one."""
    (certificate, key), file = credential(config, state_dir), state_dir / FILE
    try:
        der = _der(certificate)
        if file.exists():
            check_key(file)
        kept = _read(file)
        if kept is None or kept.certificate != der:
            command = [sys.executable, "-P", "-m", "agent.upkey", *map(str, (certificate, key, file))]
            done = subprocess.run(command, capture_output=True, text=True, timeout=MAKE_S, check=False)
            if done.returncode:
                raise ConfigError(f"{file} cannot be made: {done.stderr.strip().splitlines()[-1]}")
            kept = _read(file)
    except Exposed as error:
        raise ConfigError(str(error)) from error
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise ConfigError(f"{file} cannot be made from {certificate}: {error}") from error
    assert kept is not None
    return kept


def make(certificate: Path, key: Path, file: Path) -> None:
    """Make the file. Imports what only this needs."""
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    pem = key.read_bytes()
    loaded = serialization.load_pem_private_key(pem[max(pem.rfind(b"-----BEGIN"), 0) :], password=None)
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{key} is not an EC key, as segwatch pki makes them")
    signing = SigningKey.generate()
    proof = loaded.sign(PROOF + signing.verify_key.encode(), ec.ECDSA(hashes.SHA256()))
    der = _der(certificate)
    write_private(file, msgspec.msgpack.encode(UpKey(certificate=der, seed=signing.encode(), proof=proof)))


def _der(certificate: Path) -> bytes:
    """The first of a file, which may hold its key, too."""
    text, end, _ = certificate.read_text().partition(ssl.PEM_FOOTER)
    return ssl.PEM_cert_to_DER_cert(text + end)


def _read(file: Path) -> UpKey | None:
    try:
        return msgspec.msgpack.decode(file.read_bytes(), type=UpKey)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


if __name__ == "__main__":
    make(*map(Path, sys.argv[1:4]))
