"""`python -m tests.fuzz.guided TARGET FOLDER RUNS SEED`: one target under atheris, guided by the branches that inputs take.

A process of its own, for libFuzzer ends the one that it runs in. New inputs stand in the folder afterwards, what it found as `crash-…`.
"""

from __future__ import annotations

import random
import sys
import warnings
from pathlib import Path

import atheris

PARSERS = ["wire", "probes", "coordinator", "agent", "reachability", "cli.agent.file", "cli.show.render"]

with warnings.catch_warnings(), atheris.instrument_imports(include=PARSERS):
    warnings.simplefilter("ignore")
    from tests.fuzz.engine import quiet
    from tests.fuzz.mutate import mutate
    from tests.fuzz.table import TARGETS, forget
    from tests.fuzz.target import Shape

SLOW_S, MOST_MIB = 60, 2048


def main(name: str, folder: str, runs: str, seed: str) -> None:
    """Fuzz until so many runs are over, or something is found."""
    target = TARGETS[name]
    pool = target.inputs
    new = Path(folder) / "new"
    new.mkdir()
    for number, data in enumerate(pool):
        (Path(folder) / f"kept-{number:04}").write_bytes(data)

    def changed(data: bytes, most: int, number: int) -> bytes:
        """Half of the inputs by libFuzzer's own ways, half by what the target's inputs are made of."""
        chance = random.Random(number)
        if target.shape is Shape.BYTES and chance.random() < 0.5:
            return bytes(atheris.Mutate(data, len(data)))[:most]
        return mutate(data, pool, target.shape, target.words, chance, most)

    def once(data: bytes) -> None:
        target.run(data)

    arguments = [sys.argv[0], f"-atheris_runs={runs}", f"-seed={seed}", f"-max_len={target.most}", f"-timeout={SLOW_S}"]
    arguments += [
        f"-rss_limit_mb={MOST_MIB}",
        f"-artifact_prefix={folder}/",
        "-verbosity=0",
        "-print_final_stats=1",
        "-reload=0",
    ]
    atheris.Setup([*arguments, str(new), folder], once, custom_mutator=changed)
    try:
        with quiet():
            atheris.Fuzz()
    finally:
        forget()


if __name__ == "__main__":
    main(*sys.argv[1:])
