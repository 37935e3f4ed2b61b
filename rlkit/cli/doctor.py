"""`rlkit doctor`: what of this machine works for rlkit, and one line about what to do where it does not."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rlkit.cli.options import parse, print_json
from rlkit.config import key

OPTIONAL = {  # module → (what it brings, what to install), beside the groups of environments
    "envpool": ("a faster engine for many lanes", "rlkit-lab[fast]"),
    "shimmy": ("environments of the old gym", "rlkit-lab[gym]"),
    "stable_baselines3": ("the peer of the benchmarks", "stable-baselines3"),
}


@dataclass
class DoctorOptions:
    root: str = key("runs", "where run folders will be made; its disk is looked at")
    json: bool = key(False, "print JSON")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    status: str  # ok, warn (something optional or slow), fail (rlkit cannot work)
    detail: str
    remedy: str = ""  # one line; empty where nothing is to be done


def run(arguments: Sequence[str]) -> int:
    options = parse(arguments, DoctorOptions, "doctor")
    if options is None:
        return 0
    findings = examine(Path(options.root))
    failed = any(finding.status == "fail" for finding in findings)
    if options.json:
        print_json([asdict(finding) for finding in findings])
        return int(failed)
    for finding in findings:
        print(f"{finding.status:4}  {finding.name:16} {finding.detail}")
        if finding.remedy:
            print(f"{'':22} → {finding.remedy}")
    return int(failed)


def examine(root: Path) -> list[Finding]:
    """Every check; one that itself breaks is a finding, not a crash."""
    checks: list[Callable[[], Iterator[Finding]]] = [
        _python,
        _torch,
        _compiler,
        _hydra,
        _gymnasium,
        _opengl,
        _rendering,
        _display,
        _video,
        lambda: _disk(root),
        _shared_memory,
        _groups,
        _packages,
    ]
    findings: list[Finding] = []
    for check in checks:
        try:
            findings.extend(check())
        except Exception as error:
            name = getattr(check, "__name__", "check").strip("_<>")
            findings.append(
                Finding(name, "fail", f"{type(error).__name__}: {error}", "reinstall what it names")
            )
    return findings


def _python() -> Iterator[Finding]:
    detail = f"{platform.python_version()} on {platform.machine()}, {os.cpu_count()} cores"
    yield Finding("python", "ok", detail)


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except ImportError as error:
        yield Finding("torch", "fail", str(error), "pip install torch")
        return
    yield Finding("torch", "ok", torch.__version__)
    if not torch.cuda.is_available():
        built = torch.version.cuda
        card = Path("/proc/driver/nvidia").exists()
        detail = f"no GPU in use (torch is built for {f'CUDA {built}' if built else 'CPU'})"
        remedy = ""
        if card:
            remedy = "look at nvidia-smi" if built else "install the CUDA build of torch, see pytorch.org"
        yield Finding("cuda", "warn" if card else "ok", detail, remedy)
        return
    known = torch.cuda.get_arch_list()
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        detail = (
            f"cuda:{index} {properties.name}, {properties.total_memory >> 30} GiB, "
            f"sm_{properties.major}{properties.minor}"
        )
        if _arch_served((properties.major, properties.minor), known):
            yield Finding("cuda", "ok", detail)
        else:
            yield Finding(
                "cuda", "fail", f"{detail}; torch knows {' '.join(known)}", "install a torch built for it"
            )


def _arch_served(capability: tuple[int, int], known: Sequence[str]) -> bool:
    """Binary code runs on the same major version and a minor at least as new; PTX on anything newer."""
    for name in known:
        kind, _, digits = name.partition("_")
        digits = digits.rstrip("abcdefghijklmnopqrstuvwxyz")
        if not digits.isdecimal():
            continue
        arch = (int(digits[:-1]), int(digits[-1]))
        if kind == "sm" and arch[0] == capability[0] and arch[1] <= capability[1]:
            return True
        if kind == "compute" and arch <= capability:
            return True
    return False


def _compiler() -> Iterator[Finding]:
    names = [os.environ.get("CXX", ""), "g++", "clang++", "c++"]
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found:
        yield Finding("C++ compiler", "ok", found)
    else:
        yield Finding("C++ compiler", "warn", "none; accel=compile cannot work on CPU", "install g++")


def _hydra() -> Iterator[Finding]:
    version = importlib.metadata.version("hydra-core")
    parts = tuple(int(part) for part in version.split(".")[:2])
    if (1, 3) <= parts < (1, 5):
        yield Finding("hydra", "ok", version)
    else:
        yield Finding("hydra", "fail", version, "pip install 'hydra-core>=1.3.8,<1.5'")


def _gymnasium() -> Iterator[Finding]:
    import gymnasium

    if importlib.util.find_spec("gym") is not None:
        yield Finding("gymnasium", "ok", f"{gymnasium.__version__}; the old gym is installed too")
    else:
        yield Finding("gymnasium", "ok", gymnasium.__version__)


def _rendering() -> Iterator[Finding]:
    from rlkit.config import EnvConfig
    from rlkit.envs.factory import EnvMaker

    try:
        env = EnvMaker(EnvConfig(), render_mode="rgb_array")()  # the way films are made
        try:
            env.reset(seed=0)
            shape = getattr(env.render(), "shape", None)
        finally:
            env.close()
        yield Finding("rendering", "ok", f"pygame draws without a screen, frames of {shape}")
    except Exception as error:
        remedy = "pip install pygame-ce (and no pygame beside it)"
        yield Finding("rendering", "warn", f"no films: {type(error).__name__}: {error}", remedy)


def _opengl() -> Iterator[Finding]:
    """What MuJoCo would be drawn with."""
    from rlkit.envs import headless

    known = {"EGL": headless.egl_works(), "OSMesa": headless.osmesa_works()}
    detail = f"off screen: {' and '.join(name for name, works in known.items() if works) or 'no'}"
    if os.environ.get("MUJOCO_GL"):
        detail += f", MUJOCO_GL={os.environ['MUJOCO_GL']}"
    reason = headless.why_not_drawn("HalfCheetah-v5")
    if reason is None or importlib.util.find_spec("mujoco") is None:
        yield Finding("OpenGL", "ok", detail)
    else:
        remedy = reason.partition(": ")[2] if any(known.values()) else headless.INSTALL_EGL
        yield Finding("OpenGL", "warn", f"{detail}; MuJoCo is trained without films", remedy)


def _groups() -> Iterator[Finding]:
    """The groups of environments: those that need no package in one line, then each by its package."""
    from rlkit.envs.catalog import GROUPS

    yield Finding("environments", "ok", ", ".join(group.title for group in GROUPS if not group.packages))
    for group in GROUPS:
        if not group.packages:
            continue
        missing = group.missing()
        if missing:
            yield Finding(missing[0], "warn", f"not installed: {group.title}", group.install)
        else:
            yield Finding(group.packages[0], "ok", group.title)


def _screen() -> str | None:
    if sys.platform in ("win32", "darwin"):
        return sys.platform
    return os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")


def _display() -> Iterator[Finding]:
    screen = _screen()
    if screen:
        yield Finding("display", "ok", screen)
    else:
        yield Finding(
            "display", "warn", "none; play watch=true opens no window", "films need none: rlkit play"
        )


def _video() -> Iterator[Finding]:
    """Encode a few frames, since a codec can be listed and yet not open."""
    import av
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "probe.mp4")
        try:
            with av.open(path, "w") as container:
                stream = container.add_stream("libx264", rate=30)
                stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
                for level in (0, 128):
                    frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), level, np.uint8), format="rgb24")
                    container.mux(stream.encode(frame))
                container.mux(stream.encode())
            yield Finding("video", "ok", f"H.264 by PyAV {av.__version__}")
        except Exception as error:
            remedy = "pip install --upgrade av, or monitor.codec=mpeg4"
            yield Finding("video", "warn", f"no H.264: {type(error).__name__}: {error}", remedy)


def _disk(root: Path) -> Iterator[Finding]:
    place = root.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 2**30
    if not os.access(place, os.W_OK):
        yield Finding("disk", "fail", f"{place} cannot be written", "choose another folder: run.root=FOLDER")
    elif free < 1:
        yield Finding("disk", "fail", f"{free:.1f} GiB free at {place}", "make room, or run.root=FOLDER")
    elif free < 10:
        yield Finding(
            "disk", "warn", f"{free:.1f} GiB free at {place}", "image replay needs more: run.root=FOLDER"
        )
    else:
        yield Finding("disk", "ok", f"{free:.0f} GiB free at {place}")


def _shared_memory() -> Iterator[Finding]:
    place = Path("/dev/shm")
    if not place.is_dir():
        yield Finding("shared memory", "ok", "managed by the system")
        return
    free = shutil.disk_usage(place).free / 2**20
    if free < 256:
        remedy = "docker run --shm-size=2g, or env.engine=sync"
        yield Finding(
            "shared memory", "warn", f"{free:.0f} MiB in {place}; env.engine=async may fail", remedy
        )
    else:
        yield Finding("shared memory", "ok", f"{free / 1024:.1f} GiB in {place}")


def _packages() -> Iterator[Finding]:
    for module, (brings, package) in OPTIONAL.items():
        if importlib.util.find_spec(module) is not None:
            yield Finding(module, "ok", brings)
        else:
            yield Finding(module, "warn", f"not installed: {brings}", f"pip install '{package}'")
    both = [name for name in ("opencv-python", "opencv-python-headless") if _installed(name)]
    if len(both) == 2:
        remedy = "pip uninstall both, then pip install opencv-python-headless"
        yield Finding("opencv", "warn", "two wheels overwrite one another", remedy)


def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
