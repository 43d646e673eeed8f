"""The GPUs of a worker, as NVML tells of them when Prometheus asks. Needs the extra `gpu` (nvidia-ml-py).

`CUDA_VISIBLE_DEVICES` says which they are, by UUID or by number; numbers are NVML's own, so machines whose GPUs differ
need `CUDA_DEVICE_ORDER=PCI_BUS_ID`, as they do for everything else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import structlog
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

NVML: Any = import_module("pynvml") if find_spec("pynvml") else None
"""Where it is installed."""

log = structlog.get_logger(__name__)


class Gpus(Collector):
    """Memory and utilisation of these devices; `nvml` is the module that is asked."""

    def __init__(self, nvml: Any, devices: Sequence[Any] = ()) -> None:
        self._nvml = nvml
        self._devices = devices

    def describe(self) -> list[GaugeMetricFamily]:
        """The series, without values."""
        return list(_families())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What NVML says now; nothing of a device that does not answer, or of what it does not count (MIG)."""
        used, size, utilization = _families()
        for device in self._devices:
            try:
                uuid = [self._nvml.nvmlDeviceGetUUID(device)]
                memory = self._nvml.nvmlDeviceGetMemoryInfo(device)
                used.add_metric(uuid, memory.used)
                size.add_metric(uuid, memory.total)
                utilization.add_metric(uuid, self._nvml.nvmlDeviceGetUtilizationRates(device).gpu / 100)
            except self._nvml.NVMLError as error:
                log.debug("gpu_not_measured", error=str(error))
        yield from (used, size, utilization)


def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
    of = ["gpu"]
    return (
        GaugeMetricFamily("llc_gpu_memory_used_bytes", "Memory in use on a GPU, by whomever", labels=of),
        GaugeMetricFamily("llc_gpu_memory_size_bytes", "Memory of a GPU", labels=of),
        GaugeMetricFamily("llc_gpu_utilization_ratio", "Share of a moment ago in which a GPU worked", labels=of),
    )


def devices(nvml: Any, visible: str | None) -> list[Any]:
    """NVML's handles of what `CUDA_VISIBLE_DEVICES` names; all where it is not set. Raises NVMLError."""
    if visible is None:
        return [nvml.nvmlDeviceGetHandleByIndex(number) for number in range(nvml.nvmlDeviceGetCount())]
    names = [name.strip() for name in visible.split(",") if name.strip()]
    return [
        nvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdigit() else nvml.nvmlDeviceGetHandleByUUID(name)
        for name in names
    ]


def export() -> bool:
    """Have this process's GPUs exported; False where NVML, or the driver below it, is not there. To be called once."""
    if NVML is None:
        return False
    try:
        NVML.nvmlInit()
        REGISTRY.register(Gpus(NVML, devices(NVML, os.environ.get("CUDA_VISIBLE_DEVICES"))))
    except NVML.NVMLError as error:
        log.warning("gpus_not_exported", error=str(error))
        return False
    return True
