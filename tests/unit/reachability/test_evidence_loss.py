"""How much may have been lost, and when that asks for more copies."""

from dataclasses import replace

import pytest

from reachability.arrival import ArrivalRow
from reachability.evidence import conclude
from reachability.observation import ControlResult
from reachability.ports import PortSet
from reachability.verdict import Verdict, judge
from reachability.vocabulary import Protocol, Reachability, Reason, RoundKind, State
from tests.support.round_data import CONTROL, HEALTHY, PROD, TCP, data, insides, silence, source, verdicts, witness


def test_what_the_host_lost_before_the_capture_asks_for_more_copies_and_blinds_nobody() -> None:
    """Its kernel's counters are the machine's: a packet lost anywhere must not make every witness on it worthless."""
    seen = replace(HEALTHY, off_host=400, missed=1)
    found = verdicts(conclude([data(TCP, src=source(silence()), wit=(witness(health=seen),))]))
    verdict, evidence = found["1-100"]
    assert (verdict.reachability, verdict.row) == (Reachability.BLOCKED, 15)
    assert evidence.loss is not None
    assert 0.002 < evidence.loss < 0.05
    lossy = conclude([data(TCP, src=source(silence()), wit=(witness(health=replace(seen, missed=200)),))])
    assert verdicts(lossy)["1-100"][0].reason == "loss"
    (more,) = lossy.followups
    assert (more.kind, more.copies) == (RoundKind.NORMAL, 6)
    enough = source(silence(sent=10, covered=10, flows=10))
    found = verdicts(conclude([data(TCP, src=enough, wit=(witness(health=replace(seen, missed=200)),))]))
    assert found["1-100"][0].reachability is Reachability.BLOCKED


def test_loss_asks_for_more_copies() -> None:
    lossy = replace(CONTROL, answered=60)
    result = conclude([data(TCP, src=source(silence(), controls=(lossy,)), wit=(witness(),))])
    ((_, _, evidence),) = result.cells
    assert judge(evidence).reason == "loss"
    (more,) = result.followups
    assert more.kind is RoundKind.NORMAL
    assert more.copies > 4
    again = data(TCP, src=source(silence(sent=more.copies, covered=more.copies), controls=(lossy,)), wit=(witness(),))
    (_, _, evidence), *_ = conclude(
        [data(TCP, src=source(silence(), controls=(lossy,)), wit=(witness(),)), again]
    ).cells
    assert judge(evidence).reachability is Reachability.BLOCKED


def test_what_the_sources_own_capture_lost_is_loss() -> None:
    """An answer may have been among it: without a witness silence then needs more copies."""
    alone = replace(TCP, witness="", inside="prod-2")
    answers = (silence(alone, source_address=PROD, state=State.CLOSED, reason=Reason.RESET),)

    def judged(lost: int) -> Verdict:
        src = source(silence(alone), captured=1000, uncaptured=lost)
        ((_, _, evidence),) = conclude([data(alone, src=src, insides=insides(*answers))]).cells
        return judge(evidence)

    assert judged(0).reachability is Reachability.NO_SESSION
    assert judged(300).reason == "loss"
    src = source(silence(), captured=1000, uncaptured=300)
    ((_, _, evidence),) = conclude([data(TCP, src=src, wit=(witness(),))]).cells
    assert judge(evidence).reachability is Reachability.BLOCKED, "a witness decides without the source's capture"


def test_loss_on_ports_that_arrived_in_part_counts() -> None:
    row = ArrivalRow(
        target=1, address=PROD, protocol=Protocol.TCP, ports=PortSet.parse("1-50"), copies=2, last_copy=3, answered=True
    )
    found = verdicts(conclude([data(TCP, src=source(silence()), wit=(witness(row),))]))
    assert found["51-100"][0].reason == "loss"


def test_loss_could_have_hidden_any_port_not_only_those_that_stayed_silent() -> None:
    """On a host where nearly everything answers, what is silent after few copies is what loss has hidden."""
    every = replace(TCP, ports=PortSet.parse("1-60000"))
    answers = silence(every, state=State.CLOSED, reason=Reason.RESET, ports="1-59990", hops=1)
    rest = silence(every, ports="59991-60000", sent=5, covered=5)
    lossy = replace(CONTROL, sent=1000, answered=810)
    src = source(answers, rest, controls=(lossy,))
    found = verdicts(conclude([data(every, src=src, wit=(witness(),))]))
    assert found["59991-60000"][0].reason == "loss"
    enough = replace(src, observations=(answers, replace(rest, sent=12, covered=12)))
    found = verdicts(conclude([data(every, src=enough, wit=(witness(),))]))
    assert found["59991-60000"][0].reachability is Reachability.BLOCKED


def test_controls_that_go_elsewhere_do_not_hide_the_loss_of_the_pair() -> None:
    """However many they are; copies that were sent too fast are no loss."""
    row = ArrivalRow(
        target=1, address=PROD, protocol=Protocol.TCP, ports=PortSet.parse("1-50"), copies=2, last_copy=3, answered=True
    )
    many = replace(CONTROL, sent=5000, answered=5000)
    found = verdicts(conclude([data(TCP, src=source(silence(), controls=(many,)), wit=(witness(row),))]))
    assert found["51-100"][0].reason == "loss"
    sent = source(silence(), controls=(many,), packets=400, duration_s=0.02)
    [more] = conclude([data(TCP, src=sent, wit=(witness(row),))]).followups
    assert (more.kind, more.rate_pps) == (RoundKind.NORMAL, 5000), "a quarter of what it went at"
    fast = replace(silence(), sent=5, covered=2)
    found = verdicts(conclude([data(TCP, src=source(fast, controls=(many,)), wit=(witness(row),))]))
    assert found["51-100"][0].reachability is Reachability.BLOCKED


@pytest.mark.parametrize(
    "more_controls", [(), (replace(CONTROL, kind="pair", address=PROD, port=443, sent=60, answered=60),)]
)
def test_where_a_witness_alone_shows_that_copies_got_out_a_further_one_is_asked_for(
    more_controls: tuple[ControlResult, ...],
) -> None:
    """The last that came shows of those before it: as many as are needed never count at once, whatever of the pair itself answers."""
    udp_control = replace(CONTROL, protocol=Protocol.UDP, answered=60)
    arrived = ArrivalRow(
        target=1, address=PROD, protocol=Protocol.TCP, ports=PortSet.parse("443"), copies=4, last_copy=3, answered=True
    )
    opened = silence(TCP, "443", state=State.OPEN, reason=Reason.SYN_ACK, sent=4, covered=0)
    quiet = silence(TCP, "1-442", sent=4, covered=0)
    target = replace(TCP, ports=PortSet.parse("1-443"))
    main = data(target, src=source(opened, quiet, controls=(udp_control, *more_controls)), wit=(witness(arrived),))
    result = conclude([main])
    assert verdicts(result)["1-442"][0].reason == "loss"
    [more] = result.followups
    assert (more.kind, str(more.targets[0].ports)) == (RoundKind.NORMAL, "1-442")
    nothing = data(target, src=source(quiet, controls=(udp_control,)), wit=(witness(),))
    result = conclude([nothing])
    assert verdicts(result)["1-442"][0].reason == "no-source-control"
    assert result.followups == ()
