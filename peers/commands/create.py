"""`bloomswarm create`: everything a run needs, made once by its owner and signed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from peers.commands.terminal import passing
from peers.folders import find_config
from swarm.errors import ConfigError

if TYPE_CHECKING:
    from swarm.run.manifest import Manifest, RunConfig


@click.command(
    "create",
    epilog="Examples:\n\n  bloomswarm create configs/tiny.toml --dir my-run\n\n"
    "  bloomswarm create configs/bloom-560m.toml --dry-run",
)
@click.argument("config", type=str)
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="The run's new folder.")
@click.option("--data", type=click.Path(path_type=Path), help="Train on this folder of text instead of the sources.")
@click.option("--steps", type=click.IntRange(1, 100_000_000), help="Another number of steps than the configuration's.")
@click.option("--dry-run", is_flag=True, help="Only print what the run would need; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    config: str, folder: Path | None, data: Path | None, steps: int | None, dry_run: bool, as_json: bool
) -> None:
    """Make a run from CONFIG (a TOML file, or the name of a built-in one): keys, tokenizer, signed manifest."""
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not dry_run:
        raise ConfigError(f"{folder} exists and is not empty: a run is never overwritten; choose another --dir")
    from peers.known import require_known
    from swarm.run.manifest import load_config

    path = find_config(config)
    chosen = change(load_config(path), data=data, steps=steps)
    require_known(chosen)
    if dry_run:
        show_sizing(chosen, as_json)
        return
    if folder is None:
        raise ConfigError("where to? Name a new folder with --dir, or look first with --dry-run")
    with passing() as say:
        manifest = create(chosen, path.parent, folder, say)
    rates = bytes_per_token(manifest)
    if as_json:
        made = {"run": str(folder), "digest": manifest.digest, "owner": manifest.owner, "bytes_per_token": rates}
        click.echo(json.dumps(made))
    else:
        click.echo("Bytes per token (a language far below the others is treated badly):")
        click.echo("  " + "  ".join(f"{code} {rate:.2f}" for code, rate in rates.items()))
        click.echo(f"Run {manifest.name} {manifest.digest[:16]} is ready in {folder}. Serve it with:")
        click.echo(f"  bloomswarm seed {folder}")
        click.echo(f"Keep {folder / 'owner.pem'} to yourself, and a copy: whoever has that key owns the run.")


def change(config: RunConfig, *, data: Path | None, steps: int | None) -> RunConfig:
    """The configuration with what the command line overrides, validated again as a whole."""
    from swarm.run.manifest import parse_config

    if data is None and steps is None:
        return config
    raw: dict[str, Any] = config.model_dump(mode="json")
    if data is not None:
        raw["data"]["sources"] = [{"kind": "folder", "path": str(data.resolve())}]
    if steps is not None:
        raw["training"]["steps"] = steps
        raw["optimizer"]["warmup_steps"] = min(config.optimizer.warmup_steps, steps // 4)
    return parse_config(raw, "the command line")


def show_sizing(config: RunConfig, as_json: bool) -> None:
    from peers.training.outlook import outlook
    from swarm.run.sizing import sizing
    from swarm.settings import Settings

    size, here = sizing(config), outlook(config, Settings())
    if as_json:
        click.echo(json.dumps(size.to_dict() | {"here": here.to_dict()}, sort_keys=True))
    else:
        click.echo("\n".join([size.describe(), *here.lines()]))


def create(config: RunConfig, base: Path, folder: Path, say: Callable[[str], None]) -> Manifest:
    """Write the run's folder: all of it, or nothing (it is made beside its place and moved there at the end).

    `base` is the folder that relative data paths in `config` start from.
    """
    from swarm.durable import sync_folder, unfinished

    folder = folder.resolve()
    new = [parent for parent in folder.parents if not parent.exists()]
    try:
        with unfinished(folder.parent, folder.name) as making:
            manifest = fill(config, base, making, say)
            if folder.exists():
                folder.rmdir()
            making.rename(folder)
            sync_folder(folder.parent)
        return manifest
    finally:
        for parent in new:  # nothing was put there: they were made for nothing
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()


def fill(config: RunConfig, base: Path, folder: Path, say: Callable[[str], None]) -> Manifest:
    """Tokenizer, stock of the data, initial weights, key and manifest, in that order: each needs the ones before."""
    from peers.run_folder import RunFolder
    from swarm.data.mixture import mixture_of
    from swarm.data.sources import texts_by_language
    from swarm.data.stock import take_stock
    from swarm.data.tokenizer import load, train
    from swarm.run.manifest import SignedManifest, resolve
    from swarm.run.portable import portable, portable_names
    from swarm.trust.identity import Identity

    config, root = portable(config, base)
    say("reading the text and making the tokenizer")
    config, weights, chosen = portable_names(config, base)
    data = load(chosen).data if chosen else train(texts_by_language(config.data, root), config.model.vocab_size)
    tokenizer = load(data).check(vocab_size=config.model.vocab_size)
    stock = take_stock(
        config.data, tokenizer, config.model.sequence_length, root=root, cache=folder / "cache", progress=say
    )
    say("making the initial weights")
    initial_digest = start_from(config, weights, folder)
    owner = Identity.create(folder / "owner.pem")
    manifest = resolve(
        config,
        owner=owner.peer_id,
        created=datetime.now(UTC).date().isoformat(),
        tokenizer_digest=tokenizer.digest,
        initial_digest=initial_digest,
        stock=stock,
    )
    mixture_of(manifest.data, manifest.training.steps * manifest.training.global_batch)  # text enough for the run?
    shutil.rmtree(folder / "cache", ignore_errors=True)
    RunFolder(folder).write(SignedManifest.sign(manifest, owner).to_json(), data)
    return manifest


def start_from(config: RunConfig, weights: Path | None, folder: Path) -> str:
    """The digest of the vector the run starts from. One from this disk is kept in the run's folder, to be served."""
    from peers.run_folder import RunFolder
    from swarm.model.bloom import load_vector, starting_vector
    from swarm.model.initial import vector_digest

    if weights is None:
        return vector_digest(starting_vector(config.model))
    vector = load_vector(config.model, str(weights))
    RunFolder(folder).write_weights(vector.astype("<f4", copy=False).data)
    return vector_digest(vector)


def bytes_per_token(manifest: Manifest) -> dict[str, float]:
    """By language. One far below the others is cut into more tokens for the same text: it is treated badly."""
    return {code: round(held.text_bytes / held.tokens, 3) for code, held in sorted(manifest.data.stock.items())}
