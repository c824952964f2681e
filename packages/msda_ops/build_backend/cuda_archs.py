"""For which GPUs the CUDA kernels are compiled."""

import shutil
import subprocess
from collections.abc import Mapping

RELEASED = (75, 80, 86, 89, 90, 100, 120)  # what a wheel for everybody has code for


def cuda_archs(environment: Mapping[str, str]) -> str:
    """The compute capabilities to compile for: separated by semicolons, rising; `none` for no CUDA.

    Args:
        environment: its `MSDA_OPS_BUILD` is `cuda` for all that are released, `cpu` or `none` for none, and else for
            the GPUs of this machine.
    """
    wanted = environment.get("MSDA_OPS_BUILD", "auto")
    if wanted == "cuda":
        archs = set(RELEASED)
    elif wanted in {"cpu", "none"}:
        archs = set()
    else:
        archs = {code for capability in _capabilities() if (code := _code_for(capability))}
    return ";".join(map(str, sorted(archs))) or "none"


def _code_for(capability: int) -> int | None:
    """The newest released code that a GPU runs; None for GPUs that are too old for the kernels."""
    return max((arch for arch in RELEASED if arch <= capability), default=None)


def _capabilities() -> list[int]:
    """Compute capabilities (times ten) of this machine's GPUs, as the NVIDIA driver lists them."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, timeout=60, check=True).stdout
        return [round(10 * float(line)) for line in listed.splitlines() if line.strip()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []  # a driver that does not answer runs no kernels
