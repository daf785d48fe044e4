"""The compiled update: the same bits as numpy's, and noticed where they are not."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from swarm.compiled import none
from swarm.run.schema import OptimizerSpec
from swarm.update import golden
from swarm.update.adamw import KERNELS, AdamW, Scalars
from swarm.update.agreement import difference

SIZE = 100_000


@pytest.fixture(scope="module")
def kernels() -> ModuleType:
    from swarm.update import kernels

    return kernels


def test_it_is_the_same(kernels: ModuleType) -> None:
    assert difference(kernels) == ""
    decayed = [slice(0, 1234), slice(2000, 4321)]
    assert golden.golden_digest(AdamW(decayed, lambda *arrays: kernels)) == golden.DIGEST


@pytest.mark.parametrize("span", [slice(0, SIZE), slice(999, 70_001), slice(5000, 5001)])
@pytest.mark.parametrize(
    "decayed",
    [[], [slice(0, SIZE)], [slice(0, 1000), slice(5000, 6000), slice(70_000, SIZE)], [slice(6000, 6001)]],
    ids=["nothing decays", "all", "parts", "one value"],
)
def test_every_span_and_every_choice_of_what_decays(kernels: ModuleType, span: slice, decayed: list[slice]) -> None:
    random = np.random.default_rng(1)
    gradient = random.standard_normal(span.stop - span.start, dtype=np.float32)
    before = tuple(np.abs(random.standard_normal(SIZE, dtype=np.float32)) for _ in range(3))
    scalars = Scalars.of(OptimizerSpec(weight_decay=0.3), 5, 1e-2, 0.9)
    found = []
    for source in (none, lambda *arrays: kernels):
        vectors = (before[0].copy(), before[1].copy(), before[2].copy())
        AdamW(decayed, source).update(span, gradient, vectors, scalars)
        found.append(np.concatenate(vectors).tobytes())
    assert found[0] == found[1]
    assert found[0] != np.concatenate(before).tobytes()


def test_a_state_at_an_odd_address_is_updated_without_them(
    kernels: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KERNELS, "found", kernels)
    odd = [np.frombuffer(bytearray(4 * SIZE + 1), np.float32, offset=1) for _ in range(3)]
    even = [np.zeros(SIZE, np.float32) for _ in range(3)]
    gradient, scalars = np.linspace(-1, 1, SIZE, dtype=np.float32), Scalars.of(OptimizerSpec(), 0, 1e-3, 1.0)
    for vectors in (odd, even):
        AdamW([]).update(slice(0, SIZE), gradient, (vectors[0], vectors[1], vectors[2]), scalars)
    assert all((one == other).all() for one, other in zip(odd, even, strict=True))
    assert even[0].any()


@pytest.mark.parametrize(("name", "said"), [("adamw", "AdamW on 1 "), ("nesterov", "Nesterov on 1 ")])
def test_a_machine_on_which_it_is_not_the_same_is_noticed(kernels: ModuleType, name: str, said: str) -> None:
    def off(parameters: np.ndarray, *others: Any) -> None:
        getattr(kernels, name)(parameters, *others)
        parameters[-1:] = np.nextafter(parameters[-1:], np.float32(9))

    both = {"adamw": kernels.adamw, "nesterov": kernels.nesterov} | {name: off}
    assert difference(SimpleNamespace(**both)).startswith(said)  # type: ignore[arg-type]


def test_a_process_that_ends_compiles_no_more() -> None:
    """It would be the last to leave, after seconds. In a process of its own: here they are compiled already."""
    code = (
        "import threading\n"
        "from swarm.update.adamw import KERNELS\n"
        "ended = threading.Thread(target=int); ended.start(); ended.join()\n"
        "main, threading.main_thread = threading.main_thread, lambda: ended\n"
        "KERNELS.load(); print(KERNELS() is None)\n"
        "threading.main_thread = main\n"
        "KERNELS.load(); print(KERNELS() is None)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["True", "False"], "")


def test_kernels_that_do_not_even_run_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a thread beside the work, nothing may be thrown at the volunteer."""
    from swarm.update import agreement

    def fail(kernels: ModuleType) -> str:
        raise TypeError("no matching definition")

    monkeypatch.setattr(agreement, "difference", fail)
    monkeypatch.setattr(KERNELS, "found", None)
    KERNELS.load()
    assert KERNELS() is None
