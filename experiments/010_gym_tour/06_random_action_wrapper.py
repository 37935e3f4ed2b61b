"""RandomActionWrapper: sometimes not the action asked for. By hand, then from the configuration."""

import gymnasium as gym
import numpy as np

import rlkit
from rlkit.envs.factory import EnvMaker


class RandomActionWrapper(gym.ActionWrapper):
    """With probability epsilon the action is a sample of the action space."""

    def __init__(self, env: gym.Env, epsilon: float = 0.1) -> None:
        super().__init__(env)
        self.epsilon = epsilon
        self.replaced = 0

    def action(self, action: int) -> int:
        if self.np_random.random() < self.epsilon:  # the environment's generator: reset(seed=) decides it too
            self.replaced += 1
            return self.env.action_space.sample()
        return action


def constant_action(env: gym.Env, seed: int) -> float:
    """The return of an agent that always pushes to the left."""
    env.reset(seed=seed)
    total = 0.0
    while True:
        _, reward, terminated, truncated, _ = env.step(0)
        total += float(reward)
        if terminated or truncated:
            return total


def main() -> None:
    env = RandomActionWrapper(gym.make("CartPole-v1"), epsilon=0.5)
    env.action_space.seed(0)
    print(f"by hand, epsilon 0.5: reward {constant_action(env, 0):.2f}, {env.replaced} actions replaced")

    config = rlkit.compose(["env=cartpole", "wrappers=[random_action]", "wrappers.random_action.epsilon=0.5"])
    ours = EnvMaker(config.env, config.wrappers)()
    epsilon = config.wrappers["random_action"]["epsilon"]
    print(f"from the configuration, epsilon {epsilon}: reward {constant_action(ours, 0):.2f}")
    ours.reset(seed=0)
    print(
        "  what was executed when 0 was asked for:",
        [int(ours.step(0)[4]["action_executed"]) for _ in range(8)],
    )

    for name, made in (("by hand", env), ("ours", ours)):
        returns = [constant_action(made, seed) for seed in range(1, 501)]
        print(f"  {name:8} 500 episodes: mean reward {np.mean(returns):.1f}")
    plain = gym.make("CartPole-v1")
    print(f"  no wrapper, 500 episodes: {np.mean([constant_action(plain, s) for s in range(1, 501)]):.1f}")


if __name__ == "__main__":
    main()
