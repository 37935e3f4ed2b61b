"""Group 2, Atari 2600: what ale-py registers, and the old ids that it no longer does.

    ALE/X-v5            frame skip 4, sticky actions 0.25 (104 games)
    X-v0, X-v4          frame skip drawn from 2, 3, 4 (62 games)
    XDeterministic-…    frame skip 4 (Space Invaders: 3, whose lasers blink in step with 4)
    XNoFrameskip-…      every frame
    X-ram-…, X-ramDeterministic-…, X-ramNoFrameskip-…   the same on the console's 128 bytes

v0 repeats the last action with probability 0.25, v4 never does. The names mean what they meant in gym 0.21's
registry; the time limit of all is ale-py's, 108,000 frames (30 minutes of play).
"""

from __future__ import annotations

import re
from typing import Any

import gymnasium as gym

# Space-separated file names of the games, in ale-py's order; the first list has ids of every version.
_OLD = """adventure air_raid alien amidar assault asterix asteroids atlantis bank_heist battle_zone beam_rider
berzerk bowling boxing breakout carnival centipede chopper_command crazy_climber defender demon_attack
double_dunk elevator_action enduro fishing_derby freeway frostbite gopher gravitar hero ice_hockey jamesbond
journey_escape kangaroo krull kung_fu_master montezuma_revenge ms_pacman name_this_game phoenix pitfall pong
pooyan private_eye qbert riverraid road_runner robotank seaquest skiing solaris space_invaders star_gunner
tennis time_pilot tutankham up_n_down venture video_pinball wizard_of_wor yars_revenge zaxxon""".split()
_NEW = """atlantis2 backgammon basic_math blackjack casino crossbow darkchambers donkey_kong earthworld
entombed et flag_capture frogger galaxian hangman haunted_house human_cannonball kaboom keystone_kapers
king_kong klax koolaid laser_gates lost_luggage mario_bros miniature_golf mr_do othello pacman pitfall2
sir_lancelot space_war superman surround tetris tic_tac_toe_3d trondead turmoil video_checkers video_chess
video_cube word_zapper""".split()

_KINDS = ("", "Deterministic", "NoFrameskip")
_STICKY = {"v0": 0.25, "v4": 0.0}  # probability that the console repeats the last action instead
_FRAMES = 108_000  # of one episode: 30 minutes at 60 Hz
_MODERN = re.compile(r"ALE/(\w+?)(-v\d+)?")
_CLASSIC = re.compile(r"(\w+?)(-ram)?(Deterministic|NoFrameskip)?(-v\d+)?")


def name_of(game: str) -> str:
    """`space_invaders` → `SpaceInvaders`, as ale-py writes it."""
    return game.title().replace("_", "")


_GAMES = {name_of(game): game for game in (*_OLD, *_NEW)}


def game_of(env_id: str) -> str | None:
    """The game's file name, `space_invaders` for `SpaceInvadersNoFrameskip-v4`; None: not Atari."""
    if found := _MODERN.fullmatch(env_id):
        return _GAMES.get(found[1])
    found = _CLASSIC.fullmatch(env_id)
    game = _GAMES.get(found[1]) if found else None
    return game if game in _OLD else None  # Blackjack-v1 is no Atari game, ALE/Blackjack-v5 is


def owns(env_id: str) -> bool:
    return game_of(env_id) is not None


def register() -> None:
    """ale-py's ids by importing it, then those that it left out."""
    import ale_py

    gym.register_envs(ale_py)
    for game in _OLD:
        for version in _STICKY:
            for env_id, arguments in _missing(game, version):
                if env_id not in gym.registry:
                    gym.register(env_id, entry_point="ale_py.env:AtariEnv", kwargs=arguments)


def ids() -> list[str]:
    modern = [f"ALE/{name}-v5" for name in sorted(_GAMES)]
    return modern + [
        f"{name_of(game)}{ram}{kind}-{version}"
        for game in _OLD
        for ram in ("", "-ram")
        for kind in _KINDS
        for version in _STICKY
    ]


def _missing(game: str, version: str) -> list[tuple[str, dict[str, Any]]]:
    """The ids of one game and version that ale-py does not register, and what makes them."""
    skips: dict[str, Any] = {
        "": (2, 5),  # the upper bound is excluded
        "Deterministic": 3 if game == "space_invaders" else 4,
        "NoFrameskip": 1,
    }
    found = []
    for ram in ("", "-ram"):
        for kind in _KINDS:
            arguments = {
                "game": game,
                "obs_type": "ram" if ram else "rgb",
                "repeat_action_probability": _STICKY[version],
                "full_action_space": False,
                "frameskip": skips[kind],
                "max_num_frames_per_episode": _FRAMES,
            }
            found.append((f"{name_of(game)}{ram}{kind}-{version}", arguments))
    return found
