"""`python deploy/audit.py PIP-AUDIT LOCK`: whether a package of the lock file has a known vulnerability.

Exit code 0: none has. 1: those that it prints have. 3: nothing is known, because the advisories could not be reached.
"""

from __future__ import annotations

import json
import subprocess
import sys

UNKNOWN = 3
_WAITS_S = 600


def audit(program: str, lock: str) -> tuple[int, list[str]]:
    """The exit code, and the lines to print."""
    command = [program, "--require-hashes", "--disable-pip", "--progress-spinner", "off", "-f", "json", "-r", lock]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_WAITS_S, check=False)
        found = json.loads(done.stdout)["dependencies"]
    except (OSError, subprocess.TimeoutExpired) as error:
        return UNKNOWN, [_unknown(lock, str(error))]
    except (ValueError, KeyError, TypeError):
        return UNKNOWN, [_unknown(lock, (done.stderr.strip().splitlines() or ["it said nothing"])[-1])]
    if skipped := [one for one in found if "skip_reason" in one]:  # pip-audit itself calls that a success
        return UNKNOWN, [_unknown(lock, f"{len(skipped)} of {len(found)} were skipped: {skipped[0]['skip_reason']}")]
    known = [
        f"{one['name']} {one['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version yet'}"
        for one in found
        for flaw in one["vulns"]
    ]
    if known:
        return 1, known
    if not found:
        return UNKNOWN, [_unknown(lock, "it looked at no package")]
    return 0, [f"{lock}: {len(found)} packages, none with a known vulnerability"]


def _unknown(lock: str, why: str) -> str:
    return f"{lock}: NOT audited, nothing is known of its packages: the advisories could not be had: {why}"


if __name__ == "__main__":
    code, lines = audit(sys.argv[1], sys.argv[2])
    print("\n".join(lines), file=sys.stderr if code else sys.stdout)
    sys.exit(code)
