"""What a path that nobody declared means: severity, weaknesses (CWE) and harm, from the declaration alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reachability.topology import Environment, Service
from reachability.vocabulary import Sensitivity

UNDECLARED_PATH = "CWE-653"  # improper isolation or compartmentalization
WRONG_SPHERE = "CWE-668"  # exposure of resource to wrong sphere

MODEL_TAMPERING = "model tampering"
DATA_LEAKAGE = "data leakage"
DISRUPTION = "operational disruption"

MODELS = frozenset({"models", "model", "weights", "checkpoints"})
CONTROL_PLANES = frozenset(
    {"airflow", "argo", "consul", "control-plane", "dask", "docker", "etcd", "jenkins", "kubelet", "kubernetes", "ray"}
    | {"kubeflow", "nomad", "slurm", "spark", "vault", "zookeeper"}
)
_RISING = tuple(Sensitivity)


@dataclass(frozen=True, slots=True)
class Impact:
    """How bad, which CWEs, and in which words."""

    severity: Sensitivity
    cwe: tuple[str, ...]
    words: tuple[str, ...]


def of_unexpected(source: Environment, destination: Environment, services: Iterable[Service]) -> Impact:
    """The impact of a path into `destination` that nobody declared, at these of its services.

    The severity is the higher sensitivity of the two ends: a leak out of prod is as bad as a way into it.
    """
    found = tuple(services)
    holds = {item.lower() for service in found for item in service.holds}
    words = []
    if holds & MODELS:
        words.append(MODEL_TAMPERING)
    if holds - MODELS - CONTROL_PLANES or _RISING.index(source.sensitivity) > _RISING.index(destination.sensitivity):
        words.append(DATA_LEAKAGE)
    if holds & CONTROL_PLANES or any(service.kind.lower() in CONTROL_PLANES for service in found):
        words.append(DISRUPTION)
    wrong_sphere = [WRONG_SPHERE] if {MODEL_TAMPERING, DATA_LEAKAGE} & set(words) else []
    severity = max(source.sensitivity, destination.sensitivity, key=_RISING.index)
    return Impact(severity, (UNDECLARED_PATH, *wrong_sphere), tuple(words))


def of_missing(destination: Environment) -> Impact:
    """The impact of a required path that does not work: what depends on it stands still; nothing is exposed."""
    return Impact(destination.sensitivity, (), (DISRUPTION,))
