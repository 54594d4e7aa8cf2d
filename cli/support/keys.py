"""The secrets that can be read on this host, in every form in which a text could show them: what the filter looks for."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

LEAST = 8  # bytes: what is shorter would be found everywhere
MOST_FILE = 1024 * 1024
_HOLD_KEYS = ("*.key", "*.pem", "*.sign", "*.tar", "token", "metrics-token")
_BEGIN, _END = b"-----BEGIN", b"PRIVATE KEY"
_SEED, _LINE = 32, 20  # bytes of an Ed25519 seed; a shorter line of a PEM file says too little


def forms_of(raw: bytes) -> set[bytes]:
    """A secret as bytes, as hex, as base64 (wherever in a longer text it begins), as Python and JSON write it."""
    found = {raw, raw.hex().encode(), raw.hex().upper().encode(), repr(raw)[2:-1].encode()}
    for before in range(3):
        cut = -(-before * 4 // 3)  # characters that what stands before has a part in
        whole = (before + len(raw)) * 8 // 6
        padded = b"\0" * before + raw
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(encode(padded)[cut:whole])
    text = raw.decode("latin-1")
    found.add(json.dumps(text)[1:-1].encode())
    return {form for form in found if len(form) >= LEAST}


def held_in(directories: Iterable[Path], tokens: Iterable[str] = ()) -> set[bytes]:
    """The forms of all keys and tokens in files of these directories, as far as they may be read, and of `tokens`."""
    found: set[bytes] = set()
    for token in tokens:
        found |= forms_of(token.encode())
    for directory in dict.fromkeys(directories):
        for pattern in _HOLD_KEYS:
            for path in _files(directory, pattern):
                found |= set(_of_file(path.name, _read(path)))
    return found


def places_of(state_dir: Path) -> list[Path]:
    """The directories in which an estate of this host may have keys: its own, the coordinator's PKI, agents' beside it."""
    beside = state_dir.parent
    found = [state_dir, state_dir / "pki", beside, beside / "pki"]
    try:
        configuration = json.loads(_read(state_dir / "broker" / "broker.conf"))
        found.append(Path(configuration["tls"]["key_file"]).parent)
    except (ValueError, KeyError, TypeError):
        pass  # a broker of one's own
    return [*found, *(path.parent for path in _files(beside, "*/agent.json"))]


def _files(directory: Path, pattern: str) -> list[Path]:
    try:
        return sorted(path for path in directory.glob(pattern) if path.is_file())
    except OSError:
        return []


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_FILE)
    except OSError:
        return b""


def _of_file(name: str, data: bytes) -> Iterator[bytes]:
    if name.endswith(".tar"):
        yield from _of_bundle(data)
    elif name.endswith(".sign"):
        yield from _of_signing(data)
    elif _BEGIN in data:
        yield from _of_pem(data)
    elif not name.endswith(".pem"):
        text = data.strip()
        yield from forms_of(text)
        try:
            seed = bytes.fromhex(text.decode("ascii"))
        except ValueError:
            return
        if len(seed) == _SEED:
            yield from forms_of(seed)


def _of_pem(data: bytes) -> Iterator[bytes]:
    """The lines of each private key, and what is secret of it where it is one of an elliptic curve."""
    for part in data.split(_BEGIN)[1:]:
        if _END not in part.splitlines()[0]:
            continue
        lines = part.split(b"-----END")[0].splitlines()[1:]
        yield from (line for line in lines if len(line) >= _LINE)
        yield from _of_curve(_BEGIN + part)


def _of_curve(pem: bytes) -> Iterator[bytes]:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - slow to import
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return
    if isinstance(key, ec.EllipticCurvePrivateKey):
        yield from forms_of(key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8, "big"))


def _of_signing(data: bytes) -> Iterator[bytes]:
    """An agent's own signing key, as `agent.upkey` leaves it: msgpack with a seed."""
    import msgspec  # noqa: PLC0415 - few have such a file

    try:
        held = msgspec.msgpack.decode(data)
    except (msgspec.DecodeError, ValueError):
        return
    seed = held.get("seed") if isinstance(held, dict) else None
    if isinstance(seed, bytes):
        yield from forms_of(seed)


def _of_bundle(data: bytes) -> Iterator[bytes]:
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                held = tar.extractfile(member) if member.isfile() and member.size <= MOST_FILE else None
                if held is not None and member.name.endswith(".key"):
                    yield from _of_file(member.name, held.read(MOST_FILE))
    except (tarfile.TarError, OSError, EOFError):
        return
