"""Global-norm clipping after averaging, over the committed spans.

The norm is taken from `Mean.squared_norm()`, which is the same double on every CPU; so is everything made from it here.
"""

from __future__ import annotations

import math


def clip_factor(squared_norm: float, clip_norm: float) -> float:
    """What the averaged gradient is multiplied with so that its L2 norm is at most `clip_norm`: in (0, 1].

    ValueError if the norm is not finite: such an average must not be applied.
    """
    if not math.isfinite(squared_norm) or squared_norm < 0:
        raise ValueError(f"squared norm {squared_norm}")
    norm = math.sqrt(squared_norm)
    return 1.0 if norm <= clip_norm else clip_norm / norm
