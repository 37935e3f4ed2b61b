"""Creation: an environment by its id, and the ten groups that the ids belong to."""

import gymnasium as gym

from rlkit.envs.catalog import GROUPS

KINDS = ("", "Deterministic", "NoFrameskip", "-ram", "-ramDeterministic", "-ramNoFrameskip")
BREAKOUT = [f"Breakout{kind}-{version}" for kind in KINDS for version in ("v0", "v4")]


def main() -> None:
    env = gym.make("CartPole-v1")
    print(f"{env.spec.id}: {env.observation_space.shape} -> {env.action_space}")
    print(f"  at most {env.spec.max_episode_steps} steps, reward boundary {env.spec.reward_threshold:g}")
    env.close()

    print("\nthe ten groups")
    for group in GROUPS:
        if group.missing():
            print(f"{group.number:3} {group.title:16} not installed: {group.install}")
            continue
        group.module.register()
        ids = group.module.ids()
        shown = ", ".join(ids[:3]) + (", ..." if len(ids) > 3 else "")
        print(f"{group.number:3} {group.title:16} {len(ids):4} ids: {shown}")

    print(
        f"\none game, {len(BREAKOUT)} ids: what is seen (screen or RAM), and how many frames an action lasts"
    )
    for env_id in BREAKOUT:
        seen = "128 bytes of RAM" if "-ram" in env_id else "screen 210x160x3"
        skip = "1" if "NoFrameskip" in env_id else "4" if "Deterministic" in env_id else "2, 3 or 4 at random"
        sticky = "0.25" if env_id.endswith("v0") else "0"
        print(f"  {env_id:28} {seen}   frames: {skip:20} chance that the last action sticks: {sticky}")


if __name__ == "__main__":
    main()
