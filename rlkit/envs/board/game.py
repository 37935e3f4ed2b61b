"""Go and Hex as Gymnasium environments: one agent, one opponent, the legal moves in the observation."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from rlkit.envs.board.opponents import Observation, make_opponent
from rlkit.envs.board.pictures import Picture, picture_of_go, picture_of_hex
from rlkit.envs.board.rules import BLACK, COLORS, WHITE, GoRules, HexRules, Rules
from rlkit.spaces import ObsSpec
from rlkit.types import Actor

Info = dict[str, Any]


class BoardGame(gym.Env):
    """A step is a move of the agent and the opponent's reply. Reward at the end: 1 won, −1 lost, 0 drawn.

    Observation: "board" [planes, S, S] of 0 and 1, as the agent sees it (own stones, the other's stones,
    empty points, all ones if the agent is black; in Go also all ones if the opponent has just passed), and
    "action_mask" [actions], 1 where a move is legal, all 0 once the game is over.

    color: the agent's, black (who begins), white, or random (from the seed). opponent: random, mcts (with so
    many `simulations` a move), or an Actor. illegal: what an illegal move of the agent is, "loss" or "error".
    An illegal move of the opponent loses.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "render_modes": ["rgb_array", "ansi"],
        "render_fps": 2,
    }

    def __init__(
        self,
        rules: Rules,
        picture: Picture,
        *,
        opponent: str | Actor = "random",
        simulations: int = 200,
        color: str = "black",
        illegal: str = "loss",
        render_mode: str | None = None,
    ) -> None:
        for name, value, choices in (
            ("color", color, (*COLORS, "random")),
            ("illegal", illegal, ("loss", "error")),
            ("render_mode", render_mode, (None, *self.metadata["render_modes"])),
        ):
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}; not {value!r}")
        self.rules, self.color, self.illegal, self.render_mode = rules, color, illegal, render_mode
        size = rules.size
        self.observation_space = spaces.Dict(
            {
                "board": spaces.Box(0, 1, (3 + rules.flags, size, size), np.uint8),
                "action_mask": spaces.MultiBinary(rules.actions),
            }
        )
        self.action_space = spaces.Discrete(rules.actions)
        self.agent = WHITE if color == "white" else BLACK
        self.state: Any = None  # pyspiel's
        self._opponent = make_opponent(opponent, simulations, rules, ObsSpec.of(self.observation_space))
        self._picture = picture

    # ------------------------------------------------------------------ the verbs

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Observation, Info]:
        """A new game; when the agent is white, the opponent has already moved."""
        super().reset(seed=seed)
        if self.color == "random":
            self.agent = int(self.np_random.integers(2))
        self.state = self.rules.game.new_initial_state()
        self._opponent.begin(int(self.np_random.integers(2**31)))
        if self.agent == WHITE and not self._reply():
            raise ValueError("the opponent's first move is illegal: its policy must read the action_mask")
        return self.observe(self.agent), {}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
        move = int(action)
        if self.state.is_terminal():
            raise ValueError("the game is over: call reset first")
        if not self._legal(move):
            if self.illegal == "error":
                where = self.rules.move_name(move) if 0 <= move < self.rules.actions else "not on the board"
                raise ValueError(f"the move {move} ({where}) is illegal here: choose one of the action_mask")
            return self._end(-1.0, {"illegal": True})
        self.state.apply_action(move)
        if not self.state.is_terminal() and not self._reply():
            return self._end(1.0, {"opponent_illegal": True})
        if self.state.is_terminal():
            return self._end(float(self.state.returns()[self.agent]), {})
        return self.observe(self.agent), 0.0, False, False, {}

    def observe(self, player: int) -> Observation:
        """The position as a player sees it, in fresh arrays; the mask is that of whoever moves now."""
        size = self.rules.size
        stones = self.rules.stones(self.state)
        board = np.zeros((3 + self.rules.flags, size, size), dtype=np.uint8)
        board[0], board[1] = stones[player], stones[1 - player]
        board[2] = 1 - stones[0] - stones[1]
        board[3] = player == BLACK
        if self.rules.flags == 2:
            board[4] = self.rules.passed(self.state)
        mask = np.zeros(self.rules.actions, dtype=np.int8)
        mask[self.state.legal_actions()] = 1
        return {"board": board, "action_mask": mask}

    # ------------------------------------------------------------------ inside

    def _legal(self, move: int) -> bool:
        return move in self.state.legal_actions()

    def _reply(self) -> bool:
        """Let the opponent move; False where its move is illegal."""
        move = self._opponent.move(self.state, partial(self.observe, 1 - self.agent))
        if not self._legal(move):
            return False
        self.state.apply_action(move)
        return True

    def _end(self, reward: float, info: Info) -> tuple[Observation, float, bool, bool, Info]:
        winner = "nobody" if reward == 0 else COLORS[self.agent if reward > 0 else 1 - self.agent]
        return self.observe(self.agent), reward, True, False, {"winner": winner, **info}

    def render(self) -> Any:
        """rgb_array: uint8 [H, W, 3], the last move marked. ansi: OpenSpiel's text."""
        if self.render_mode == "rgb_array":
            points = self.rules.size**2
            marked = [move for move in self.state.history()[-2:] if move < points]
            return self._picture(self.rules.stones(self.state), marked)
        return str(self.state) if self.render_mode == "ansi" else None


class Go(BoardGame):
    """Go on `size` × `size` lines; the action size² is to pass. See `GoRules` for komi and max_moves."""

    def __init__(self, size: int = 9, komi: float = 7.5, max_moves: int | None = None, **kwargs: Any) -> None:
        super().__init__(GoRules(size, komi, max_moves), partial(picture_of_go, size), **kwargs)


class Hex(BoardGame):
    """Hex on `size` × `size` cells: black joins top and bottom, white left and right."""

    def __init__(self, size: int = 9, **kwargs: Any) -> None:
        super().__init__(HexRules(size), partial(picture_of_hex, size), **kwargs)
