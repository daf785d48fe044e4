"""How soon a person sees the health page: first paint and first figures, in a real headless Chromium.

Times are the browser's own, from the start of the navigation. Cold is the first page of a browser that has just been
started with an empty profile; warm is the median of the same page opened again. Nothing is served from a cache: the
page's files say `no-store`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

from benchmarks.headless import Browser, NoBrowserError, chromium

AGAIN = 5
MEASURED = (
    "first_paint_seconds",
    "first_paint_warm_seconds",
    "first_figures_seconds",
    "first_figures_warm_seconds",
)
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
FIGURES = """new Promise((done) => {
  const look = () => document.body?.dataset.ready === 'yes' ? done(performance.now()) : requestAnimationFrame(look);
  look();
})"""


def first_paint(url: str) -> dict[str, float | None]:
    """Seconds; None where there is no browser, which is said."""
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, chromium(Path(folder)) as browser:
            (paint, figures), *warm = [seen(browser, url) for _ in range(1 + AGAIN)]
    except NoBrowserError as error:
        print(f"FIRST PAINT WAS NOT MEASURED: {error}")
        return dict.fromkeys(MEASURED)
    paints, shown = zip(*warm, strict=True)
    return {
        name: round(seconds, 3)
        for name, seconds in zip(MEASURED, (paint, median(paints), figures, median(shown)), strict=True)
    }


def seen(browser: Browser, url: str) -> tuple[float, float]:
    """Open the page; seconds to the first paint and to the first figures."""
    browser.open("about:blank")
    browser.wait("location.href === 'about:blank'")
    browser.open(url)
    browser.wait(f"location.href.startsWith({url!r}) && document.body !== null")
    figures = browser.evaluate(FIGURES)
    browser.wait(f"{PAINT} > 0")
    return browser.evaluate(PAINT) / 1e3, figures / 1e3
