"""The plan: which sample a peer reads at (step, slot). A pure function of the manifest; nobody hands out work.

**Slots.** A step has LANES * B slots for a global batch of B: lane c holds slots c*B to (c+1)*B - 1. Members of the
last round's roster stride through lanes 0 to LANES - 2: member i of n reads slots i, i + n, i + 2n... Equal members
together use lane 0 and no more; a fast one runs on into later lanes, up to LANES - 1 times the mean speed. The last
lane is for newcomers, who start in it at a place drawn from (peer id, step). Before the first roster all are newcomers
and all lanes are theirs.

**Draws.** Every lane counts its own draws, step*B + (slot mod B), so the used slots of lane 0 are the mixture without a
gap, whatever the other lanes do.

**Passes.** A *cycle* of a language is one shuffle of its N sequences, laid out in rows of LANES. A cycle has LANES
passes; in pass p lane c reads column (c + p) mod LANES. So
- within a pass no two (step, slot) have the same sample: members of one roster never read a sample twice;
- over a cycle lane 0 reads each of the N samples exactly once. What a pass skips, because slots of other lanes went
  unused, is what lane 0 reads in the passes after it. Reserving many slots costs no coverage.
- what a fast member read early in lane c, lane 0 reads again c passes later, as a later pass may.
The next cycle has another shuffle. Where N is no multiple of LANES, the last row is short: some slots of the other
lanes are empty (`sample` is None, `slots_of` passes them over); lane 0 has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from swarm.data.mixture import caps_of, mixture_of, worn_out
from swarm.data.permutation import Permutation
from swarm.run.schema import DataSpec

LANES = 8


@dataclass(frozen=True)
class SampleRef:
    """One sequence of one language. `pass_number` counts this language's passes, LANES to a cycle."""

    language: str
    index: int
    pass_number: int

    @property
    def cycle(self) -> int:
        """How many times the language was shuffled anew before this draw."""
        return self.pass_number // LANES


class Plan:
    """(step, slot) -> sample, and (roster, peer, step) -> slots. Every peer of a run computes the same."""

    def __init__(self, data: DataSpec, global_batch: int, steps: int | None = None) -> None:
        """data: of a resolved manifest (stock filled). global_batch: samples in one step of the swarm.

        steps: of the run; needed where the data caps repeats. ConfigError where the text is too little for it.
        """
        self.sequences = {language: stock.sequences for language, stock in data.stock.items()}
        self.global_batch = global_batch
        self.slots = LANES * global_batch
        self.reserved = self.slots - global_batch  # the first slot of the newcomers' lane
        self._seed = data.seed
        self._caps = caps_of(data, data.max_repeats) if data.max_repeats is not None else None
        self.mixture = mixture_of(data, None if steps is None else steps * global_batch)
        self._shuffle = lru_cache(maxsize=1024)(self._new_shuffle)

    def sample(self, step: int, slot: int) -> SampleRef | None:
        """The sample of a slot; None where the slot is empty (never in lane 0)."""
        language, cycle, pass_, position = self._place(step, slot)
        size = self.sequences[language]
        if position >= size:
            return None
        return SampleRef(language, self._shuffle(language, cycle)[position], cycle * LANES + pass_)

    def worn(self, samples: int) -> frozenset[str]:
        """Languages that are read no more once the whole swarm has read so many samples, in whatever lanes.

        The mixture keeps the cap on repeats where the swarm reads as much as the manifest says. It reads more where
        peers run on into further lanes, as those of mode "local" do: then this does.
        """
        if self._caps is None:
            return frozenset()
        return worn_out({code: self.mixture.share(code) for code in self.sequences}, self._caps, samples)

    def slots_of(
        self, roster: tuple[str, ...], peer_id: str, step: int, worn: frozenset[str] = frozenset()
    ) -> Iterator[int]:
        """The slots of a peer in a step, in the order it reads them, without end. worn: languages that are left out.

        roster: peer ids of the last committed round, () before the first. Members that outrun their stride go on as
        newcomers, and newcomers that outrun the reserved lane take others' slots: then samples may coincide (and
        `Coverage` counts them), but nobody ever waits for text.
        """
        if peer_id in roster:
            yield from self._filled(step, range(roster.index(peer_id), self.reserved, len(roster)), worn)
        first = self.reserved if roster else 0
        size = self.slots - first
        seed = hashlib.sha256(f"newcomer 1\n{self._seed}\n{step}\n{peer_id}".encode()).digest()
        start = int.from_bytes(seed[:8], "little") % size
        yield from self._filled(step, (first + (start + place) % size for place in range(size)), worn)
        while True:  # the same samples again, worn out or not
            yield from self._filled(step, ((start + place) % self.slots for place in range(self.slots)))

    def reads(self, roster: tuple[str, ...], peer_id: str, step: int, samples: int) -> list[int]:
        """The slots behind a contribution of `samples`: how anyone recomputes it from a certificate."""
        return list(islice(self.slots_of(roster, peer_id, step), samples))

    def _filled(self, step: int, slots: Iterable[int], worn: frozenset[str] = frozenset()) -> Iterator[int]:
        for slot in slots:
            language, _, _, position = self._place(step, slot)
            if position < self.sequences[language] and language not in worn:
                yield slot

    def _place(self, step: int, slot: int) -> tuple[str, int, int, int]:
        """(language, cycle, pass in the cycle, position in the cycle's shuffle); a position >= N is empty."""
        assert step >= 0, step
        assert 0 <= slot < self.slots, (slot, self.slots)
        lane, column = divmod(slot, self.global_batch)
        language, ordinal = self.mixture.draw(step * self.global_batch + column)
        cycle, within = divmod(ordinal, self.sequences[language])
        rows, over = divmod(self.sequences[language], LANES)
        if within < over * (rows + 1):  # the first `over` passes have one row more
            pass_, row = divmod(within, rows + 1)
        else:
            pass_, row = divmod(within - over * (rows + 1), rows)
            pass_ += over
        return language, cycle, pass_, row * LANES + (lane + pass_) % LANES

    def _new_shuffle(self, language: str, cycle: int) -> Permutation:
        return Permutation(f"plan 1\n{self._seed}\n{language}\n{cycle}", self.sequences[language])
