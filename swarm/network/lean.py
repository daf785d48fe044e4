"""hivemind's DHT and streams without the rest of hivemind, for processes that only look on.

`hivemind/__init__.py` imports averaging, experts and optimizers, and scipy with them: 47 MB and a second. Python runs a
package's `__init__` before any module in it; here the package is in place without having run, so that only the modules
are imported that are asked for. Nothing is replaced: they are hivemind's own.
"""

from __future__ import annotations

import importlib.util
import sys

PACKAGE = "hivemind"


def import_lean() -> None:
    """To be called before anything imports hivemind. From then on `from hivemind import X` does not work here."""
    if PACKAGE in sys.modules:
        return
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None, "hivemind is a dependency"
    sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
