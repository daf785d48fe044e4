"""`bloomswarm export`: a folder that transformers loads, with its tokenizer and model card; and its release."""

from __future__ import annotations

import json
from pathlib import Path

import click

from peers.folders import require_checkpoint
from swarm.errors import ConfigError, NetworkError


@click.command(
    "export",
    epilog="Examples:\n\n  bloomswarm export demo/peer-1/checkpoints/step-00000040 --to my-model\n\n"
    "  bloomswarm eval CHECKPOINT --data my-text/ --json > eval.json\n\n"
    "  bloomswarm export CHECKPOINT --to my-model --evaluation eval.json --push me/my-model",
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--to", "target", required=True, type=click.Path(path_type=Path), help="The new folder.")
@click.option(
    "--evaluation",
    type=click.Path(path_type=Path),
    help="What `eval CHECKPOINT --json` printed, for the model card.",
)
@click.option("--push", metavar="REPO", help="Then upload it to the Hugging Face Hub, with your login there.")
@click.option("--public", is_flag=True, help="A new repository is for everybody to see  [default: private]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    checkpoint: Path, target: Path, evaluation: Path | None, push: str | None, public: bool, as_json: bool
) -> None:
    """Turn CHECKPOINT into a transformers BLOOM folder (AutoModelForCausalLM and AutoTokenizer load it)."""
    if public and push is None:
        raise click.UsageError("--public says how --push makes a repository: name one with --push")
    require_checkpoint(checkpoint)
    from swarm.release.export import export

    if push is not None:
        ready(push)
    export(checkpoint, target, evaluation)
    url = None if push is None else pushed(target, push, public, checkpoint.resolve().name)
    if as_json:
        click.echo(json.dumps({"folder": str(target), "commit": url}))
        return
    click.echo(f"Written to {target}. Load it with AutoModelForCausalLM.from_pretrained('{target}').")
    if url is not None:
        click.echo(f"Uploaded: {url}")


def ready(repo: str) -> None:
    """The name and the login, before minutes of work."""
    from huggingface_hub import HfApi

    from swarm.release.publish import require_login, require_repo

    require_repo(repo)
    require_login(HfApi())


def pushed(folder: Path, repo: str, public: bool, name: str) -> str:
    """Its address. What fails says that the folder is there, and how to go on from it."""
    from huggingface_hub import HfApi

    from swarm.release.publish import publish

    try:
        return publish(folder, repo, public=public, message=f"Bloomswarm checkpoint {name}", api=HfApi())
    except (ConfigError, NetworkError) as error:
        raise type(error)(f"{error}. {folder} is complete; upload it later: hf upload {repo} {folder}") from None
