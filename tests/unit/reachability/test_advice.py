from reachability.advice import ADVICE
from reachability.vocabulary import Reason, Unproven


def test_every_word_for_what_is_not_proven_has_its_sentences() -> None:
    assert set(Unproven) <= set(ADVICE)
    assert set(ADVICE) <= {*Unproven, *Reason}
