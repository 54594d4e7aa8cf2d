"""`python deploy/sbom.py LOCK…`: what the lock files hold, as a CycloneDX document on stdout; the same lock, the same bytes."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_ENTRY = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>[\w.+!-]+)(?: ;[^\\\n]*)?", re.MULTILINE)


def document(locks: Iterable[str]) -> dict[str, Any]:
    """CycloneDX 1.6: each package once, with its hashes and what needs it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    components: dict[str, dict[str, Any]] = {}
    needs: dict[str, set[str]] = {}
    for text in locks:
        for entry in re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]:
            found = _ENTRY.match(entry)
            if found is None:
                raise ValueError(f"a lock file says {entry.splitlines()[0]!r}, which is not NAME==VERSION")
            purl = f"pkg:pypi/{found['name'].lower().replace('_', '-')}@{found['version']}"
            components[purl] = {
                "type": "library",
                "bom-ref": purl,
                "name": found["name"],
                "version": found["version"],
                "purl": purl,
                "hashes": [
                    {"alg": "SHA-256", "content": one} for one in re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)
                ],
            }
            for by in re.findall(r"^ +#(?: via)? +([\w.-]+)(?: \(pyproject\.toml\))?$", entry, flags=re.MULTILINE):
                needs.setdefault(by, set()).add(purl)
    own = f"pkg:pypi/{project['name']}@{project['version']}"
    by_name = {one["name"]: ref for ref, one in components.items()} | {project["name"]: own}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": project["name"],
                "version": project["version"],
                "purl": own,
                "licenses": [{"license": {"id": project["license"]}}],
            }
        },
        "components": [components[ref] for ref in sorted(components)],
        "dependencies": [{"ref": by_name[by], "dependsOn": sorted(needs[by])} for by in sorted(needs) if by in by_name],
    }


if __name__ == "__main__":
    json.dump(document(Path(name).read_text("utf-8") for name in sys.argv[1:]), sys.stdout, indent=1)
    print()
