"""What the pixel games share: both observations, and drawing for nets (NumPy) and people (pygame-ce)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces

SIDE = 84  # pixels of the world and of the observation: what the image encoder of Mnih et al. takes
ZOOM = 4  # a frame for people is so many times larger
_FINE = 2  # pygame draws so many times finer than that, and smooths

Color = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Shape:
    """A rectangle, or an ellipse within it; pixels of the world, y points down."""

    x: float
    y: float
    width: float
    height: float
    color: Color
    round: bool = False


class PixelGame(gym.Env[np.ndarray, int]):
    """One game. A subclass tells its rules and its shapes; everything random comes from `self.np_random`.

    `obs="pixels"`: uint8 [84, 84, 3]; `obs="state"`: float32 [n], positions and velocities within −1..1.
    Frames are uint8 [336, 336, 3], drawn off screen; `human` opens a window.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array", "human"], "render_fps": 30}
    actions: ClassVar[int] = 3  # 0 does nothing
    features: ClassVar[int] = 0  # numbers in the state
    background: ClassVar[Color] = (24, 28, 44)

    def __init__(self, obs: str = "pixels", render_mode: str | None = None) -> None:
        if obs not in ("pixels", "state"):
            raise ValueError(f"obs must be pixels or state, not {obs!r}")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode must be rgb_array or human, not {render_mode!r}")
        self.render_mode, self._pixels = render_mode, obs == "pixels"
        self.action_space = spaces.Discrete(self.actions)
        self.observation_space = (
            spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
            if self._pixels
            else spaces.Box(-1.0, 1.0, (self.features,), np.float32)
        )
        self._empty = np.full((SIDE, SIDE, 3), self.background, np.uint8)
        self._window: Any = None
        self._clock: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.start()
        if self.render_mode == "human":
            self.render()
        return self._observe(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        reward, over = self.play(int(action))
        if self.render_mode == "human":
            self.render()
        return self._observe(), reward, over, False, {}

    # ------------------------------------------------------------------ what a game tells

    def start(self) -> None:
        """Begin an episode."""
        raise NotImplementedError

    def play(self, action: int) -> tuple[float, bool]:
        """One step → reward, and whether the game is over."""
        raise NotImplementedError

    def state(self) -> list[float]:
        """`features` numbers, about −1..1; what lies beyond is clipped."""
        raise NotImplementedError

    def shapes(self) -> list[Shape]:
        """What is seen, the hindmost first."""
        raise NotImplementedError

    def caption(self) -> str:
        """The score, written into frames for people alone."""
        raise NotImplementedError

    # ------------------------------------------------------------------ drawing

    def _observe(self) -> np.ndarray:
        if not self._pixels:
            return np.clip(np.array(self.state(), np.float32), -1.0, 1.0)
        image = self._empty.copy()
        for s in self.shapes():
            left, top = max(0, round(s.x)), max(0, round(s.y))
            image[top : max(0, round(s.y + s.height)), left : max(0, round(s.x + s.width))] = s.color
        return image

    def render(self) -> Any:
        """A frame uint8 [336, 336, 3]; None where it is shown in a window, or where nothing was asked for."""
        if self.render_mode is None:
            return None
        import pygame

        surface = self._paint(pygame)
        if self.render_mode == "rgb_array":
            return np.ascontiguousarray(pygame.surfarray.array3d(surface).transpose(1, 0, 2))
        if self._window is None:
            pygame.display.init()
            self._window = pygame.display.set_mode(surface.get_size())
            self._clock = pygame.time.Clock()
        pygame.event.pump()
        self._window.blit(surface, (0, 0))
        pygame.display.flip()
        self._clock.tick(self.metadata["render_fps"])
        return None

    def _paint(self, pygame: Any) -> Any:
        scale = ZOOM * _FINE
        fine = pygame.Surface((SIDE * scale, SIDE * scale), 0, 32)
        fine.fill(self.background)
        for s in self.shapes():
            rect = pygame.Rect(*(round(v * scale) for v in (s.x, s.y, s.width, s.height)))
            if s.round:
                pygame.draw.ellipse(fine, s.color, rect)
            else:
                pygame.draw.rect(fine, s.color, rect, border_radius=scale)
        small = pygame.transform.smoothscale(fine, (SIDE * ZOOM, SIDE * ZOOM))
        pygame.font.init()
        text = pygame.font.Font(None, 32).render(self.caption(), True, (255, 255, 255))
        small.blit(text, ((SIDE * ZOOM - text.get_width()) // 2, 8))
        return small

    def close(self) -> None:
        if self._window is not None:
            import pygame

            pygame.display.quit()
            self._window = None
