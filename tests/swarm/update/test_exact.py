"""The scalars of a step: near the C library's, and pinned to the bit."""

from __future__ import annotations

import math

from swarm.update.exact import half_cosine, power


def test_near_the_c_library() -> None:
    for total in (1, 7, 977):
        for done in range(total + 1):
            assert abs(half_cosine(done, total) - (1 + math.cos(math.pi * done / total)) / 2) < 1e-15
    for count in (1, 2, 50, 4000):
        assert math.isclose(power(0.95, count), 0.95**count, rel_tol=1e-12)
    assert power(0.0, 3) == 0.0
    assert power(0.95, 10**8) == 0.0


def test_pinned_to_the_bit() -> None:
    assert power(0.95, 777).hex() == "0x1.6a6d6a12cdac1p-58"
    assert half_cosine(313, 977).hex() == "0x1.88ebddef4c44bp-1"
