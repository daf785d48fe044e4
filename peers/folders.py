"""Where a peer keeps what is its own: a home for all runs of this user, and a folder for each run joined."""

from __future__ import annotations

import os
from pathlib import Path

from swarm.errors import CheckpointError, ConfigError

PAUSED = "paused"  # a file of this name in a peer's folder: it computes nothing


def home() -> Path:
    """`$BLOOMSWARM_HOME`, else `~/.bloomswarm`."""
    return Path(os.environ.get("BLOOMSWARM_HOME") or Path.home() / ".bloomswarm")


def run_folder(digest: str) -> Path:
    """The default folder of a run joined by link."""
    return home() / "runs" / digest[:16]


def built_in_configs() -> Path:
    """`configs/`: inside the installed package, or beside it in a checkout."""
    import swarm

    package = Path(swarm.__file__).parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def require_checkpoint(path: Path) -> None:
    """CheckpointError where this is no checkpoint's folder: said before the libraries that read one are loaded."""
    if not (path / "checkpoint.json").is_file():
        raise CheckpointError(f"{path} is not a checkpoint folder; name one like checkpoints/step-00000040")


def find_config(name: str) -> Path:
    """A path as given, or the built-in configuration of that name (`tiny`, `configs/tiny.toml`). ConfigError."""
    path = Path(name)
    if path.exists() or path.parent not in {Path(), Path("configs")}:
        return path
    built_in = {found.stem: found for found in sorted(built_in_configs().glob("*.toml"))}
    if path.stem not in built_in:
        raise ConfigError(f"{name}: there is no such file; name one, or a built-in run: {' '.join(built_in)}")
    return built_in[path.stem]
