"""One frame each of environments of the ten groups, as one PNG with their names.

    python docs/tools/groups_picture.py out=docs/images/groups.png

Every environment plays a few seconds of random actions first, so that something is going on.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import rlkit
from rlkit.envs.factory import EnvMaker, probe
from rlkit.films import as_rgb

CHOSEN = (  # preset, steps before the picture is taken
    ("cartpole", 12), ("breakout", 60), ("copy", 3), ("go9x9", 30), ("hex9x9", 16), ("lunarlander", 45),
    ("car_racing", 60), ("halfcheetah", 40), ("taxi", 5), ("flappy_bird", 30),
    ("minigrid_empty", 3), ("convergence_control", 8), ("pixel_pong", 60), ("minatar_breakout", 20),
    ("doom_health_gathering", 40),
)  # fmt: skip
COLUMNS, SIDE, GAP, LABEL = 5, 170, 8, 20


def frame(preset: str, steps: int) -> Image.Image:
    """A picture of the environment after so many random steps of one episode."""
    config = rlkit.compose([f"env={preset}", "agent=random"])
    mode = probe(config.env, config.wrappers).film_mode
    env = EnvMaker(config.env, config.wrappers, training=False, render_mode=mode)()
    obs, _ = env.reset(seed=3)
    rng = np.random.default_rng(3)
    env.action_space.seed(3)
    for _ in range(steps):
        obs, _, terminated, truncated, _ = env.step(legal(env, obs, rng))
        if terminated or truncated:
            obs, _ = env.reset(seed=4)
    shown: Any = env.render()
    env.close()
    return drawn(shown) if isinstance(shown, str) else Image.fromarray(as_rgb(shown))


def drawn(text: str) -> Image.Image:
    """A text screen as a picture."""
    font = ImageFont.load_default(size=15)
    lines = text.rstrip().splitlines()
    sheet = Image.new("RGB", (max(8 * len(line) for line in lines) + 12, 19 * len(lines) + 12), "#1d1f21")
    for number, line in enumerate(lines):
        ImageDraw.Draw(sheet).text((6, 6 + 19 * number), line, fill="#e0e0e0", font=font)
    return sheet


def legal(env: Any, obs: Any, rng: np.random.Generator) -> Any:
    """A random action, a legal one where the observation says what is legal."""
    mask = obs.get("action_mask") if isinstance(obs, dict) else None
    return env.action_space.sample() if mask is None else int(rng.choice(np.flatnonzero(mask)))


def main(words: list[str]) -> None:
    out = Path(dict(word.split("=", 1) for word in words).get("out", "groups.png"))
    rows = -(-len(CHOSEN) // COLUMNS)
    size = (COLUMNS * (SIDE + GAP) + GAP, rows * (SIDE + LABEL + GAP) + GAP)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for number, (preset, steps) in enumerate(CHOSEN):
        picture = frame(preset, steps).convert("RGB")
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        x = GAP + number % COLUMNS * (SIDE + GAP)
        y = GAP + number // COLUMNS * (SIDE + LABEL + GAP)
        sheet.paste(picture, (x + (SIDE - picture.width) // 2, y + (SIDE - picture.height) // 2))
        draw.text((x + SIDE // 2, y + SIDE + LABEL // 2), preset, fill="black", font=font, anchor="mm")
    sheet.save(out, optimize=True)
    print(f"{out}: {sheet.width}×{sheet.height}, {out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
