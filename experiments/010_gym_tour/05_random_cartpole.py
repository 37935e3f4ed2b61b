"""The random agent on CartPole: one episode, then so many that its average can be trusted."""

import gymnasium as gym
import numpy as np

EPISODES = 2_000
WINDOW = 100  # episodes in a row whose mean return decides whether a task is solved


def episode(env: gym.Env, seed: int) -> tuple[int, float]:
    """Steps and total reward. The seed decides the first state, the action space has its own."""
    env.reset(seed=seed)
    steps, total = 0, 0.0
    while True:
        _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        steps, total = steps + 1, total + float(reward)
        if terminated or truncated:
            return steps, total


def main() -> None:
    env = gym.make("CartPole-v1")
    env.action_space.seed(0)
    steps, total = episode(env, seed=0)
    print(f"one episode: {steps} steps, total reward {total:.2f}")

    lengths = np.array([episode(env, seed)[0] for seed in range(1, EPISODES + 1)])
    quarter, half, three = np.percentile(lengths, [25, 50, 75])
    error = 1.96 * lengths.std(ddof=1) / np.sqrt(EPISODES)
    print(f"{EPISODES:,} episodes: mean {lengths.mean():.1f} +- {error:.1f} steps, median {half:.0f}")
    print(
        f"  half of them last {quarter:.0f} to {three:.0f}; shortest {lengths.min()}, longest {lengths.max()}"
    )
    within = np.mean((lengths >= 12) & (lengths <= 15))
    print(f"  12 to 15 steps, the chapter's average: {within:.0%} of the episodes, and below the mean")

    returns = lengths.astype(float)  # every step pays 1
    means = np.convolve(returns, np.ones(WINDOW) / WINDOW, mode="valid")  # of every 100 in a row
    boundary = env.spec.reward_threshold
    print(f"solved means: {WINDOW} episodes in a row with a mean of at least {boundary:g}")
    print(f"  best {WINDOW} in a row here: {means.max():.1f}, so solved: {bool(means.max() >= boundary)}")
    env.close()


if __name__ == "__main__":
    main()
