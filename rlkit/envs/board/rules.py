"""Go and Hex as OpenSpiel (pyspiel) plays them. Black, who begins, is player 0; S is the side of the board.

Point (row, column) is action row · S + column, in both games. Go's row 0 is the lowest line of the board,
Hex's the topmost. Go has one action more: S · S is to pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np

BLACK, WHITE = 0, 1
COLORS = ("black", "white")
_LETTERS = "ABCDEFGHJKLMNOPQRSTUVWXYZ"  # Go leaves out the I


class GoRules:
    """Tromp-Taylor scoring, no suicide, positional superko (a repetition is a draw), two passes end a game.

    komi: points for White. max_moves: the game is counted after so many moves of both; None: 2 · S · S.
    """

    name = "go"
    flags = 2  # constant planes: is the agent black?, did the opponent just pass?

    def __init__(self, size: int, komi: float = 7.5, max_moves: int | None = None) -> None:
        if not 2 <= size <= 19:
            raise ValueError(f"size must lie in 2..19, not {size}")
        if max_moves is not None and max_moves < 1:
            raise ValueError(f"max_moves must be at least 1, not {max_moves}")
        import pyspiel

        self.size, self.actions = size, size * size + 1
        self.komi = float(komi)
        settings = {"board_size": size, "komi": self.komi, "max_game_length": max_moves or 2 * size * size}
        self.game: Any = pyspiel.load_game("go", settings)

    def stones(self, state: Any) -> np.ndarray:
        """[2, S, S] uint8: black stones, white stones."""
        planes = np.array(state.observation_tensor(0), dtype=np.uint8)
        return planes[: 2 * self.size**2].reshape(2, self.size, self.size)

    def passed(self, state: Any) -> bool:
        """Whether the last move was a pass."""
        history = state.history()
        return bool(history) and history[-1] == self.actions - 1

    def move_name(self, action: int) -> str:
        if action == self.actions - 1:
            return "pass"
        row, column = divmod(action, self.size)
        return f"{_LETTERS[column]}{row + 1}"


class HexRules:
    """Black joins the top and the bottom, White the left and the right edge. No draws, no swap."""

    name = "hex"
    flags = 1  # constant planes: is the agent black?

    def __init__(self, size: int) -> None:
        if not 2 <= size <= 26:
            raise ValueError(f"size must lie in 2..26, not {size}")
        import pyspiel

        self.size, self.actions = size, size * size
        self.game: Any = pyspiel.load_game("hex", {"board_size": size, "plain_obs_tensor": True})

    def stones(self, state: Any) -> np.ndarray:
        """[2, S, S] uint8: black stones, white stones."""
        stones = np.zeros((2, self.size * self.size), dtype=np.uint8)
        history = state.history()
        stones[BLACK, history[::2]] = 1
        stones[WHITE, history[1::2]] = 1
        return stones.reshape(2, self.size, self.size)

    def passed(self, state: Any) -> bool:
        return False

    def move_name(self, action: int) -> str:
        row, column = divmod(action, self.size)
        return f"{chr(ord('a') + column)}{row + 1}"


Rules = GoRules | HexRules
