"""Each check of `doctor` on what it is there to find, and on a machine where all is well."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import pytest

from peers.checks.finding import Finding, worst
from peers.checks.machine import Device, Disk, Memory, OpenFiles
from peers.checks.pace import Pace
from peers.checks.prospects import Prospects, prospects
from peers.checks.run import Clock, Line
from peers.checks.software import Packages, PythonVersion, Shadows
from peers.training.outlook import exchanged
from swarm.errors import ResourceError
from swarm.model.memory import MemoryShortError
from swarm.network.sounding import Way
from swarm.records import ProgressRecord
from swarm.run.sizing import show_seconds
from swarm.settings import Settings
from tests.swarm.averaging.live.trainees import manifest

GB = 10**9


def versions(**found: str) -> Callable[[str], str]:
    def version(name: str) -> str:
        if name not in found:
            raise metadata.PackageNotFoundError(name)
        return found[name]

    return version


def way(ahead: float = 0.0, upload: float = 20.0, download: float = 100.0) -> Way:
    return Way("peer", 0.05, ahead, upload, download)


def plan(**values: object) -> Prospects:
    given = {
        "copy_bytes": 10_000_000, "state_bytes": 120_000_000, "peers": 2, "step_seconds": 60.0,
        "others_per_second": 9.0, "upload_mbit": 20.0, "download_mbit": 100.0, **values,
    }  # fmt: skip
    return Prospects(**given)  # type: ignore[arg-type]


def test_this_machine_passes_what_its_own_installation_asks_for() -> None:
    for check in (PythonVersion(), Packages(), Shadows()):
        finding = check.look()
        assert finding.verdict == "ok", finding


def test_an_old_python() -> None:
    finding = PythonVersion("3.9.1", ">=3.11,<3.13").look()
    assert (finding.verdict, "3.9.1" in finding.words) == ("fail", True)


@pytest.mark.parametrize(
    ("found", "verdict", "said"),
    [
        ({"numpy": "2.3.5", "torch": "2.13.0+cpu", "bitsandbytes": "0.50"}, "ok", "3 packages"),
        ({"numpy": "2.4.0", "torch": "2.13.0", "bitsandbytes": "0.50"}, "fail", "numpy 2.4.0 is not <2.4,>=2.0"),
        ({"numpy": "2.3.5", "bitsandbytes": "0.50"}, "fail", "torch is missing"),
        ({"numpy": "2.3.5", "torch": "2.13.0"}, "warn", "bitsandbytes is missing"),
    ],
)
def test_packages_outside_their_range(found: dict[str, str], verdict: str, said: str) -> None:
    wanted = ["numpy>=2.0,<2.4", "torch>=2.6", "bitsandbytes>=0.45; sys_platform == 'linux'", 'x>=1; extra == "dev"']
    finding = Packages(wanted, versions(**found)).look()
    assert finding.verdict == verdict, finding
    assert said in finding.words
    if verdict == "fail":
        assert finding.fix.startswith("pip install '")


def test_another_distribution_that_brings_a_package_of_our_name() -> None:
    owners: dict[str, Sequence[str]] = {
        "swarm": ["bloomswarm", "openai-swarm"],
        "peers": ["Bloomswarm"],
        "torch": ["x"],
    }
    finding = Shadows(owners).look()
    assert finding.verdict == "fail"
    assert finding.fix.startswith("pip uninstall openai-swarm")


def test_a_gpu_that_torch_cannot_use_and_a_torch_that_is_broken() -> None:
    def unused(wanted: str, say: Callable[[str], None]) -> str:
        say("This machine has an NVIDIA GPU that torch cannot use.")
        return "cpu"

    def broken(wanted: str, say: Callable[[str], None]) -> str:
        raise OSError("libcudart.so: cannot open")

    def absent(wanted: str, say: Callable[[str], None]) -> str:
        raise ResourceError("--device cuda: this torch can use no CUDA device")

    finding = Device("auto", unused).look()
    assert (finding.verdict, finding.fix) == ("warn", "make install TORCH=cuda")
    assert "libcudart" in Device("auto", broken).look().words
    assert Device("cuda", absent).look().verdict == "fail"
    assert Device("cpu").look().verdict == "ok"


def test_memory_disk_and_files(tmp_path: Path) -> None:
    assert [Memory(4 * GB, free * GB).look().verdict for free in (3, 4.5, 8)] == ["fail", "warn", "ok"]
    assert "assist" in Memory(4 * GB, GB).look().fix
    assert Disk(tmp_path / "not" / "yet", 1).look().verdict == "ok"
    assert Disk(tmp_path, 10**18).look().verdict == "fail"
    assert [OpenFiles(limit).look().verdict for limit in (64, 512, 1024, -1)] == ["fail", "warn", "ok", "ok"]


@pytest.mark.parametrize(
    ("ahead", "verdict"), [([0.1, 0.0, -0.2], "ok"), ([2.0, 1.5], "warn"), ([-7.0, -7.1, 0.0], "fail"), ([], "warn")]
)
def test_a_wrong_clock(ahead: list[float], verdict: str) -> None:
    finding = Clock([way(seconds) for seconds in ahead]).look()
    assert finding.verdict == verdict
    if verdict == "fail":
        assert "7.0 s ahead of 3 peers" in finding.words


def test_one_wrong_clock_among_the_others_is_not_ours() -> None:
    assert Clock([way(0.1), way(-900.0), way(0.0)]).look().verdict == "ok"


def test_figures_of_a_line() -> None:
    """10 MB a copy, two peers: half of the vector out, the other half's mean out, and likewise in."""
    mine = plan()
    assert mine.exchange_bytes == 10_000_000
    assert mine.exchange_seconds == pytest.approx(80 / 20)
    assert mine.state_seconds == pytest.approx(960 / 100)
    assert mine.bytes_per_hour == 10_000_000 * 60
    assert plan(peers=101).exchange_bytes == pytest.approx(2e7, rel=0.01)
    assert plan(own_per_second=1.0).share == pytest.approx(0.1)
    assert plan(step_seconds=None).bytes_per_hour is None, "nobody trains yet"


@pytest.mark.parametrize(
    ("step", "download", "verdict"), [(60.0, 100.0, "ok"), (2.0, 100.0, "warn"), (2.0, 20.0, "fail"), (None, 0.1, "ok")]
)
def test_a_line_that_cannot_keep_up_is_said_beforehand(step: float | None, download: float, verdict: str) -> None:
    mine = plan(step_seconds=step, download_mbit=download)
    finding = Line([way(download=download)], mine).look()
    assert finding.verdict == verdict, finding
    assert " ms there and back" in finding.words
    assert ("Beware" in " ".join(mine.lines())) == (verdict != "ok")


def test_what_others_claim_is_bounded_and_who_leaves_does_not_count() -> None:
    run, now = manifest(), time.time()

    def record(**values: object) -> ProgressRecord:
        given = {"step": 1, "state": "training", "role": "trainer", "version": "0.1.0", "clock": now, **values}
        return ProgressRecord.model_validate(given)

    records = {
        "a": record(samples_per_second=2.0),
        "b": record(samples_per_second=9e8, state="leaving"),
        "c": record(role="seed", samples_per_second=5.0),
    }
    found = prospects(run, records, [way(upload=5.0), way(upload=30.0)])
    assert (found.peers, found.others_per_second, found.upload_mbit) == (2, 2.0, 30.0)
    assert found.step_seconds == run.training.global_batch / 2.0
    assert prospects(run, {"a": record(samples_per_second=9e8)}).others_per_second == 1e6


def test_the_model_is_computed_for_real_and_too_little_memory_is_told() -> None:
    finding = Pace(manifest(), Settings(device="cpu"), others_per_second=0.0).look()
    assert finding.verdict == "ok", finding
    assert finding.values["samples_per_second"] > 1
    assert f"{show_seconds(finding.values['step_seconds'])} a step" in finding.words
    assert "an hour each way" in finding.words
    two, wanted = Pace(manifest(), Settings(), 0.0, lambda *_: 2.0).look(), manifest().training.samples_due(4)
    seconds = two.values["step_seconds"]
    assert wanted / 8 < seconds < wanted / 8 + 1.0, "four peers of 2 samples/s, and the round as measured here"
    assert two.values["bytes_per_hour"] == pytest.approx(exchanged(manifest()) * 3600 / seconds, rel=0.02)

    def short(*_: object) -> float:
        raise MemoryShortError("Memory ran out")

    assert "assist" in Pace(manifest(), Settings(), 0.0, short).look().fix
    slow = Pace(manifest(), Settings(), 1000.0, lambda *_: 1.0).look()
    assert (slow.verdict, "assist" in slow.fix) == ("warn", True)


def test_the_worst_finding_is_the_verdict() -> None:
    found = [Finding("a", "ok", ""), Finding("b", "warn", "")]
    assert (worst(found), worst([*found, Finding("c", "fail", "")]), worst([])) == ("warn", "fail", "ok")
