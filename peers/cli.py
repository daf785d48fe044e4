"""The command line: one lazily imported module per command, and the one place where errors become exit codes.

A command's module is imported only when that command is named, so `bloomswarm --help` answers at once.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import sys
from functools import partial
from typing import Any

import click

from swarm import __version__
from swarm.errors import INTERRUPTED, ResourceError, SwarmError

COMMANDS = {
    "demo": ("peers.demo", "Train a whole swarm on this machine and show the result."),
    "create": ("peers.commands.create", "Create a run: keys, tokenizer, signed manifest."),
    "amend": ("peers.commands.amend", "Change a running run's text, length or batch."),
    "seed": ("peers.commands.seed", "Serve a run to newcomers and print its join link."),
    "sign": ("peers.commands.sign", "Vouch for a checkpoint as the run's owner or anchor."),
    "join": ("peers.commands.join", "Train with a run, given its link."),
    "assist": ("peers.commands.assist", "Average for a run's peers, without training."),
    "archive": ("peers.commands.archive", "Keep a run's certified checkpoints; a dead run restarts from them."),
    "invite": ("peers.commands.invite", "Let a peer take part in a run that is not open."),
    "revoke": ("peers.commands.revoke", "Take an invitation back: nobody deals with that peer any more."),
    "eval": ("peers.commands.evaluate", "Loss and bits per byte of a checkpoint, per language."),
    "export": ("peers.commands.export", "Turn a checkpoint into a transformers folder."),
    "replay": ("peers.commands.replay", "Compute a peer's contribution again, and compare."),
    "monitor": ("peers.commands.monitor", "Watch a run: health page, metrics, JSON."),
    "status": ("peers.commands.status", "One line: what is happening, and what to do about it."),
    "pause": ("peers.commands.pause", "Let this machine's peers compute nothing for a while."),
    "resume": ("peers.commands.resume", "Let them train again."),
    "doctor": ("peers.commands.doctor", "Check everything before anything is joined."),
    "report": ("peers.commands.report", "One redacted file for a bug report."),
    "identity": ("peers.commands.identity", "The keys that this machine signs with: show, export, import."),
}


class LazyGroup(click.Group):
    """Subcommands by name; the module of one is imported when it is called or its own help is asked for."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return importlib.import_module(COMMANDS[name][0]).command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="bloomswarm")
def bloomswarm() -> None:
    """Train one open, multilingual language model together, peer to peer.

    \b
    bloomswarm demo                          a whole swarm on this machine, in minutes
    bloomswarm create configs/tiny.toml --dir my-run
    bloomswarm seed my-run                   prints the link that others join with
    bloomswarm join 'bloomswarm:...'         train
    """


def main(arguments: list[str] | None = None) -> None:
    """Run one command; every expected failure is one line on standard error and a documented exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    fail = partial(say_failure, as_json="--json" in given)
    try:
        bloomswarm.main(args=arguments, prog_name="bloomswarm", standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
    except click.UsageError as error:
        name = error.ctx.command_path if error.ctx else "bloomswarm"
        fail("UsageError", f"{error.format_message().rstrip('.')} (see `{name} --help`)", 2)
    except click.ClickException as error:
        fail("UsageError", error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        fail("Interrupted", "interrupted", INTERRUPTED)
    except SwarmError as error:
        fail(type(error).__name__, error, error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left: nothing more to say
        sys.exit(0)
    except OSError as error:
        fail(ResourceError.__name__, describe_os_error(error), ResourceError.exit_code)


def describe_os_error(error: OSError) -> str:
    where = f" {error.filename}" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"the disk is full{where}: free some space or choose another folder with --dir"
    return f"{(error.strerror or str(error)).lower()}{where}: check that the path exists and that you may use it"


def say_failure(kind: str, message: Any, code: int, *, as_json: bool) -> None:
    """One line, for a person or for a program. kind: a name of docs/exit-codes.md."""
    words = " ".join(str(message).split())
    told = json.dumps({"error": kind, "code": code, "words": words}, sort_keys=True)
    print(told if as_json else f"bloomswarm: {words}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
