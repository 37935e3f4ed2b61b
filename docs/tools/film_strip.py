"""Frames of films side by side, one row per film, as one small PNG.

    python docs/tools/film_strip.py runs/latest/monitor/openaigym.video.1.123.video000000.mp4 out=strip.png
    python docs/tools/film_strip.py FIRST LAST out=strip.png frames=6 width=150

The frames are evenly spaced from the first to the last. Sides where nothing moves are cut away.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from rlkit.films import read_frames

GAP = 4  # pixels of grey between two frames
MARGIN = 24  # pixels of the film that stay around what moves


def chosen(film: Path, count: int) -> np.ndarray:
    """Evenly spaced frames of a film, the first and the last among them: [count, h, w, 3] uint8."""
    frames, _ = read_frames(film)
    return np.stack([frames[i] for i in np.linspace(0, len(frames) - 1, count).round().astype(int)])


def crop(pictures: np.ndarray) -> np.ndarray:
    """[K, h, w, 3] without the sides that are the same in every picture."""
    moves = (np.abs(pictures.astype(int) - pictures[0]) > 40).any((0, 3))  # [h, w]; less is compression
    if not moves.any():
        return pictures
    box = []
    for axis in (1, 0):  # rows, then columns
        where = np.flatnonzero(moves.any(axis))
        box.append(slice(max(0, where[0] - MARGIN), where[-1] + 1 + MARGIN))
    return pictures[:, box[0], box[1]]


def sheet(films: list[Path], count: int, width: int) -> Image.Image:
    pictures = crop(np.concatenate([chosen(film, count) for film in films]))
    height = round(width * pictures.shape[1] / pictures.shape[2])
    size = (count * (width + GAP) - GAP, len(films) * (height + GAP) - GAP)
    page = Image.new("RGB", size, (200, 200, 200))
    for number, picture in enumerate(pictures):
        row, column = divmod(number, count)
        small = Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)
        page.paste(small, (column * (width + GAP), row * (height + GAP)))
    return page


def main() -> None:
    words = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    films = [Path(word) for word in sys.argv[1:] if "=" not in word]
    if not films or "out" not in words:
        sys.exit(__doc__)
    page = sheet(films, int(words.get("frames", 6)), int(words.get("width", 150)))
    page.quantize(64).save(words["out"], optimize=True)
    print(f"{words['out']}: {page.width} × {page.height}")


if __name__ == "__main__":
    main()
