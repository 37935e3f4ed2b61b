"""What holds for every preset and every id of every group: made, checked, reproducible, filmed, tidy.

`make test` takes one preset of each group that is installed and a few ids; `make test-envs` takes all.
"""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import av
import gymnasium as gym
import numpy as np
import pytest
import yaml
from gymnasium.utils.env_checker import check_env, data_equivalence

import rlkit
from rlkit.config import EnvConfig, conf_dir
from rlkit.envs import catalog, headless
from rlkit.envs.factory import EnvMaker
from tests.envs.needs import ALL

FAVOURITES = ("cartpole", "lunarlander", "frozenlake", "pong", "breakout", "halfcheetah", "doom_basic")
A_FEW = 3  # ids of each group that are made when not all are
PARTS = 8 if ALL else 1  # Atari alone has more than a thousand ids


def _id_of(path: Path) -> str:
    """Read from the file, because composing all of them takes seconds; composed where it is inherited."""
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    return str(written.get("id") or rlkit.compose([f"env={path.stem}"]).env.id)


IDS = {path.stem: _id_of(path) for path in sorted((conf_dir() / "env").glob("*.yaml"))}


def _chosen() -> list[str]:
    """All presets, or one of each group; those whose packages are missing only where none may be."""
    of_group = defaultdict(list)
    for preset, env_id in IDS.items():
        group = catalog.group_of(env_id)
        if group is not None and (ALL or not group.missing(env_id)):
            of_group[group.name].append(preset)
    if ALL:
        return [preset for presets in of_group.values() for preset in presets]
    return [next((p for p in FAVOURITES if p in presets), presets[0]) for presets in of_group.values()]


CHOSEN = _chosen()


@pytest.fixture(autouse=True)
def no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


def test_every_preset_belongs_to_a_group_and_every_group_has_one() -> None:
    owners = {preset: catalog.group_of(env_id) for preset, env_id in IDS.items()}
    assert [preset for preset, group in owners.items() if group is None] == []
    with_presets = {group.name for group in owners.values() if group is not None}
    assert {group.name for group in catalog.GROUPS} - with_presets == set()


def test_an_id_has_one_owner() -> None:
    for env_id in {*IDS.values(), *catalog.installed_ids()}:
        owners = [group.name for group in catalog.GROUPS if group.module.owns(env_id)]
        assert len(owners) == 1, f"{env_id}: {owners}"


# ---------------------------------------------------------------------- presets


@pytest.mark.parametrize("preset", CHOSEN)
def test_the_checker_passes(preset: str, tidy: Path) -> None:
    config = rlkit.compose([f"env={preset}"]).env
    headless.draw_off_screen()
    env = EnvMaker(config)()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice, such as to normalise actions
            check_env(env.unwrapped, skip_render_check=True)  # it would open windows, too
    finally:
        env.close()


@pytest.mark.parametrize("preset", CHOSEN)
def test_the_seed_decides_the_first_steps(preset: str, tidy: Path) -> None:
    config = rlkit.compose([f"env={preset}"])
    make = EnvMaker(config.env, config.wrappers)
    one, two = make(), make()
    try:
        first, again, elsewhere = first_steps(one, 5), first_steps(one, 5), first_steps(two, 5)
    finally:
        one.close()
        two.close()
    assert data_equivalence(first, again)
    assert data_equivalence(first, elsewhere)


def first_steps(env: gym.Env, seed: int) -> list[Any]:
    """What 50 random steps return; where an episode ends, the next seed begins another."""
    env.action_space.seed(seed)
    obs, _ = env.reset(seed=seed)
    seen: list[Any] = [obs]
    for _ in range(50):
        mask = obs.get("action_mask") if isinstance(obs, dict) else None
        action = env.action_space.sample(None if mask is None else mask.astype(np.int8))
        obs, reward, terminated, truncated, _ = env.step(action)
        seen += [obs, float(reward), bool(terminated), bool(truncated)]
        if terminated or truncated:
            seed += 1
            obs, _ = env.reset(seed=seed)
            seen.append(obs)
    return seen


@pytest.mark.parametrize("preset", CHOSEN)
def test_the_random_agent_plays_and_is_filmed(preset: str, tidy: Path) -> None:
    words = (
        f"env={preset} agent=random trainer.total_steps=500 env.max_episode_steps=50 trainer.eval_every=0 "
        "trainer.test_episodes=0 trainer.checkpoint_every=0 monitor.video=every:1000 logger=[jsonl]"
    )
    run = rlkit.train(rlkit.compose([*words.split(), f"run.root={tidy.parent / 'runs'}"]))
    assert (run.status, run.info["steps"] >= 500) == ("done", True)
    films = [film for ending in ("mp4", "cast") for film in run.path.glob(f"monitor/*.{ending}")]
    reason = headless.why_not_drawn(IDS[preset])
    if reason:
        assert films == []
        pytest.skip(f"no film to look at: {reason}")
    assert len(films) == 1
    frames = texts(films[0]) if films[0].suffix == ".cast" else pictures(films[0])
    assert len(frames) >= 2
    assert any(not np.array_equal(frames[0], frame) for frame in frames[1:])


def pictures(film: Path) -> list[np.ndarray]:
    """Its frames, none of which is of one colour."""
    with av.open(str(film)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert all(np.ptp(frame) > 16 for frame in frames)
    return frames


def texts(film: Path) -> list[str]:
    """Its screens, in the form of asciinema: a header, then a line [seconds, "o", text] for each."""
    return [json.loads(line)[2] for line in film.read_text(encoding="utf-8").splitlines()[1:]]


@pytest.fixture
def tidy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Stand in an empty folder, which must be empty in the end."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    yield here
    assert list(here.iterdir()) == []


# ---------------------------------------------------------------------- ids


@cache
def _ids() -> list[str]:
    """Installed ids, all or a few of each group, the same few each time."""
    by_group = defaultdict(list)
    for env_id in catalog.installed_ids():
        group = catalog.group_of(env_id)
        by_group[group.name if group else ""].append(env_id)
    some = np.random.default_rng(0)
    chosen: list[str] = []
    for ids in by_group.values():
        chosen += ids if ALL else some.choice(ids, min(A_FEW, len(ids)), replace=False).tolist()
    return chosen


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Gymnasium's advice on old versions
@pytest.mark.parametrize("part", range(PARTS))
def test_every_id_that_is_listed_as_installed_can_be_made(part: int, tidy: Path) -> None:
    ids = _ids()[part::PARTS]
    failed = {}
    for env_id in ids:
        try:
            EnvMaker(EnvConfig(id=env_id))().close()
        except Exception as error:
            failed[env_id] = f"{type(error).__name__}: {error}"
    assert failed == {}
    assert len(ids) >= 10
