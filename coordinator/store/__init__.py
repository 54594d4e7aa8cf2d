"""What outlives the coordinator: SQLite in WAL mode, one writer. What is acknowledged to an agent is committed here first.

`file` opens it, `schema` has its tables of every version, `spools` what came from agents and what is missing, `strays`
what came of rounds that it does not know, `cells` the current ones, `store` the rest, `writer` whose turn it is to write,
`held` rounds as they are kept, `retention` what is forgotten when, `care` checks, backs up and restores it from another
process, and `reader` reads one moment of it there.
"""

from coordinator.store.file import StoreError
from coordinator.store.held import HeldRound, Part, Parts, Report
from coordinator.store.spools import Gap, Losses, Taken
from coordinator.store.store import Store

__all__ = ["Gap", "HeldRound", "Losses", "Part", "Parts", "Report", "Store", "StoreError", "Taken"]
