"""Films: which episodes, what is in the file, and what happens to bad frames."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from blink import Blink, grey
from PIL import Image

from rlkit import films
from rlkit.errors import UserError
from rlkit.films import Film, Thinner, as_rgb, find_encoder, gif, read_frames, schedule


def pictures(count: int, size: tuple[int, int] = (32, 48)) -> list[np.ndarray]:
    env = Blink(length=1000, size=size)
    env.reset()
    frames = [env.render()]
    for _ in range(count - 1):
        env.step(0)
        frames.append(env.render())
    return frames


def make(path: Path, frames: list[np.ndarray], **options: object) -> tuple[Film, dict[str, object]]:
    film = Film(path, 12, **options)  # type: ignore[arg-type]
    for frame in frames:
        film.add(frame)
    return film, film.close()


def test_cubic_schedule() -> None:
    for spec in (None, "cubic"):
        wants = schedule(spec)
        chosen = [episode for episode in range(3500) if wants(episode, 0)]
        assert chosen == [0, 1, 8, 27, 64, 125, 216, 343, 512, 729, 1000, 2000, 3000]


def test_other_schedules() -> None:
    every, never, mine = schedule("every:4"), schedule(False), schedule(lambda episode: episode in (2, 5))
    assert [e for e in range(10) if every(e, 0)] == [0, 4, 8]
    assert not any(never(e, 0) or schedule("none")(e, 0) for e in range(10))
    assert [e for e in range(10) if mine(e, 0)] == [2, 5]


def test_steps_schedule_films_the_first_episode_after_each_multiple_and_resumes() -> None:
    starts = [0, 30, 60, 99, 100, 130, 250, 260, 320, 930, 950]
    wants = schedule("steps:100")
    assert [step for step in starts if wants(0, step)] == [0, 100, 250, 320, 930]
    before, after = schedule("steps:100"), schedule("steps:100")
    chosen = [step for step in starts[:6] if before(0, step)]
    after.last = before.last
    assert chosen + [step for step in starts[6:] if after(0, step)] == [0, 100, 250, 320, 930]


@pytest.mark.parametrize("spec", [True, 3, "every:0", "every:", "cubics", "steps:-1", "every:1.5"])
def test_bad_schedules_are_refused(spec: object) -> None:
    with pytest.raises(UserError, match=r"must provide a function, None, or False .* not "):
        schedule(spec)  # type: ignore[arg-type]


@pytest.mark.parametrize(("codec", "name"), [("h264", "h264"), ("mpeg4", "mpeg4"), ("vp9", "vp9")])
def test_a_film_holds_every_frame_in_its_colours(tmp_path: Path, codec: str, name: str) -> None:
    import av

    _, facts = make(tmp_path / "a.mp4", pictures(10, (64, 96)), codec=codec)
    assert (facts["frames"], facts["content_type"]) == (10, "video/mp4")
    frames, fps = read_frames(tmp_path / "a.mp4")
    assert fps == 12
    assert [grey(frame) for frame in frames] == list(range(10))
    for bar in range(3):
        wanted = [200 * (bar == channel) for channel in range(3)]
        assert np.abs(frames[4][20, 4 * bar + 2].astype(int) - wanted).max() < 30
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == (name, "yuv420p")
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.find(b"moov") < data.find(b"mdat")  # browsers can start before the end
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4"]


def test_odd_sizes_are_padded(tmp_path: Path) -> None:
    make(tmp_path / "a.mp4", pictures(3, (33, 47)))
    frames, _ = read_frames(tmp_path / "a.mp4")
    assert [frame.shape for frame in frames] == [(34, 48, 3)] * 3
    assert abs(int(frames[0][33, 47, 0]) - 20) < 10  # the last row and column go on, no black border
    make(tmp_path / "one.mp4", pictures(1))
    assert len(read_frames(tmp_path / "one.mp4")[0]) == 1


def test_what_counts_as_a_picture() -> None:
    grey_half = np.full((4, 6), 0.5)
    assert as_rgb(grey_half).tolist() == np.full((4, 6, 3), 128).tolist()
    assert as_rgb(np.full((4, 6, 4), 7, np.uint8)).shape == (4, 6, 3)
    assert as_rgb(np.ones((4, 6, 1), bool)).max() == 255
    assert as_rgb(np.zeros((4, 6, 3), np.uint8)[::-1, ::-1]).flags.c_contiguous
    for bad in (None, "text", np.zeros((4, 6, 2), np.uint8), np.zeros((4, 6, 3), np.int64), np.zeros(3)):
        with pytest.raises(ValueError, match="a film needs uint8"):
            as_rgb(bad)


def test_a_bad_frame_breaks_only_the_film(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for bad in (np.zeros((32, 50, 3), np.uint8), None, np.zeros((32, 48, 5), np.uint8)):
        film = Film(tmp_path / "a.mp4", 12)
        for frame in (*pictures(3), bad, *pictures(2)):
            film.add(frame)
        assert not film.wants_more
        facts = film.close()
        assert facts["broken"] is True
        assert facts["frames"] == 3
        assert list(tmp_path.iterdir()) == []
    assert len(caplog.records) == 3


def test_a_film_of_nothing_and_a_dropped_film_leave_no_file(tmp_path: Path) -> None:
    assert make(tmp_path / "a.mp4", [])[1]["empty"] is True
    film = Film(tmp_path / "b.mp4", 12)
    for frame in pictures(60):  # more than the encoder holds back
        film.add(frame)
    assert [path.name for path in tmp_path.iterdir()] == ["b.mp4.part"]  # nothing looks whole before its end
    film.abort()
    assert list(tmp_path.iterdir()) == []


def test_closing_twice_says_the_same(tmp_path: Path) -> None:
    film, facts = make(tmp_path / "a.mp4", pictures(2))
    assert film.close() == facts
    assert "broken" not in facts


def test_max_frames(tmp_path: Path) -> None:
    film, facts = make(tmp_path / "a.mp4", pictures(9), max_frames=4)
    assert (facts["frames"], facts["cut"], film.wants_more) == (4, True, False)
    assert len(read_frames(tmp_path / "a.mp4")[0]) == 4
    assert "cut" not in make(tmp_path / "b.mp4", pictures(4), max_frames=4)[1]


def test_a_missing_encoder_falls_back_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(films.ENCODERS, "h264", "no_such_encoder")
    find_encoder.cache_clear()
    try:
        for name in ("a.mp4", "b.mp4"):
            _, facts = make(tmp_path / name, pictures(3))
            assert len(read_frames(tmp_path / name)[0]) == 3
            assert facts["encoder_version"]["cmdline"].startswith("mpeg4 ")  # type: ignore[index]
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
    finally:
        find_encoder.cache_clear()


def test_text_films_are_asciicasts(tmp_path: Path) -> None:
    film = Film(tmp_path / "a.cast", 2)
    for text in ("ab\ncd\n", "\x1b[41mabcdefgh\x1b[0m\n1\n2\n", io.StringIO("x")):
        film.add(text)
    assert film.close()["content_type"] == "application/x-asciicast"
    header, *events = [json.loads(line) for line in (tmp_path / "a.cast").read_text().splitlines()]
    assert (header["version"], header["width"], header["height"]) == (2, 8, 4)
    assert [event[0] for event in events] == [0.0, 0.5, 1.0, 1.5]
    assert events[0][1:] == ["o", "\x1b[2J\x1b[Hab\r\ncd"]
    film = Film(tmp_path / "b.cast", 2)
    film.add(pictures(1)[0])
    assert film.close()["broken"] is True
    assert not (tmp_path / "b.cast").exists()


def test_gif_is_small_even_and_as_long_as_the_film() -> None:
    data = gif(pictures(450, (100, 300)), fps=50, max_frames=10, max_side=60)
    assert data.startswith(b"GIF89a")
    image = Image.open(io.BytesIO(data))
    assert image.size == (60, 20)
    assert image.n_frames == 10
    total = 0
    for index in range(image.n_frames):
        image.seek(index)
        total += image.info["duration"]
    assert total == pytest.approx(9000, rel=0.01)
    assert gif([], 30) == b""


@pytest.mark.parametrize("count", [1, 2, 19, 20, 21, 40, 41, 777])
def test_thinner_keeps_a_bounded_even_choice_and_the_last_frame(count: int) -> None:
    thinner = Thinner(limit=10)
    for index in range(count):
        thinner.add(np.full((2, 2, 3), index % 256, np.uint8))
        assert len(thinner._kept) <= 20
    image = Image.open(io.BytesIO(thinner.gif(fps=10)))
    assert image.n_frames == min(count, 10)
    image.seek(image.n_frames - 1)
    assert image.convert("RGB").getpixel((0, 0))[0] == (count - 1) % 256
