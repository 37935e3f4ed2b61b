"""Pictures without a screen: pygame draws by SDL's dummy driver, MuJoCo by EGL or OSMesa.

MuJoCo's own choice without a display is GLFW, which ends the whole process at the first frame (MuJoCo 4.0:
"recursive initialization", SIGABRT). So the choice is made here, before anything is drawn.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import logging
import os
import sys
import tempfile
from functools import cache

from rlkit.envs import catalog
from rlkit.errors import UserError

log = logging.getLogger("rlkit")

INSTALL_EGL = "apt install libegl1 libegl-mesa0 libgl1-mesa-dri"
INSTALL_OSMESA = "apt install libosmesa6"

_DRAWN_BY_OPENGL = ("mujoco",)  # groups of environments


def has_display() -> bool:
    """Whether a window could be opened here."""
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def draw_off_screen(env_id: str = "") -> None:
    """Prepare for frames: call it before an environment with a render mode is made.

    Where there is no display, SDL is told to draw off screen, silently, and MUJOCO_GL is set to what works,
    unless it is set. Raises UserError where nothing can draw `env_id`.
    """
    if has_display():
        return
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    group = catalog.group_of(env_id) if env_id else None
    drawn_by_opengl = group is None or group.name in _DRAWN_BY_OPENGL  # a user's own may be
    if drawn_by_opengl and not os.environ.get("MUJOCO_GL"):
        backend = opengl()
        if backend:
            os.environ["MUJOCO_GL"] = backend
    reason = why_not_drawn(env_id)
    if reason:
        raise UserError(reason)


def film_mode(env_id: str, modes: list[str]) -> str | None:
    """The render mode in which to film: rgb_array, ansi, or None. A warning where a library is missing."""
    mode = next((mode for mode in ("rgb_array", "ansi") if mode in modes), None)
    reason = why_not_drawn(env_id) if mode == "rgb_array" else None
    if reason:
        log.warning("no films: %s", reason)
        return None
    return mode


def why_not_drawn(env_id: str) -> str | None:
    """One sentence that says which system package is missing, or None where `env_id` can be drawn here."""
    group = catalog.group_of(env_id) if env_id else None
    if group is None or group.name not in _DRAWN_BY_OPENGL or has_display():
        return None
    wanted = os.environ.get("MUJOCO_GL")
    if wanted:
        works = {"egl": egl_works, "osmesa": osmesa_works}.get(wanted.strip().lower())
        if works is None:
            return (
                f"{env_id} cannot be drawn with MUJOCO_GL={wanted}, because there is no display: "
                "unset it, or set MUJOCO_GL=egl"
            )
        if works():
            return None
        install = INSTALL_EGL if works is egl_works else INSTALL_OSMESA
        return f"{env_id} cannot be drawn with MUJOCO_GL={wanted}: a system library is missing ({install})"
    if opengl():
        return None
    return (
        f"{env_id} cannot be drawn: there is no display and neither EGL nor OSMesa to do without "
        f"({INSTALL_EGL}, or {INSTALL_OSMESA})"
    )


def opengl() -> str | None:
    """What draws OpenGL into memory here: egl, osmesa, or None."""
    if egl_works():
        return "egl"
    return "osmesa" if osmesa_works() else None


@cache
def egl_works() -> bool:
    """Whether EGL's library is there and knows a device: a graphics card, or Mesa's software one."""
    try:
        egl = ctypes.CDLL("libEGL.so.1")
        find = egl.eglGetProcAddress
    except (OSError, AttributeError):
        return False
    find.restype, find.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    address = find(b"eglQueryDevicesEXT")
    if not address:
        return False
    query = ctypes.CFUNCTYPE(
        ctypes.c_uint, ctypes.c_int, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_int)
    )(address)
    devices, count = (ctypes.c_void_p * 16)(), ctypes.c_int(0)
    return bool(query(16, devices, ctypes.byref(count))) and count.value > 0


@cache
def osmesa_works() -> bool:
    """Whether OSMesa's library can be loaded."""
    name = ctypes.util.find_library("OSMesa")
    try:
        return name is not None and bool(ctypes.CDLL(name))
    except OSError:
        return False
