"""Films of episodes: which ones to make, and how frames become a file while the episode runs.

Frames go to the encoder one by one, so the memory a film needs does not grow with its length. A film is
written under a temporary name and renamed when it is whole. Whatever goes wrong with a film stays with
the film: `add` and `close` never raise, the file is deleted and the facts say `broken`.
"""

from __future__ import annotations

import io
import json
import logging
import re
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rlkit.errors import UserError

log = logging.getLogger("rlkit")

VideoSpec = str | bool | Callable[[int], bool] | None  # which episodes are filmed; see `schedule`

ENCODERS = {"h264": "libx264", "mpeg4": "mpeg4", "vp9": "libvpx-vp9", "av1": "libsvtav1"}
OPTIONS = {  # good pictures at a speed that does not hold up a run
    "libx264": {"preset": "veryfast", "crf": "20"},
    "mpeg4": {"qmin": "2", "qmax": "4"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "0"},
    "libsvtav1": {"preset": "10", "crf": "30"},
}


# Which episodes ------------------------------------------------------------------------------------------


class Schedule:
    """Says for the start of each episode whether to film it. `last` is all it has to remember.

    last: steps done when the last filmed episode began; None before the first film.
    """

    def __init__(self, rule: Callable[[int, int, int | None], bool]) -> None:
        self.last: int | None = None
        self._rule = rule

    def __call__(self, episode: int, step: int) -> bool:
        """episode: its number, from 0. step: steps done before it. True films it."""
        wanted = bool(self._rule(episode, step, self.last))
        if wanted:
            self.last = step
        return wanted


def schedule(spec: VideoSpec) -> Schedule:
    """Turn `video=` into a schedule.

    None or "cubic": episodes 0, 1, 8, 27, …, 729, 1000, 2000, 3000, …; False or "none": never; "every:N":
    every N-th episode; "steps:N": the first episode that starts at or after each multiple of N steps;
    a function of the episode number. Anything else, True too, is a UserError.
    """
    if spec is None or spec == "cubic":
        return Schedule(lambda episode, step, last: _cubic(episode))
    if spec is False or spec == "none":
        return Schedule(lambda episode, step, last: False)
    if isinstance(spec, str) and (match := re.fullmatch(r"(every|steps):0*([1-9][\d_]*)", spec)):
        n = int(match[2])
        if match[1] == "every":
            return Schedule(lambda episode, step, last: episode % n == 0)
        return Schedule(lambda episode, step, last: last is None or step // n > last // n)
    if callable(spec):
        rule = spec
        return Schedule(lambda episode, step, last: rule(episode))
    raise UserError(
        "You must provide a function, None, or False for the video schedule, "
        f'or one of "cubic", "none", "every:100", "steps:50000"; not {spec!r}.'
    )


def _cubic(episode: int) -> bool:
    if episode >= 1000:
        return episode % 1000 == 0
    root: int = round(episode ** (1 / 3))
    return root**3 == episode


# Frames to a file ----------------------------------------------------------------------------------------


class Film:
    """One film, written while the episode runs. A name ending in `.cast` takes text, any other pictures.

    Pictures: [h, w, 3] or [h, w, 4] or [h, w], uint8, or floats in 0…1; one shape throughout; odd sizes are
    padded. Text: what `render_mode="ansi"` gives, kept as asciicast v2.
    fps: frames per second. codec: h264, mpeg4, vp9 or av1. max_frames: later frames are left out.
    `note` takes facts that the caller wants in the metadata.
    """

    def __init__(
        self, path: str | Path, fps: float, codec: str = "h264", max_frames: int | None = None
    ) -> None:
        self.path = Path(path)
        self.frames = 0
        self.fps = fps
        self.note: dict[str, Any] = {}
        self.problem: str | None = None  # why the film is broken
        self._max_frames = max_frames
        self._cut = False
        self._facts: dict[str, Any] | None = None
        self._temporary = self.path.with_name(self.path.name + ".part")
        self._writer: _Mp4 | _Cast
        if self.path.suffix == ".cast":
            self._writer = _Cast(self._temporary, fps)
        else:
            self._writer = _Mp4(self._temporary, fps, codec)

    @property
    def wants_more(self) -> bool:
        """False once another frame would not be kept: rendering it would be wasted."""
        if self.problem is None and self._max_frames is not None and self.frames >= self._max_frames:
            self._cut = True
        return self.problem is None and not self._cut

    def add(self, frame: Any) -> None:
        """Append one frame. A frame that cannot be used breaks the film, never the caller."""
        if not self.wants_more:
            return
        try:
            self._writer.write(frame)
            self.frames += 1
        except Exception as error:  # encoders fail in many ways; none may stop a run
            self.fail(f"{type(error).__name__}: {error}")

    def fail(self, reason: str) -> None:
        """Give the film up: its file goes away, and its metadata will say `broken`."""
        if self.problem is None:
            self.problem = reason
            log.warning("film %s is broken and was left out: %s", self.path.name, reason)
        self.abort()

    def abort(self) -> None:
        """Drop the film without a trace."""
        try:
            self._writer.discard()
        except Exception as error:
            log.debug("while dropping %s: %s", self.path.name, error)
        self._temporary.unlink(missing_ok=True)

    def close(self) -> dict[str, Any]:
        """Finish the file and give it its name. Returns the film's metadata; a second call, the same."""
        if self._facts is not None:
            return self._facts
        if self.problem is None and self.frames:
            try:
                self._writer.finish()
                self._temporary.replace(self.path)
            except Exception as error:
                self.fail(f"{type(error).__name__}: {error}")
        else:
            self.abort()
        facts: dict[str, Any] = {
            "content_type": self._writer.content_type,
            "encoder_version": self._writer.version(),
            "frames": self.frames,
            "fps": self.fps,
        }
        if self._cut:
            facts["cut"] = True
        if not self.frames:
            facts["empty"] = True
        if self.problem is not None:
            facts |= {"broken": True, "problem": self.problem}
        self._facts = facts | self.note
        return self._facts


class _Mp4:
    """Pictures to an mp4 through PyAV, on one encoder thread."""

    content_type = "video/mp4"

    def __init__(self, path: Path, fps: float, codec: str) -> None:
        self._path = path
        self._rate = Fraction(fps).limit_denominator(1001)
        self._codec = codec
        self._encoder = ENCODERS.get(codec, codec)
        self._container: Any = None
        self._stream: Any = None
        self._shape: tuple[int, ...] = ()
        self._count = 0

    def write(self, frame: Any) -> None:
        import av

        picture = as_rgb(frame)
        if self._container is None:
            self._open(picture.shape)
        if picture.shape != self._shape:
            raise ValueError(f"frame {self._count} has shape {picture.shape}, the first had {self._shape}")
        height, width = picture.shape[:2]
        if height % 2 or width % 2:  # 4:2:0 colour needs even sizes
            picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        video_frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        video_frame.pts, video_frame.time_base = self._count, 1 / self._rate
        self._count += 1
        self._container.mux(self._stream.encode(video_frame))

    def _open(self, shape: tuple[int, ...]) -> None:
        import av

        self._encoder = find_encoder(self._codec)
        self._container = av.open(str(self._path), "w", format="mp4", options={"movflags": "+faststart"})
        self._stream = self._container.add_stream(
            self._encoder, rate=self._rate, options=dict(OPTIONS[self._encoder])
        )
        self._shape = shape
        self._stream.height, self._stream.width = shape[0] + shape[0] % 2, shape[1] + shape[1] % 2
        self._stream.pix_fmt = "yuv420p"  # what every player and browser shows
        self._stream.codec_context.thread_count = 1

    def finish(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        self._container = self._stream = None

    def discard(self) -> None:
        if self._container is not None:
            self._container.close()
        self._container = self._stream = None

    def version(self) -> dict[str, str]:
        options = " ".join(f"{key}={value}" for key, value in OPTIONS.get(self._encoder, {}).items())
        return {
            "backend": "pyav",
            "version": _av_version(),
            "cmdline": f"{self._encoder} {options} pix_fmt=yuv420p movflags=+faststart",
        }


class _Cast:
    """Text screens to an asciicast v2 file: a header line, then one [seconds, "o", text] line per frame."""

    content_type = "application/x-asciicast"
    HEADER = 160  # bytes; rewritten at the end, when the largest screen is known

    def __init__(self, path: Path, fps: float) -> None:
        self._path = path
        self._fps = fps
        self._file: io.TextIOWrapper | None = None
        self._count = self._width = self._height = 0

    def write(self, frame: Any) -> None:
        text = frame.getvalue() if isinstance(frame, io.StringIO) else frame
        if not isinstance(text, str):
            raise TypeError(f"render() gave {type(frame).__name__}, a text film needs str")
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8", newline="\n")
            self._file.write(" " * self.HEADER + "\n")
        lines = re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", text).splitlines() or [""]
        self._width = max(self._width, *map(len, lines))
        self._height = max(self._height, len(lines) + 1)
        self._event("\x1b[2J\x1b[H" + "\r\n".join(text.splitlines()))  # clear, go home, draw
        self._count += 1

    def _event(self, text: str) -> None:
        assert self._file is not None
        self._file.write(json.dumps([round(self._count / self._fps, 6), "o", text]) + "\n")

    def finish(self) -> None:
        assert self._file is not None
        self._event("")  # the last screen stays for its time too
        header = {"version": 2, "width": self._width, "height": self._height, "timestamp": int(time.time())}
        self._file.seek(0)
        self._file.write(json.dumps(header).ljust(self.HEADER))
        self._file.close()
        self._file = None

    def discard(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None

    def version(self) -> dict[str, str]:
        return {"backend": "asciicast", "version": "2", "cmdline": ""}


@cache
def find_encoder(codec: str) -> str:
    """The name of the installed encoder for `codec`; mpeg4, with one warning, where there is none."""
    import av

    if codec not in ENCODERS:
        raise UserError(f"codec must be one of {', '.join(ENCODERS)}; not {codec!r}.")
    try:
        av.codec.Codec(ENCODERS[codec], "w")
    except ValueError:  # av.error.UnknownCodecError is one
        log.warning("no encoder for %s in this PyAV: films are mpeg4, which browsers do not play", codec)
        return ENCODERS["mpeg4"]
    return ENCODERS[codec]


def _av_version() -> str:
    try:
        import av
    except ImportError:
        return "missing"
    return f"{av.__version__} ffmpeg {av.ffmpeg_version_info}"


def as_rgb(frame: Any) -> np.ndarray:
    """Any picture that an environment may give → contiguous uint8 [h, w, 3]; transparency is dropped."""
    picture = np.asarray(frame)
    if picture.dtype == np.bool_:
        picture = picture.astype(np.uint8) * np.uint8(255)
    elif np.issubdtype(picture.dtype, np.floating):
        picture = (np.clip(np.nan_to_num(picture), 0, 1) * 255 + 0.5).astype(np.uint8)
    if picture.ndim == 2:
        picture = picture[:, :, None]
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (1, 3, 4):
        got = f"{picture.dtype} {list(picture.shape)}" if picture.ndim > 1 else type(frame).__name__
        raise ValueError(f"render() gave {got}, a film needs uint8 [h, w, 3]")
    if picture.shape[2] == 1:
        picture = np.repeat(picture, 3, axis=2)
    return np.ascontiguousarray(picture[:, :, :3])


# Small moving pictures, and reading back -----------------------------------------------------------------


class Thinner:
    """Keeps every 2^k-th frame of a film of any length, small, at most 2·limit of them, and the last one."""

    def __init__(self, limit: int = 100, max_side: int = 200) -> None:
        self.limit, self.max_side = limit, max_side
        self._kept: list[np.ndarray] = []
        self._stride = 1
        self._seen = 0
        self._last: Any = None

    def add(self, frame: Any) -> None:
        """frame: any picture that `as_rgb` takes."""
        if self._seen % self._stride == 0 and len(self._kept) == 2 * self.limit:
            self._kept = self._kept[::2]
            self._stride *= 2
        if self._seen % self._stride == 0:
            self._kept.append(_shrink(frame, self.max_side))
            self._last = None
        else:
            self._last = frame
        self._seen += 1

    def gif(self, fps: float) -> bytes:
        """The kept frames as a GIF that lasts as long as the film did at `fps`."""
        frames = self._kept if self._last is None else [*self._kept, self._last]
        return gif(frames, fps * len(frames) / max(self._seen, 1), self.limit, self.max_side)


def gif(frames: Sequence[np.ndarray], fps: float, max_frames: int = 100, max_side: int = 200) -> bytes:
    """An animated GIF of evenly chosen frames, small enough for TensorBoard; it lasts len(frames) / fps.

    frames: pictures [h, w, 3]; first and last are kept. Returns the bytes of the file, b"" for no frames.
    """
    if not frames:
        return b""
    count = min(len(frames), max_frames)
    chosen = np.linspace(0, len(frames) - 1, count).round().astype(int)
    images = [Image.fromarray(_shrink(frames[i], max_side)).quantize(256) for i in chosen]
    buffer = io.BytesIO()
    duration = max(20, round(1000 * len(frames) / fps / count))  # ms; browsers slow anything faster to 100
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=duration, loop=0)
    return buffer.getvalue()


def _shrink(frame: Any, max_side: int) -> np.ndarray:
    """A copy whose longer side is at most max_side pixels."""
    image = Image.fromarray(as_rgb(frame))
    image.thumbnail((max_side, max_side))
    return np.array(image)


def read_frames(path: str | Path) -> tuple[list[np.ndarray], float]:
    """All frames of an mp4, each uint8 [h, w, 3], and its frames per second."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return frames, float(stream.average_rate or 0)
