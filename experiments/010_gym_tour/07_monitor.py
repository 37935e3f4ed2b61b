"""The Monitor: what happened in an environment, as records and films in one folder. No screen is needed."""

import json
from pathlib import Path

import gymnasium as gym

from rlkit import Monitor, load_results
from rlkit.envs.headless import draw_off_screen
from rlkit.monitor import MonitorError

FOLDER = Path("recording")


def record(episodes: int, force: bool) -> None:
    """The random agent under a monitor. Every cubic episode (0, 1, 8, 27, ...) is filmed."""
    env = Monitor(gym.make("CartPole-v1", render_mode="rgb_array"), FOLDER, force=force)
    env.action_space.seed(0)
    for seed in range(episodes):
        env.reset(seed=seed)
        steps, over = 0, False
        while not over:
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            steps, over = steps + 1, terminated or truncated
        print(f"  episode {seed} done in {steps} steps")
    env.close()


def main() -> None:
    draw_off_screen()  # nothing needs a screen; without this SDL complains that there is none
    print("force=True deletes the record that is there, if one is")
    record(3, force=True)

    print("without it, a folder with a record in it is refused:")
    try:
        record(1, force=False)
    except MonitorError as error:
        print(f"  {type(error).__name__}: {error}")

    print("what is in the folder:")
    for path in sorted(FOLDER.iterdir()):
        kind = ".".join(part for part in path.name.split(".") if not part.isdigit())
        print(f"  {kind:52} {path.stat().st_size:7,} bytes")
    results = load_results(FOLDER)
    print(
        "load_results:", json.dumps({name: results[name] for name in ("episode_rewards", "episode_lengths")})
    )


if __name__ == "__main__":
    main()
