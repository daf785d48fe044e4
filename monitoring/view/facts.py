"""What the manifest says and no peer can change: the yardstick for every claim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from swarm.errors import LinkError
from swarm.run.link import parse

if TYPE_CHECKING:
    from swarm.run.manifest import Manifest, SignedManifest


@dataclass(frozen=True)
class RunFacts:
    """planned: share of the tokens that the mixture gives each language. tokens_per_byte: of its text, by language.
    sequences: samples in its text. inner_samples: of one peer in a round of mode "local". link: what a newcomer pastes.
    """

    name: str
    digest: str
    steps: int
    global_batch: int
    sequence_length: int
    checkpoint_every: int
    validate_every: int = 0
    parameters: int = 0
    description: str = ""
    planned: Mapping[str, float] = field(default_factory=dict)
    sequences: Mapping[str, int] = field(default_factory=dict)
    inner_samples: int | None = None
    tokens_per_byte: Mapping[str, float] = field(default_factory=dict)
    link: str = ""

    @property
    def doors(self) -> frozenset[str]:
        """The peers that the link names."""
        try:
            return frozenset(address.rpartition("/p2p/")[2] for address in parse(self.link).peers)
        except LinkError:
            return frozenset()

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(sorted(self.planned))

    def epochs(self, step: int, trainers: int) -> dict[str, float]:
        """How often each language's text has been read by the plan; in mode "local" if always so many trained."""
        samples = step * (self.inner_samples * max(1, trainers) if self.inner_samples else self.global_batch)
        return {
            code: samples * share / self.sequences[code]
            for code, share in self.planned.items()
            if code in self.sequences
        }


def facts_of(signed: SignedManifest, link: str) -> RunFacts:
    from swarm.run.sizing import parameters

    manifest = signed.manifest
    return RunFacts(
        name=manifest.name,
        digest=signed.digest,
        sequence_length=manifest.model.sequence_length,
        checkpoint_every=manifest.training.checkpoint_every,
        validate_every=manifest.training.validate_every,
        parameters=parameters(manifest.model),
        description=manifest.description,
        link=link,
        **_changeable(manifest),
    )


def amended(facts: RunFacts, version: Manifest) -> RunFacts:
    """`facts` of the same run where another version of it counts: `swarm/run/amendment.py`."""
    return replace(facts, **_changeable(version))


def _changeable(manifest: Manifest) -> dict[str, Any]:
    """What an amendment may change, and what follows from it."""
    from swarm.data.mixture import mixture_of

    data, training = manifest.data, manifest.training
    mixture = mixture_of(data, training.steps * training.global_batch)
    return {
        "steps": training.steps,
        "global_batch": training.global_batch,
        "planned": {code: float(mixture.share(code)) for code in mixture.languages},
        "tokens_per_byte": {code: stock.tokens / stock.text_bytes for code, stock in data.stock.items()},
        "sequences": {code: stock.sequences for code, stock in data.stock.items()},
        "inner_samples": training.local.inner_steps * training.local.inner_batch if training.mode == "local" else None,
    }
