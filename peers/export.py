"""`bloomswarm export`: a folder that transformers loads, with its tokenizer and model card."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("export", epilog="Example: bloomswarm export demo/peer-1/checkpoints/step-00000040 --to my-model")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--to", "target", required=True, type=click.Path(path_type=Path), help="The new folder.")
def command(checkpoint: Path, target: Path) -> None:
    """Turn CHECKPOINT into a transformers BLOOM folder (AutoModelForCausalLM and AutoTokenizer load it)."""
    from swarm.export import export

    export(checkpoint, target)
    click.echo(f"Written to {target}. Load it with AutoModelForCausalLM.from_pretrained('{target}').")
