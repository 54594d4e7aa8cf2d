"""What `verify` says on a terminal."""

from __future__ import annotations

from msgspec.structs import replace

from cli.formats.terminal import report
from cli.show.render import Paint
from coordinator.api.responses.runs import Uncontrolled
from tests.support.sample import Estate


def test_an_environment_without_a_source_control_is_named_once_with_what_would_give_it_one() -> None:
    lacking = Uncontrolled(
        environment="dev", protocols=("udp", "icmp"), cells=1204, share=0.2517, settle="let its agents through"
    )
    lines = report(replace(Estate().run_body(), uncontrolled=(lacking,)), Paint(color=False))
    text = " ".join(" ".join(lines).split())
    said = "! dev: nothing showed that its UDP and ICMP packets get out: 1,204 cells unproven, 25.1% of the coverage; let its"
    assert text.count(said) == 1
    assert "nothing showed" not in " ".join(report(Estate().run_body(), Paint(color=False)))
