"""One measured run in a process of its own, so that no side warms caches or loads libraries for the other.

`measure` starts it; the process prints its result as JSON on its last line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def measure(side: str, kind: str, **job: Any) -> dict[str, Any]:
    """Run `benchmarks.<side>.<kind>(job)` on one thread; a failure is a result too, with its `error`."""
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    environment |= {"PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT)}
    job = {**job, "side": side, "kind": kind, "started": time.time()}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.one", json.dumps(job)], capture_output=True, text=True,
        env=environment, cwd=ROOT,
    )  # fmt: skip
    asked: dict[str, Any] = {name: job[name] for name in ("side", "case", "variant", "seed") if name in job}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return {**asked, "error": lines[-1]}
    return {**asked, **json.loads(done.stdout.strip().splitlines()[-1])}


def missing_peer() -> str | None:
    """Why Stable-Baselines3 cannot be measured here, or None."""
    if find_spec("stable_baselines3"):
        return None
    return 'stable-baselines3 is not installed: pip install -e ".[bench]"'


def missing_compiler() -> str | None:
    """Why torch.compile cannot be measured here, or None."""
    if os.environ.get("CXX") or any(which(name) for name in ("g++", "clang++", "c++", "cl")):
        return None
    return "torch.compile needs a C++ compiler, and there is none"


def main() -> None:
    import torch  # only the measured process pays for it

    torch.set_num_threads(1)
    job = json.loads(sys.argv[1])
    side = import_module(f"benchmarks.{job['side']}")  # the other side's libraries stay out
    print(json.dumps(getattr(side, job["kind"])(job)))


if __name__ == "__main__":
    main()
