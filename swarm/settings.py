"""Settings: what one peer decides alone (device, ports, caps, paths). Never part of the run's identity.

From a TOML file, from command-line flags, or both; a flag wins over the file. Environment variables are not read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from swarm.address import AddressError, check_dialable, check_listen
from swarm.validation import Strict, parse, read_toml

MAX_ADDRESSES = 16


class Settings(Strict):
    """One peer's choices. None means: decided by the machine or by the run."""

    directory: Path | None = None  # checkpoints, identity, logs of this peer
    data: Path | None = None  # the data root, or a volunteer's own text (see `private`)
    private: bool = False  # `data` is this volunteer's own and its statistics are not published
    cache: Path | None = None  # tokenised text, shared by the peers of one user

    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:[0-9]{1,2})?)$")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = (
        "auto"  # of matrix products; auto: the hardware's best
    )
    micro_batch: int | None = Field(default=None, ge=1, le=65_536)  # samples at once; None: what fits
    threads: int | None = Field(default=None, ge=1, le=1024)  # CPU threads for arithmetic; None: torch's choice
    gradient_checkpointing: bool = False  # less memory for activations, about a third more time
    inner_optimizer: Literal["adamw", "adamw-8bit"] = "adamw"  # of mode "local"; its moments are this peer's own
    compile: Literal["auto", "on", "off"] = "auto"  # the model with torch.compile, where it is measured to be faster
    steps: int | None = Field(default=None, ge=1)  # leave after this many; None: stay to the end of the run
    keep_checkpoints: int = Field(default=3, ge=1, le=10_000)

    listen: tuple[str, ...] = Field(default=("/ip4/0.0.0.0/tcp/0",), min_length=1, max_length=MAX_ADDRESSES)
    announce: tuple[str, ...] = Field(default=(), max_length=MAX_ADDRESSES)  # instead of what the daemon finds out
    initial_peers: tuple[str, ...] = Field(default=(), max_length=MAX_ADDRESSES)
    client: bool = False  # dial out only, accept no connection (behind a strict NAT)
    direct: bool = True  # connections beside the daemon's to peers of the same network; needs no cap to be set
    upload_mbit: float | None = Field(default=None, gt=0, le=1e6)  # Mbit/s; None: no cap
    download_mbit: float | None = Field(default=None, gt=0, le=1e6)

    metrics: bool = True
    metrics_port: int = Field(default=0, ge=0, le=65_535)  # on loopback; 0: any free port, printed at start
    machine_watts: float | None = Field(default=None, gt=0, le=1e5)  # W under full load, where no counter can be read
    grid_grams_per_kwh: float | None = Field(default=None, ge=0, le=2000)  # g CO2 equivalent of your electricity
    log_format: Literal["plain", "json"] = "plain"

    @field_validator("listen", "announce")
    @classmethod
    def _own_addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        return _checked(addresses, check_listen, "/ip4/0.0.0.0/tcp/4001")

    @field_validator("initial_peers")
    @classmethod
    def _their_addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        return _checked(addresses, check_dialable, "/ip4/203.0.113.7/tcp/4001/p2p/12D3KooW...")

    @model_validator(mode="after")
    def _choices_fit_together(self) -> Settings:
        if self.private and self.data is None:
            raise ValueError("private = true is about your own text, and data is not set; add data, or drop private")
        if self.client and self.announce:
            raise ValueError("client = true accepts no connection, so nothing can be announced; drop one of the two")
        return self


def load_settings(path: Path | str | None = None, **flags: Any) -> Settings:
    """The settings in `path` (TOML), overridden by the flags that are not None. ConfigError as for a configuration."""
    values = read_toml(Path(path)) if path is not None else {}
    given = {key: _plain(value) for key, value in flags.items() if value is not None}
    source = str(path) if path is not None else "settings"
    return parse(Settings, values | given, source)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _checked(addresses: tuple[str, ...], check: Any, example: str) -> tuple[str, ...]:
    for address in addresses:
        try:
            check(address)
        except AddressError as error:
            raise ValueError(f"{address[:80]!r} {error}; write it like {example}") from None
    return addresses
