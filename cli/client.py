"""The API of a running coordinator, over the Unix socket in its state directory or over HTTP(S)."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from cli.errors import Problem
from cli.options import Endpoint
from coordinator.api.responses.status import Failure
from reachability.texts import clean_all, clean_lines

SOCKET = "coordinator.sock"
TIMEOUT_S = 15.0
POLL_S = 0.2
T = TypeVar("T")
_LONGEST_SOCKET_PATH = 100  # sun_path holds 108 bytes


class UnreachableError(Problem):
    """Nobody answers there (now)."""


class GoneError(Problem):
    """What was asked for is not there (any more)."""


class StrangeError(Problem):
    """What answers there is not what this version knows."""


class Client:
    """Speaks JSON with one coordinator. Every failure is a `Problem`: what, where, what to do.

    An answer is read as a struct of `coordinator.api.responses`, its texts clean: whatever shows it, on a terminal or in a
    file, has them from here. Or as `object`: whatever the JSON holds, for `-o json`, which escapes it.
    """

    def __init__(self, endpoint: Endpoint, timeout_s: float = TIMEOUT_S) -> None:
        if not endpoint:
            raise Problem(
                "which coordinator?", "Give --state-dir DIR (on its host), or --coordinator URL with --token-file FILE."
            )
        self._endpoint = endpoint
        self._timeout_s = timeout_s

    def get(self, path: str, kind: type[T], /, **query: str | int | None) -> T:
        """GET /api/v1/PATH; a query value of None is left out."""
        text = urlencode({name: value for name, value in query.items() if value is not None})
        return self._ask(kind, "GET", f"{quote(path)}?{text}" if text else quote(path))

    def post(self, path: str, kind: type[T], /, **body: object) -> T:
        """POST a JSON object to /api/v1/PATH."""
        return self._ask(kind, "POST", quote(path), json.dumps(body).encode())

    def wait(self, wait_s: float, tell: Callable[[str], None]) -> None:
        """Return once the coordinator answers; after `wait_s` the reason why not is raised."""
        until = time.monotonic() + wait_s
        told = False
        while True:
            try:
                self.get("status", object)
            except UnreachableError as problem:
                if time.monotonic() >= until:
                    raise
                if not told:
                    tell(f"waiting for the coordinator: {problem.lines[0]}")
                    told = True
                time.sleep(POLL_S)
            else:
                return

    def _ask(self, kind: type[T], method: str, path: str, body: bytes | None = None) -> T:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._endpoint.token:
            headers["Authorization"] = f"Bearer {self._endpoint.token}"
        connection = self._connection()
        try:
            connection.request(method, f"/api/v1/{path}", body, headers)
            answer = connection.getresponse()
            status, data = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()
        if status >= http.HTTPStatus.BAD_REQUEST:
            raise self._failed(status, data)
        return self._read(kind, path.partition("?")[0], data)

    def _connection(self) -> http.client.HTTPConnection:
        if self._endpoint.state_dir is not None:
            return _SocketConnection(self._endpoint.state_dir / SOCKET, self._timeout_s)
        parts = urlsplit(self._endpoint.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise Problem(f"--coordinator '{self._endpoint.url}' is not a URL", "Write it like https://10.0.0.1:8600.")
        if parts.scheme == "https":
            context = _trusting(self._endpoint.ca)
            return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=self._timeout_s, context=context)
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=self._timeout_s)

    def _read(self, kind: type[T], path: str, data: bytes) -> T:
        try:
            # Not msgspec's own decoder: an older coordinator may send half of a surrogate pair, and `object` stays as it came.
            found = json.loads(data)
            return cast("T", found) if kind is object else msgspec.convert(clean_all(found), kind)
        except msgspec.ValidationError as error:
            raise StrangeError(
                f"the coordinator at {self._where} answers {path} in a way that this version does not know: {error}",
                "The command and the coordinator must be of one version: segwatch --version on both hosts.",
            ) from error
        except (ValueError, RecursionError) as error:
            raise StrangeError(
                f"what answers at {self._where} is no coordinator of segwatch: its {path} is not JSON",
                "Look at the address: another service may listen there, or a proxy stand in front.",
            ) from error

    def _failed(self, status: int, data: bytes) -> Problem:
        try:
            said = clean_lines(msgspec.json.decode(data, type=Failure).error)
        except (msgspec.DecodeError, ValueError, RecursionError):
            said = ""
        if status == http.HTTPStatus.NOT_FOUND and said:
            return GoneError(said)
        if status in {http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN}:
            return Problem(
                f"the coordinator at {self._where} does not accept this token", "Give its token with --token-file."
            )
        return Problem(said or f"the coordinator at {self._where} answered {status}, which this version does not know")

    @property
    def _where(self) -> str:
        return str(self._endpoint.state_dir or self._endpoint.url)

    def _unreachable(self, error: Exception) -> Problem:
        where = self._where
        if isinstance(error, ssl.SSLError):
            return Problem(
                f"no safe connection to {where}: {error}",
                "Its certificate must be one that this host trusts, or --ca-file FILE its CA.",
            )
        if isinstance(error, PermissionError):
            return Problem(f"no permission for {where}/{SOCKET}", "Run it as the user that the coordinator runs as.")
        if self._endpoint.state_dir is None:
            return UnreachableError(
                f"no coordinator answers at {where}: {getattr(error, 'strerror', None) or error}",
                "Is it up, with --web on that address?",
            )
        if not self._endpoint.state_dir.is_dir():
            return UnreachableError(
                f"no state directory {where}",
                f"Start one: segwatch coordinator -f topology.yaml --pki pki --listen ADDRESS:8883 --state-dir {where}",
            )
        why = "there is no coordinator.sock in it" if isinstance(error, FileNotFoundError) else str(error)
        return UnreachableError(
            f"no coordinator runs on {where}: {why}",
            f"Start it: segwatch coordinator -f topology.yaml --pki pki --listen ADDRESS:8883 --state-dir {where}",
        )


def _trusting(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError) as error:
        raise Problem(
            "what --ca-file names holds no certificate: it is not PEM", "It begins with -----BEGIN"
        ) from error


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket, also one whose path is longer than a socket address holds."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        if len(os.fsencode(self._path)) <= _LONGEST_SOCKET_PATH:
            self.sock.connect(os.fspath(self._path))
            return
        directory = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            self.sock.connect(f"/proc/self/fd/{directory}/{self._path.name}")
        finally:
            os.close(directory)
