import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import topics
from wire.topics import DownChannel, UpChannel, UpTopic


def test_the_topics_are_those_of_the_design() -> None:
    assert topics.up("dev", "dev-1", UpChannel.STATUS) == "segwatch/v1/dev/dev-1/up/status"
    assert topics.down("dev", "dev-1", DownChannel.ACK) == "segwatch/v1/dev/dev-1/down/ack"
    assert topics.all_down("dev", "dev-1") == tuple(f"segwatch/v1/dev/dev-1/down/{x}" for x in ("plan", "round", "ack"))
    assert topics.all_up() == tuple(f"segwatch/v1/+/+/up/{x}" for x in ("status", "observations", "round"))


@pytest.mark.parametrize("channel", UpChannel)
def test_what_is_written_is_read(channel: UpChannel) -> None:
    assert topics.parse_up(topics.up("dev", "dev-1", channel)) == UpTopic("dev", "dev-1", channel)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "segwatch/v1/dev/dev-1/up/else",
        "segwatch/v1/dev/dev-1/down/plan",
        "segwatch/v2/dev/dev-1/up/status",
        "segwatch/v1/Dev/dev-1/up/status",
        "segwatch/v1/dev//up/status",
        "segwatch/v1/dev/dev-1/up/status/",
        "segwatch/v1/dev/dev-1\n/up/status",
    ],
)
def test_other_topics_are_nobodys(topic: str) -> None:
    assert topics.parse_up(topic) is None


@given(st.text())
def test_any_text_is_read_or_not(topic: str) -> None:
    topics.parse_up(topic)


@pytest.mark.parametrize("name", ["", "a/b", "a+", "#", "a b", "A", "1a", "a.b", "a\n"])
def test_no_other_name_gets_into_a_topic(name: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a topic"):
        topics.up("dev", name, UpChannel.STATUS)
    with pytest.raises(ValueError, match="cannot stand in a topic"):
        topics.down(name, "dev-1", DownChannel.PLAN)
