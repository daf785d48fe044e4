"""Energy: the arithmetic, a made-up sysfs tree, and the boundary to NVML."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from monitoring.energy import Estimate, Meter, Rapl, carbon_grams, estimated_joules, since, sources
from monitoring.exporter import PeerExporter
from monitoring.gpu import find_gpu, index_of
from monitoring.series import exposition

RANGE = 262_143_328_850  # what a real package counts to, in microjoules


def zone(root: Path, folder: str, name: str, microjoules: int) -> Path:
    """One powercap zone as the kernel lays it out."""
    place = root / folder
    place.mkdir(parents=True)
    (place / "name").write_text(f"{name}\n")
    (place / "max_energy_range_uj").write_text(f"{RANGE}\n")
    (place / "energy_uj").write_text(f"{microjoules}\n")
    return place / "energy_uj"


def nvml(**answers: object) -> SimpleNamespace:
    """What `pynvml` would be: a question without an answer raises as on a GPU that does not tell."""

    class NVMLError(Exception):
        pass

    def ask(name: str) -> object:
        def question(handle: object) -> object:
            if name not in answers:
                raise NVMLError(name)
            return answers[name]

        return question

    def handle(index: int) -> object:
        if index >= 1:
            raise NVMLError("no such device")
        return index

    names = ("TotalEnergyConsumption", "MemoryInfo", "UtilizationRates")
    questions = {f"nvmlDeviceGet{name}": ask(name) for name in names}
    library = SimpleNamespace(
        NVMLError=NVMLError, nvmlInit=lambda: None, nvmlDeviceGetHandleByIndex=handle, **questions
    )
    library.answers = answers
    return library


def test_a_counter_that_wrapped_is_seen_as_such() -> None:
    assert since(10, 25, 99) == 15
    assert since(95, 4, 99) == 9, "95..99 is 4, one more to zero, then 4"
    assert since(7, 7, 99) == 0


def test_an_estimate_is_the_share_of_the_processor_times_the_power() -> None:
    assert estimated_joules(cpu_seconds=30, cores=4, watts=100) == 750
    assert estimated_joules(cpu_seconds=-1, cores=4, watts=100) == 0, "a child that ended takes its time with it"


def test_carbon_is_kilowatt_hours_times_the_grid_s_intensity() -> None:
    assert carbon_grams(7.2e6, 400) == 800
    assert carbon_grams(7.2e6, 0) == 0


def test_rapl_adds_packages_and_memory_and_counts_no_part_twice(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", RANGE - 499_999)
    memory = zone(tmp_path, "intel-rapl:0:1", "dram", 0)
    for part, name in (("intel-rapl:0:0", "core"), ("intel-rapl:0:2", "uncore"), ("intel-rapl:2", "psys")):
        zone(tmp_path, part, name, 5).with_name("energy_uj").write_text("900000000")
    rapl = Rapl(tmp_path)
    first.write_text("3000000")
    second.write_text("500000")  # half a joule to the end, the step to zero, half a joule from there
    memory.write_text("250000")
    assert rapl.read() == {"cpu": pytest.approx(2 + 1), "memory": pytest.approx(0.25)}
    assert rapl.read() == {"cpu": 0, "memory": 0}


def test_a_rapl_that_is_for_root_only_gives_way_to_the_estimate(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 1).unlink()  # not there and not readable are the same to us
    spent = [10.0]
    known = sources(Rapl(tmp_path), lambda: Estimate(lambda: spent[0], 2, 80.0), None)
    assert [each.method for each in known] == ["estimate"]
    spent[0] = 13.0
    assert known[0].read() == {"machine": 120.0}
    zone(tmp_path / "good", "intel-rapl:0", "package-0", 1)
    assert [each.method for each in sources(Rapl(tmp_path / "good"), lambda: Estimate(lambda: 0, 2), None)] == ["rapl"]
    assert Rapl(tmp_path / "nothing").read() == {}


def test_a_counter_that_vanishes_while_running_is_no_error(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 1)
    rapl = Rapl(tmp_path)
    counter.write_text("not a number")
    assert rapl.read() == {}


def test_the_gpu_s_counter_is_in_millijoules_and_may_restart() -> None:
    library = nvml(TotalEnergyConsumption=5_000)
    gpu = find_gpu(0, library)
    assert gpu is not None
    library.answers["TotalEnergyConsumption"] = 12_500
    assert gpu.read() == {"gpu": 7.5}
    library.answers["TotalEnergyConsumption"] = 100  # the driver was reloaded
    assert gpu.read() == {}
    library.answers["TotalEnergyConsumption"] = 1_100
    assert gpu.read() == {"gpu": 1.0}


def test_a_gpu_that_does_not_tell_is_no_error() -> None:
    gpu = find_gpu(0, nvml())
    assert gpu is not None
    assert gpu.read() == {}
    assert gpu.look().utilization_ratio is None
    assert find_gpu(3, nvml()) is None, "no such GPU"


@pytest.mark.parametrize(
    ("device", "visible", "index"),
    [
        ("cpu", "", None),
        ("mps", "", None),
        ("cuda", "", 0),
        ("cuda:1", "", 1),
        ("cuda:1", "2,5", 5),
        ("cuda:2", "2,5", None),
        ("cuda:0", "GPU-1f2a", None),
    ],
)
def test_torch_s_number_of_a_gpu_is_not_always_nvml_s(device: str, visible: str, index: int | None) -> None:
    assert index_of(device, visible) == index


def test_the_meter_looks_every_few_seconds_and_adds_up() -> None:
    now, spent = [0.0], [0.0]
    meter = Meter((Estimate(lambda: spent[0], 1, 10.0),), lambda: now[0])
    assert meter.read() == {("machine", "estimate"): 0.0}
    now[0], spent[0] = 1.0, 1.0
    assert meter.read() == {("machine", "estimate"): 0.0}, "too soon to look again"
    now[0] = 6.0
    assert meter.read() == {("machine", "estimate"): 10.0}
    now[0], spent[0] = 12.0, 3.0
    assert meter.read() == {("machine", "estimate"): 30.0}
    assert meter.total == 30.0


def test_a_peer_exports_energy_with_its_method_carbon_and_its_gpu() -> None:
    now = [0.0]
    memory, use = SimpleNamespace(used=3e9, total=8e9), SimpleNamespace(gpu=87)
    library = nvml(TotalEnergyConsumption=0, MemoryInfo=memory, UtilizationRates=use)
    gpu = find_gpu(0, library)
    assert gpu is not None
    exporter = PeerExporter()
    exporter.instruments.measure_energy(Meter((gpu,), lambda: now[0]), gpu, grid_intensity=360.0)
    library.answers["TotalEnergyConsumption"] = 7_200_000_000  # 2 kWh
    exporter.step(1, 2.0, 1, text={}, seconds={"compute": 1.0})
    exporter.measure()
    text = exposition(exporter.series)[0].decode()
    found = {
        (sample.name, *(value for label, value in sorted(sample.labels.items()) if label != "run")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["swarm_energy_joules_total", "nvml", "gpu"] == 7.2e6
    assert found["swarm_carbon_grams_total",] == 720
    assert found["swarm_grid_intensity_grams_per_kilowatt_hour",] == 360
    assert found["swarm_gpu_memory_bytes", "used"] == 3e9
    assert found["swarm_gpu_utilization_ratio",] == 0.87


def test_this_machine_gives_some_energy_by_a_method_that_is_named() -> None:
    began = time.process_time()
    known = sources(Rapl(), lambda: Estimate(time.process_time, 2, 65.0), find_gpu(0))
    while time.process_time() - began < 0.05:
        sum(range(10_000))
    joules = {each.method: each.read() for each in known}
    assert set(joules) <= {"rapl", "estimate", "nvml"}
    assert sum(value for each in joules.values() for value in each.values()) > 0
