"""The mixture of languages: how often each is drawn, and which language the k-th draw is.

A language's share is proportional to weight * bytes ** temperature (temperature 1: as the text is; towards 0: all
alike; the sampling of mBERT and XLM-R, Conneau et al. 2020, section 3.1), or, with `sampling = "unimax"`, to its weight
alone (UniMax, Chung et al. 2023, section 3). Either way no language's text is read more than `max_repeats` times over
the run: what is over goes to the others by the same rule, so small languages are not worn out.

Draws follow one repeated block of 2**14 places in which every language stands as evenly spaced as it can, so that any
few steps already hold the mixture and the k-th draw is a table look-up. A language has at least one place a block,
however small it is.

Shares come from `decimal` (its exp and ln are correctly rounded on every machine, unlike libm's pow) and are then
whole numbers of places.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from decimal import Context, Decimal, localcontext
from fractions import Fraction

from swarm.errors import ConfigError
from swarm.run.schema import DataSpec

BLOCK = 1 << 14
GOLDEN = 0x9E3779B9  # 2**32 / golden ratio: spreads the languages' phases, so that rare ones do not come together
EXACT = Context(prec=50)


class Mixture:
    """Draw number -> (language, how many draws of that language came before it). O(1), the same everywhere."""

    def __init__(self, places: Mapping[str, int]) -> None:
        """places: places of each language in one block, each at least 1."""
        self.languages = tuple(sorted(places))
        self.block = sum(places.values())
        assert all(count >= 1 for count in places.values())
        self._counts = [places[code] for code in self.languages]
        spots = sorted(
            ((((ordinal << 32) + (index * GOLDEN & 0xFFFFFFFF)) << 32) // count, index, ordinal)
            for index, count in enumerate(self._counts)
            for ordinal in range(count)
        )
        self._language = array("H", (index for _, index, _ in spots))
        self._before = array("L", (ordinal for _, _, ordinal in spots))

    def draw(self, number: int) -> tuple[str, int]:
        """The language of draw `number` (from 0), and its ordinal among the draws of that language (from 0)."""
        block, place = divmod(number, self.block)
        index = self._language[place]
        return self.languages[index], block * self._counts[index] + self._before[place]

    def share(self, language: str) -> Fraction:
        return Fraction(self._counts[self.languages.index(language)], self.block)


def mixture_of(data: DataSpec, samples: int | None = None, block: int = BLOCK) -> Mixture:
    """The mixture of a resolved manifest's data (`stock` filled).

    samples: that the whole run draws; only `max_repeats` asks for it. ConfigError where the text is too little.
    A place in the block is the least that a language can get, so a cap may be exceeded by up to 1 / `block` of the run.
    """
    assert data.stock, "the mixture needs the stock of every language"
    pulls = {code: _pull(data, code) for code in data.stock}
    if data.max_repeats is not None:
        assert samples is not None, "a cap on repeats needs the run's length"
        pulls = capped(pulls, _caps(data, data.max_repeats, samples), samples)
    return Mixture(apportion(pulls, block))


def capped(pulls: Mapping[str, Fraction], caps: Mapping[str, Fraction], samples: int) -> dict[str, Fraction]:
    """Draws of each language: `samples` in proportion to `pulls`, none above its cap, all of them given out.

    The caps must hold them: sum(caps) >= samples.
    """
    draws: dict[str, Fraction] = {}
    while True:
        free = {code: pull for code, pull in pulls.items() if code not in draws}
        left, total = samples - sum(draws.values()), sum(free.values())
        over = [code for code, pull in free.items() if left * pull > caps[code] * total]
        if not over:
            return draws | {code: left * pull / total for code, pull in free.items()}
        draws |= {code: caps[code] for code in over}


def worn_out(shares: Mapping[str, Fraction], caps: Mapping[str, Fraction], samples: int) -> frozenset[str]:
    """Which languages have reached their caps once so many samples were read in these shares.

    Those that have are read no more, and the others in proportion; none has where all would have.
    """
    read, worn, left = dict.fromkeys(shares, Fraction(0)), set[str](), Fraction(samples)
    while len(worn) < len(shares):
        free = {code: share for code, share in shares.items() if code not in worn}
        total = sum(free.values())
        until = {code: (caps[code] - read[code]) * total / share for code, share in free.items()}
        first = min(until.values())
        if first > left:
            return frozenset(worn)
        read |= {code: read[code] + first * share / total for code, share in free.items()}
        left -= first
        worn |= {code for code, needed in until.items() if needed == first}
    return frozenset()


def caps_of(data: DataSpec, repeats: float) -> dict[str, Fraction]:
    """Samples of each language that may be read."""
    return {code: Fraction(repeats) * stock.sequences for code, stock in data.stock.items()}


def _caps(data: DataSpec, repeats: float, samples: int) -> dict[str, Fraction]:
    caps = caps_of(data, repeats)
    if (most := sum(caps.values())) < samples:
        held = sum(stock.sequences for stock in data.stock.values())
        raise ConfigError(
            f"data.max_repeats {repeats:g}: the text is {held:,} samples, so at most {int(most):,} may be read, "
            f"and the run reads {samples:,}; add text, lower training.steps, or allow {-(-samples // held)} repeats"
        )
    return caps


def weight_of(data: DataSpec, language: str) -> float:
    """The weight of a language: that of the sources that name it, else of the folders that may hold it.

    ConfigError where these differ: text of one language is one pool, so two weights for it mean nothing.
    """
    named = [s.weight for s in data.sources if language == s.language or language in (s.languages or ())]
    open_ = [s.weight for s in data.sources if s.language is None and s.languages is None]
    weights = sorted(set(named or open_ or [1.0]))
    if len(weights) > 1:
        both = " and ".join(map(repr, weights[:2]))
        raise ConfigError(f"data.sources: {language} has weights {both}; give all sources of a language one weight")
    return weights[0]


def apportion(pulls: Mapping[str, Fraction], block: int) -> dict[str, int]:
    """Whole places in proportion to `pulls` by largest remainder, at least 1 each, `block` in all."""
    assert len(pulls) <= block
    total = sum(pulls.values())
    ideal = {code: pull * block / total for code, pull in pulls.items()}
    places = {code: max(1, int(value)) for code, value in ideal.items()}
    while (missing := block - sum(places.values())) != 0:
        step = 1 if missing > 0 else -1
        movable = [code for code in sorted(places) if step > 0 or places[code] > 1]
        places[max(movable, key=lambda code: step * (ideal[code] - places[code]))] += step
    return places


def _pull(data: DataSpec, language: str) -> Fraction:
    """weight * bytes ** temperature to 50 digits; for UniMax the weight."""
    if data.sampling == "unimax":
        return Fraction(weight_of(data, language))
    with localcontext(EXACT):
        size = Decimal(data.stock[language].text_bytes)
        return Fraction((Decimal(data.temperature) * size.ln()).exp()) * Fraction(weight_of(data, language))
