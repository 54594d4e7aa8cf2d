"""Values that PyYAML itself stumbles over are errors in the file, not in the program."""

import pytest

from cli.agent.file import MOST_BYTES, parse_agent_yaml
from cli.errors import Problem


@pytest.mark.parametrize(
    "text",
    [
        b"a: 2026-13-45",
        b"a: !!timestamp x",
        b"a: !!bool x",
        b"a: !!int x",
        b"a: !!float x",
        b"[" * 5000,
        b"a: 1:9x:99",
        b"a: \xff",
    ],
)
def test_what_no_constructor_takes(text: bytes) -> None:
    with pytest.raises(Problem, match=r"agent\.yaml"):
        parse_agent_yaml(text, "agent.yaml")


def test_a_large_file_is_not_read_at_all() -> None:
    with pytest.raises(Problem, match="larger than a configuration can be"):
        parse_agent_yaml(b"#" * (MOST_BYTES + 1), "agent.yaml")
