"""`bloomswarm amend RUN CONFIG --at-step N`: the owner changes a running run, in what may change, from a step on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from swarm.errors import ConfigError, NetworkError

if TYPE_CHECKING:
    from peers.owner.amendments import Amendments
    from swarm.run.amendment import Amendment
    from swarm.run.manifest import Manifest, RunConfig

MARGIN_STEPS = 5  # that the swarm may make while the word goes round


@click.command(
    "amend",
    epilog="Example: bloomswarm amend my-run configs/my-run-with-swahili.toml --at-step 4000",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("config", type=str)
@click.option("--at-step", required=True, type=click.IntRange(1), help="The first step that is computed by it.")
@click.option("--force", is_flag=True, help="Do not ask the swarm how far it is.")
@click.option("--dry-run", is_flag=True, help="Only print what would change.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(run: Path, config: str, at_step: int, force: bool, dry_run: bool, as_json: bool) -> None:
    """Sign a new version of the run in folder RUN: text and mixture, training.steps and global_batch as in CONFIG.

    CONFIG is a whole configuration; everything else in it must be as it was. The seed of RUN passes the amendment on
    at once, peers keep it and pass it on too, and switch together at that step. Choose one that is minutes away.
    """
    from peers.commands.terminal import passing
    from peers.folders import find_config
    from peers.owner.amendments import Amendments
    from peers.run_folder import RunFolder
    from swarm.run.amendment import version_at
    from swarm.run.difference import diff
    from swarm.run.manifest import load_config

    path, folder = find_config(config), RunFolder(run)
    signed = folder.manifest()
    known = Amendments(run, signed.manifest)
    if not force:
        require_ahead(folder, known, at_step)
    with passing() as say:
        made = amended(folder, known, load_config(path), path.parent, at_step, say)
    before = version_at(signed.manifest, known.chain, at_step)
    changes = [line for line in diff(before, made.manifest) if ".digest" not in line]
    if not dry_run:
        known.keep(made)
    if as_json:
        told = {"number": made.number, "at_step": at_step, "digest": made.digest, "changes": changes}
        click.echo(json.dumps(told | {"signed": not dry_run}))
        return
    click.echo(
        "\n".join([f"Amendment {made.number}, from step {at_step:,} on (before, and then):", *indented(changes)])
    )
    click.echo(
        "Nothing was signed (--dry-run)." if dry_run else "Signed. A seed that runs on this folder passes it on."
    )


def indented(lines: list[str], most: int = 20) -> list[str]:
    more = [f"  and {len(lines) - most} more"] if len(lines) > most else []
    return [f"  {line}" for line in lines[:most]] + more


def amended(
    folder: object, known: object, config: RunConfig, base: Path, at_step: int, say: Callable[[str], None]
) -> Amendment:
    """The next amendment of the run in `folder`. base: where relative data paths of `config` start from."""
    from swarm.data.mixture import mixture_of
    from swarm.run.amendment import amend, version_at, with_changes
    from swarm.trust.identity import Identity

    first: Manifest = known.first
    if first.averaging.algorithm != "round":
        raise ConfigError(f"a run that averages by {first.averaging.algorithm} cannot be amended; create a new run")
    owner = Identity.load(folder.path / "owner.pem")
    config, stock = stocked(folder, config, base, say)
    manifest = with_changes(version_at(first, known.chain, 2**53), config, stock)
    made = amend(first, known.chain, manifest, at_step, owner)
    mixture_of(manifest.data, manifest.training.steps * manifest.training.global_batch)  # text enough for the run?
    return made


def stocked(folder: object, config: RunConfig, base: Path, say: Callable[[str], None]) -> tuple[RunConfig, dict]:
    """The configuration with portable paths, and what its text holds by the run's tokenizer."""
    import tempfile

    from swarm.data.stock import take_stock
    from swarm.data.tokenizer import load
    from swarm.run.portable import portable

    config, root = portable(config, base)
    say("reading the text")
    with tempfile.TemporaryDirectory() as cache:
        length = config.model.sequence_length
        tokenizer = load(folder.tokenizer())
        return config, take_stock(config.data, tokenizer, length, root=root, cache=Path(cache), progress=say)


def require_ahead(folder: object, known: Amendments, at_step: int) -> None:
    """ConfigError where the swarm would be past that step before all have heard. NetworkError: nobody to ask."""
    from peers.owner.watched import step_of
    from peers.telling.progress import read_progress
    from swarm.network.host import Network
    from swarm.run.link import parse
    from swarm.trust.identity import Identity

    try:
        link = parse(folder.link())
    except ConfigError:
        return  # it was never served: nobody can be further
    try:
        network = Network(Identity.generate(), link.digest, initial_peers=link.peers, client=True).start()
    except NetworkError as error:
        raise NetworkError(f"{error}; with --force the swarm is not asked how far it is") from None
    try:
        records = read_progress(network).values()
    finally:
        network.close()
    step = step_of(known.first, known.chain, records)
    if at_step < step + MARGIN_STEPS:
        raise ConfigError(
            f"the swarm is at step {step} and must hear of it before it counts; "
            f"take --at-step {step + 10 * MARGIN_STEPS} or later"
        )
