"""Averaging of contributions among peers. `averager` is the seam; everything else here stands behind it."""
