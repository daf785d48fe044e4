"""Powers and cosines that are the same double everywhere.

`pow` and `cos` come from the C library, which differs between systems in the last bit; IEEE 754 fixes only `+ - * /`
and `sqrt`. So the few scalars of a step are computed in decimal, which the standard library defines to the digit, with
far more digits than a double holds.
"""

from __future__ import annotations

from decimal import Context, Decimal

DIGITS = Context(prec=40)
PI = Decimal("3.14159265358979323846264338327950288419716939937510")


def power(base: float, exponent: int) -> float:
    """base ** exponent for 0 <= base < 1 and exponent >= 1."""
    return float(DIGITS.power(Decimal(base), exponent))


def half_cosine(done: int, total: int) -> float:
    """(1 + cos(pi * done / total)) / 2 for 0 <= done <= total: from 1 down to 0."""
    angle = DIGITS.divide(DIGITS.multiply(PI, done), total)
    square = DIGITS.multiply(angle, angle)
    term, cosine, n = Decimal(1), Decimal(1), 0
    while abs(term) > Decimal("1e-36"):
        n += 2
        term = DIGITS.divide(DIGITS.multiply(-term, square), n * (n - 1))
        cosine = DIGITS.add(cosine, term)
    return max(0.0, float(DIGITS.divide(DIGITS.add(cosine, 1), 2)))
