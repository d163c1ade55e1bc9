"""What an exporter with DCGM's names tells of GPUs that pods use, as NVIDIA's dcgm-exporter defines it.

Names, kinds and words: etc/default-counters.csv, commit b54068a9feef589e07fc36c22642ad4bb61f6420. How a line is
written: internal/pkg/rendermetrics/render_metrics.go, commit 1f7abdb7dc0f86f3cf7853995b0d262fd3e80bc6 (4.8.1). What
pods are called: internal/pkg/transformation/const.go, commit 07c87278a5e18805287ee56cba8abe9eb7a87ced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

METRICS: Final = {
    "DCGM_FI_DEV_GPU_TEMP": ("gauge", "GPU temperature (in C).", 61.0),
    "DCGM_FI_DEV_POWER_USAGE": ("gauge", "Power draw (in W).", 54.3),
    "DCGM_FI_DEV_GPU_UTIL": ("gauge", "GPU utilization (in %).", 47.0),
    "DCGM_FI_DEV_FB_FREE": ("gauge", "Framebuffer memory free (in MiB).", 18231.0),
    "DCGM_FI_DEV_FB_USED": ("gauge", "Framebuffer memory used (in MiB).", 4203.0),
}
"""Those that the dashboard asks for: kind, words, and a value as an NVIDIA L4 may have it."""


def exposition(namespace: str, pods: Sequence[str]) -> str:
    """Return the text for pods that have a GPU each."""
    return "".join(
        f"# HELP {name} {words}\n# TYPE {name} {kind}\n"
        + "".join(f"{name}{{{_labels(gpu, namespace, pod)}}} {value}\n" for gpu, pod in enumerate(pods))
        for name, (kind, words, value) in METRICS.items()
    )


def _labels(gpu: int, namespace: str, pod: str) -> str:
    labels = {
        "gpu": str(gpu),
        "UUID": f"GPU-00000000-0000-0000-0000-{gpu:012}",
        "pci_bus_id": f"00000000:{gpu:02X}:00.0",
        "device": f"nvidia{gpu}",
        "modelName": "NVIDIA L4",
        "Hostname": "n1",
        "container": "server",
        "namespace": namespace,
        "pod": pod,
    }
    return ",".join(f'{name}="{value}"' for name, value in labels.items())
