"""How a finding is told in a line."""

from dataclasses import replace

from cli.show.grid import standing, standing_counted
from coordinator.api.views import finding_body
from tests.support.sample import Estate


def test_what_flaps_is_shown_as_flapping() -> None:
    estate = Estate()
    [finding] = estate.book.findings
    steady = finding_body(estate.topology, finding)
    assert (standing(steady), standing_counted(steady)) == ("open", "open")
    flaps = finding_body(estate.topology, replace(finding, recent="x.x.xx"))
    assert standing(flaps) == "open, flapping"
    assert standing_counted(flaps) == "open, flapping (failed in 4 of its last 6 rounds)"
