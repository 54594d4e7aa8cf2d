"""`segwatch completion`: what a shell needs to complete verbs and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from cli import options

VARIABLE = "_SEGWATCH_COMPLETE"  # set by the shell's function when it asks segwatch for words; click's name for it
_HOW = {
    "bash": 'eval "$(segwatch completion bash)"',
    "zsh": 'eval "$(segwatch completion zsh)"',
    "fish": "segwatch completion fish > ~/.config/fish/completions/segwatch.fish",
}


@click.command("completion", epilog=f"Example, for ~/.bashrc: {_HOW['bash']}")
@click.argument("shell", type=click.Choice(list(_HOW)))
@options.common
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the completion of a shell, to be read at its start.

    \b
    bash, in ~/.bashrc:  eval "$(segwatch completion bash)"
    zsh, in ~/.zshrc:    eval "$(segwatch completion zsh)"
    fish, once:          segwatch completion fish > ~/.config/fish/completions/segwatch.fish
    """  # noqa: D301 - click's mark of lines that are not wrapped
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(context.find_root().command, {}, "segwatch", VARIABLE).source())
