"""The schema that a SARIF report must hold to."""

from __future__ import annotations

import json

from jsonschema import Draft4Validator

from tests.support.paths import ROOT

# As the npm package @microsoft/jest-sarif ships it (MIT): SARIF 2.1.0 with the errata that forges check against.
SARIF = Draft4Validator(
    json.loads((ROOT / "tests" / "unit" / "cli" / "formats" / "sarif-2.1.0-rtm.5.json").read_text("utf-8")),
    format_checker=Draft4Validator.FORMAT_CHECKER,
)
