"""What the documents show to copy."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tests.support.paths import ROOT


def yaml_of(page: str, key: str) -> Any:
    """The one YAML block of a page of `docs/` that begins with this key."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs" / page).read_text(), re.DOTALL | re.MULTILINE)
    [found] = [block for block in blocks if block.startswith(f"{key}:")]
    return yaml.safe_load(found)
