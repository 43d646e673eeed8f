"""What is exported of GPUs, from an NVML that counts two; and nothing where there is none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from cluster import gpu

pytestmark = pytest.mark.fast

UUIDS = ("GPU-aaaa", "GPU-bbbb")


class NVMLError(Exception):
    pass


class Nvml:
    """Handles are numbers; the second device is partitioned, and its utilisation is not counted."""

    NVMLError = NVMLError

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(UUIDS)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return range(len(UUIDS))[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:  # noqa: N802
        return UUIDS.index(uuid)

    def nvmlDeviceGetUUID(self, device: int) -> str:  # noqa: N802
        return UUIDS[device]

    def nvmlDeviceGetMemoryInfo(self, device: int) -> Any:  # noqa: N802
        return SimpleNamespace(used=device + 1, total=10)

    def nvmlDeviceGetUtilizationRates(self, device: int) -> Any:  # noqa: N802
        if device == 1:
            raise NVMLError("not supported")
        return SimpleNamespace(gpu=75)


def exported(visible: str | None) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(gpu.Gpus(Nvml(), gpu.devices(Nvml(), visible)))
    return registry


@pytest.mark.parametrize(
    ("visible", "seen"), [("", set()), ("1", {1}), ("GPU-aaaa", {0}), ("1,0", {0, 1}), (None, {0, 1})]
)
def test_a_worker_tells_of_its_own(visible: str | None, seen: set[int]) -> None:
    registry = exported(visible)
    found = {uuid: registry.get_sample_value("llc_gpu_memory_used_bytes", {"gpu": uuid}) for uuid in UUIDS}
    assert found == {uuid: number + 1 if number in seen else None for number, uuid in enumerate(UUIDS)}


def test_what_is_not_counted_is_left_out() -> None:
    registry = exported(None)
    busy = [registry.get_sample_value("llc_gpu_utilization_ratio", {"gpu": uuid}) for uuid in UUIDS]
    assert busy == [0.75, None]
    assert registry.get_sample_value("llc_gpu_memory_size_bytes", {"gpu": UUIDS[1]}) == 10


def test_a_machine_without_a_driver_exports_nothing() -> None:
    try:
        gpu.NVML.nvmlInit()
    except gpu.NVML.NVMLError:
        assert gpu.export() is False
    else:
        pytest.skip("there is a GPU")
