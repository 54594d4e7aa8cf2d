"""An option that takes one value, given twice: click would take the last in silence, and probe or judge half of what was meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import click


def refuse(command: click.Command, words: Sequence[str], context: click.Context) -> None:
    """UsageError for such an option among the words behind a verb, or behind the verbs below it.

    What is wrong with them otherwise is left to whoever parses them for good.
    """
    try:
        _, rest, order = command.make_parser(context).parse_args(list(words))
    except click.UsageError:
        return
    given = Counter(one for one in order if isinstance(one, click.Option) and not (one.is_flag or one.count))
    for option, times in given.items():
        if times > 1 and not option.multiple:
            flag = next(flag for flag in option.opts if flag.startswith("--"))
            raise click.UsageError(f"{flag} is given {times} times, and takes one value", context)
    below = command.commands.get(rest[0]) if isinstance(command, click.Group) and rest else None
    if below is not None:
        refuse(below, rest[1:], click.Context(below, parent=context, info_name=rest[0]))
