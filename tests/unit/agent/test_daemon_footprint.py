"""An idle agent is small because of what it does not import."""

import subprocess
import sys

HEAVY = [
    "scapy",
    "numpy",
    "cryptography",
    "pydantic",
    "pyroute2",
    "yaml",
    "click",
    "aiohttp",
    "rich",
    "textual",
    "jsonschema",
    "psutil",
    "hypothesis",
    "importlib.metadata",
    "zipfile",
    "urllib.request",
    "email.message",
    "http.client",
    "multiprocessing",
    "coordinator",
    "cli",
    "lab",
    "probes.child.__main__",
]


def test_the_daemon_imports_nothing_heavy() -> None:
    code = f"import sys, agent.__main__\nprint([name for name in {HEAVY!r} if sys.modules.get(name)])\n"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_what_is_left_out_is_there_for_others() -> None:
    code = (
        "import wire.mqtt, urllib.request; print(callable(urllib.request.urlopen), callable(urllib.request.getproxies))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "True True\n"
