"""Six tasks on tapes: learn to copy, reverse or add by reading one character at a time.

The tasks of Zaremba et al. (2016), "Learning Simple Algorithms from Examples" (arXiv 1511.07275), with the
rules and names of OpenAI Gym 0.x. A head reads the character under it; an action moves the head, says
whether to write, and what. A right character gives +1, a wrong one −0.5 and ends the episode, and so does
the whole answer; too many steps end it with −1.

**Rising lengths.** Inputs of level n have n to n + 2 characters. When the last `LAST` episodes were all
(nearly) perfect, the level rises by one, up to `LONGEST`. So what an episode shows depends on those before
it; that it can still be played again from one number and its actions, the place in the curriculum travels in
the seed: bits 0–31 are random, bits 32–39 the level, the bits above count the good episodes in a row.
`info["replay_seed"]` of `reset(seed=…)` is that number. A seed below 2³² leaves the curriculum alone.
"""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces

Info = dict[str, Any]

LONGEST = 30  # the level at which the lengths stop rising
_LEVEL_AT, _STREAK_AT = 32, 40  # bits of a seed
_BLANK = "·"
_WAYS = (("left", -1, 0), ("right", 1, 0), ("up", 0, -1), ("down", 0, 1))


def seed_at(seed: int, level: int, streak: int = 0) -> int:
    """The seed below 2³² at a place in the curriculum: `level`, after `streak` good episodes in a row."""
    return seed | level << _LEVEL_AT | streak << _STREAK_AT


class Algorithmic(gym.Env):
    """What the six have in common. An input is a grid of characters [columns, rows]; a tape has one row.

    base: how many characters there are. length: level that stays (inputs of length … length + 2); None
    lets it rise. rising=False keeps the first level.
    Observation: the character under the head, `base` where there is none. Action: (move left, right, with
    more rows also up, down; write 0 or 1; character).
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"], "render_fps": 4}
    FIRST: ClassVar[int] = 2  # the level at the start
    LAST: ClassVar[int] = 10  # good episodes in a row that raise it
    WORST: ClassVar[float] = -1.0  # an episode is good when it misses no more than this of the best return
    CHARACTERS: ClassVar[str] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

    def __init__(
        self,
        base: int = 5,
        length: int | None = None,
        rising: bool = True,
        *,
        rows: int = 1,
        render_mode: str | None = None,
    ) -> None:
        if not 2 <= base <= len(self.CHARACTERS):
            raise ValueError(f"base must lie in 2..{len(self.CHARACTERS)}, not {base}")
        if length is not None and length < 1:
            raise ValueError(f"length must be at least 1, not {length}")
        if render_mode not in (None, "ansi"):
            raise ValueError(f"render_mode must be ansi or nothing, not {render_mode!r}")
        self.base, self.rows, self.render_mode = base, rows, render_mode
        self.rising = rising and length is None
        self.level = self.FIRST if length is None else length
        self.streak = 0  # good episodes in a row at this level
        self.observation_space = spaces.Discrete(base + 1)
        self.action_space = spaces.Tuple(
            (spaces.Discrete(2 if rows == 1 else 4), spaces.Discrete(2), spaces.Discrete(base))
        )
        self.input = np.zeros((0, rows), dtype=np.int64)  # [columns, rows]
        self.target: list[int] = []
        self.written: list[int] = []
        self.head = (0, 0)  # column, row
        self.steps, self.total = 0, 0.0  # of this episode; total: the sum of its rewards
        self._last: tuple[int, int, int, float] | None = None  # move, write, character, reward

    # ------------------------------------------------------------------ what a task is

    def question(self, length: int) -> np.ndarray:
        """An input of about this length, [columns, rows], drawn from the environment's generator."""
        return self.np_random.integers(self.base, size=(length, self.rows))

    def answer(self, question: np.ndarray) -> list[int]:
        """The characters that must be written."""
        raise NotImplementedError

    # ------------------------------------------------------------------ the verbs

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[int, Info]:
        """A new input. `info` says the level, and with a seed the number that plays this episode again."""
        self._grade()
        low = None if seed is None else self._enter(seed)
        super().reset(seed=low)
        self.input = self.question(self.level + int(self.np_random.integers(3)))
        self.target = self.answer(self.input)
        self.written, self.head, self.steps, self.total, self._last = [], (0, 0), 0, 0.0, None
        info: Info = {"level": self.level}
        if low is not None:
            info["replay_seed"] = seed_at(low, self.level, self.streak) if self.rising else low
        return self._under_head(), info

    def step(self, action: Any) -> tuple[int, float, bool, bool, Info]:
        if not self.action_space.contains(action):
            raise ValueError(f"the action {action!r} is not (move, write, character) of {self.action_space}")
        move, write, character = (int(part) for part in action)
        self.steps += 1
        reward, over = 0.0, False
        if write:
            place = len(self.written)
            right = place < len(self.target) and character == self.target[place]
            self.written.append(character)
            reward = 1.0 if right else -0.5
            over = not right or len(self.written) == len(self.target)
        _, x, y = _WAYS[move]
        self.head = (self.head[0] + x, self.head[1] + y)
        if self.steps > self.step_limit:
            reward, over = -1.0, True
        self.total += reward
        self._last = (move, write, character, reward)
        return self._under_head(), reward, over, False, {}

    @property
    def step_limit(self) -> int:
        """Steps that may be taken: one for each character read and written, and four to spare."""
        return len(self.input) + len(self.target) + 4

    # ------------------------------------------------------------------ inside

    def _grade(self) -> None:
        """Judge the episode that is over (one given up is a bad one) and raise the level when it is time."""
        if not (self.rising and self.steps):
            return
        good = self.total - len(self.target) >= self.WORST
        self.streak = self.streak + 1 if good else 0
        if self.streak >= self.LAST and self.level < LONGEST:
            self.level, self.streak = self.level + 1, 0
        self.streak = min(self.streak, self.LAST)

    def _enter(self, seed: int) -> int:
        """Go to the place in the curriculum that the seed names, if it does; the random part of the seed."""
        low, level, streak = seed % 2**_LEVEL_AT, (seed >> _LEVEL_AT) % 2**8, seed >> _STREAK_AT
        if seed < 2**_LEVEL_AT:
            return seed
        if not self.rising:
            raise ValueError(f"the seed {seed} names a level, but the level of this one is fixed: take {low}")
        if not (1 <= level <= LONGEST and streak <= self.LAST):
            raise ValueError(
                f"the seed {seed} names level {level} after {streak} good episodes, which does not exist; "
                f"take one below 2**{_LEVEL_AT}"
            )
        self.level, self.streak = level, streak
        return low

    def _at(self, x: int, y: int) -> int:
        inside = 0 <= x < len(self.input) and 0 <= y < self.rows
        return int(self.input[x, y]) if inside else self.base

    def _under_head(self) -> int:
        return self._at(*self.head)

    # ------------------------------------------------------------------ text

    def render(self) -> str | None:
        """The screen as text: input with the head in brackets, what is asked for, what was written."""
        if self.render_mode is None:
            return None
        name = self.spec.id if self.spec else type(self).__name__
        level = f"level {self.level}" + (f", {self.streak} of {self.LAST} good" if self.rising else "")
        lines = [f"{name}   {level}   step {self.steps} of {self.step_limit}", ""]
        margin = 0 if self.rows == 1 else 1
        shown = range(min(-margin, self.head[1]), max(self.rows + margin, self.head[1] + 1))
        lines += [f"{'input' if y == 0 else '':8}{self._row(y)}" for y in shown]
        lines += ["", f"target   {self._in_line(self.target)}", f"written  {self._in_line(self.written)}", ""]
        if self._last is None:
            lines += ["action", "reward"]
        else:
            move, write, character, reward = self._last
            what = f"write {self.CHARACTERS[character]}" if write else "write nothing"
            lines += [f"action   {what}, move {_WAYS[move][0]}"]
            lines += [f"reward   {reward:+.1f}   so far {self.total:+.1f}"]
        return "\n".join(lines)

    def _row(self, y: int) -> str:
        """One row of the input with two blanks on each side, or as far as the head has gone."""
        cells = []
        for x in range(min(-2, self.head[0]), max(len(self.input) + 2, self.head[0] + 1)):
            character = (self.CHARACTERS + _BLANK)[self._at(x, y) if self._at(x, y) < self.base else -1]
            cells.append(f"[{character}]" if (x, y) == self.head else f" {character} ")
        return "".join(cells)

    def _in_line(self, characters: list[int]) -> str:
        return "  ".join(self.CHARACTERS[character] for character in characters)


class Copy(Algorithmic):
    """Write what stands on the tape. A policy without memory can do it."""

    def answer(self, question: np.ndarray) -> list[int]:
        return [int(c) for c in question[:, 0]]


class DuplicatedInput(Algorithmic):
    """Every character stands on the tape `duplication` times: write each once."""

    def __init__(
        self,
        base: int = 5,
        length: int | None = None,
        rising: bool = True,
        *,
        duplication: int = 2,
        render_mode: str | None = None,
    ) -> None:
        if duplication < 1:
            raise ValueError(f"duplication must be at least 1, not {duplication}")
        self.duplication = duplication
        super().__init__(base, length, rising, render_mode=render_mode)

    def question(self, length: int) -> np.ndarray:
        return np.repeat(super().question(max(1, length // self.duplication)), self.duplication, axis=0)

    def answer(self, question: np.ndarray) -> list[int]:
        return [int(c) for c in question[:: self.duplication, 0]]


class RepeatCopy(Algorithmic):
    """Write the tape forwards, backwards, and forwards again."""

    LAST = 50
    WORST = -0.1

    def answer(self, question: np.ndarray) -> list[int]:
        once = [int(c) for c in question[:, 0]]
        return once + once[::-1] + once


class Reverse(Algorithmic):
    """Write the tape backwards."""

    FIRST = 1
    LAST = 50
    WORST = -0.1

    def __init__(
        self, base: int = 2, length: int | None = None, rising: bool = True, *, render_mode: str | None = None
    ) -> None:
        super().__init__(base, length, rising, render_mode=render_mode)

    def answer(self, question: np.ndarray) -> list[int]:
        return [int(c) for c in question[::-1, 0]]


class ReversedAddition(Algorithmic):
    """Add `rows` numbers of the same length, written one below the other, the lowest digit first.

    Gym 0.x allowed 2·columns + 4 steps whatever the rows, too few to read three of them; here all rows count.
    """

    CHARACTERS = "0123456789"

    def __init__(
        self,
        base: int = 3,
        length: int | None = None,
        rising: bool = True,
        *,
        rows: int = 2,
        render_mode: str | None = None,
    ) -> None:
        if not 2 <= rows <= base:
            raise ValueError(f"rows must lie in 2..base (base={base}), not {rows}: a carry is one digit")
        super().__init__(base, length, rising, rows=rows, render_mode=render_mode)

    def answer(self, question: np.ndarray) -> list[int]:
        digits, carry = [], 0
        for column in question:
            carry, digit = divmod(int(column.sum()) + carry, self.base)
            digits.append(digit)
        return [*digits, carry] if carry else digits

    @property
    def step_limit(self) -> int:
        return self.rows * len(self.input) + 4
