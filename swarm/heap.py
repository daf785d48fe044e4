"""Freed memory is kept for the next use: rounds and micro-batches take the same megabytes each time.

By default glibc gives spans of a mebibyte back to the kernel at once and gets them again page by page; measured, that
took as long as encoding them, and up to a fifth of a small model's training (docs/decisions.md). One arena for all
threads, so that what one has freed another can use. Elsewhere than on glibc nothing happens.
"""

from __future__ import annotations

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8  # mallopt(3)
LARGEST_BYTES = 32 << 20  # the most that glibc allows; larger pieces still come from the kernel and go back to it
KEPT_BYTES = 512 << 20  # free memory above this goes back, too: a micro-batch's activations are taken and freed at once


def keep_freed_memory() -> bool:
    """For the whole process, best before it has threads. False where the system's allocator has no such settings."""
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    options = {ARENA_MAX: 1, MMAP_THRESHOLD: LARGEST_BYTES, TRIM_THRESHOLD: KEPT_BYTES}
    return all(set_option(option, value) == 1 for option, value in options.items())
