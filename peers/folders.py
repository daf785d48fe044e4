"""Where a peer keeps what is its own: a home for all runs of this user, and a folder for each run joined."""

from __future__ import annotations

import os
from pathlib import Path

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


def find_config(name: str) -> Path:
    """A path as given, or the built-in configuration of that name (`tiny`, `configs/tiny.toml`)."""
    path = Path(name)
    if path.exists() or path.parent not in {Path(), Path("configs")}:
        return path
    built_in = built_in_configs() / f"{path.stem}.toml"
    return built_in if built_in.is_file() else path
