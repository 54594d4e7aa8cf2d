"""How bad a finding is, and in which words: from the two ends and from what the service holds."""

from __future__ import annotations

import pytest

from reachability.impact import DATA_LEAKAGE, DISRUPTION, MODEL_TAMPERING, of_missing, of_unexpected
from reachability.topology import Environment, PortSpec, Service
from reachability.vocabulary import Sensitivity


def end(sensitivity: Sensitivity) -> Environment:
    return Environment(sensitivity.value, (), sensitivity=sensitivity)


LOW, HIGH = end(Sensitivity.LOW), end(Sensitivity.HIGH)


def service(kind: str = "", *holds: str) -> Service:
    return Service("s", ("10.30.0.21",), PortSpec(), kind, holds)


@pytest.mark.parametrize(
    ("services", "words"),
    [
        ([], ()),
        ([service("nginx")], ()),
        ([service("mlflow", "models")], (MODEL_TAMPERING,)),
        ([service("mlflow", "Weights")], (MODEL_TAMPERING,)),
        ([service("redis", "features")], (DATA_LEAKAGE,)),
        ([service("ray")], (DISRUPTION,)),
        ([service("Kubernetes")], (DISRUPTION,)),
        ([service("vm", "control-plane")], (DISRUPTION,)),
        ([service("s3", "models", "training-data")], (MODEL_TAMPERING, DATA_LEAKAGE)),
        ([service("mlflow", "models"), service("ray")], (MODEL_TAMPERING, DISRUPTION)),
    ],
)
def test_a_path_into_something_harms_by_what_is_there(services: list[Service], words: tuple[str, ...]) -> None:
    assert of_unexpected(LOW, HIGH, services).words == words


def test_a_path_out_of_what_is_more_sensitive_leaks_whatever_is_at_its_end() -> None:
    assert of_unexpected(HIGH, LOW, [service("nginx")]).words == (DATA_LEAKAGE,)
    assert of_unexpected(HIGH, HIGH, [service("nginx")]).words == ()


@pytest.mark.parametrize(("source", "destination"), [(LOW, HIGH), (HIGH, LOW)])
def test_it_is_as_bad_as_the_more_sensitive_of_its_ends(source: Environment, destination: Environment) -> None:
    assert of_unexpected(source, destination, []).severity is Sensitivity.HIGH


def test_all_of_them_break_the_isolation_and_what_is_held_is_in_the_wrong_sphere() -> None:
    assert of_unexpected(LOW, HIGH, [service("ray")]).cwe == ("CWE-653",)
    assert of_unexpected(LOW, HIGH, [service("mlflow", "models")]).cwe == ("CWE-653", "CWE-668")
    assert of_unexpected(LOW, HIGH, [service("redis", "features")]).cwe == ("CWE-653", "CWE-668")


def test_a_missing_path_exposes_nothing_and_stops_what_needs_it() -> None:
    impact = of_missing(HIGH)
    assert (impact.severity, impact.cwe, impact.words) == (Sensitivity.HIGH, (), (DISRUPTION,))
