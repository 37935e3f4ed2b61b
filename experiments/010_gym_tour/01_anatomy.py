"""The anatomy of the agent: an environment and an agent written from nothing, and the loop between them.

No library yet. Everything that follows has these two parts and this loop.
"""

import random


class Environment:
    """Ten steps long. It observes nothing, allows two actions, and pays at random."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng  # a generator of its own, so that a seed decides the whole episode
        self.steps_left = 10

    def get_observation(self) -> list[float]:
        return [0.0, 0.0, 0.0]

    def get_actions(self) -> list[int]:
        return [0, 1]

    def is_done(self) -> bool:
        return self.steps_left == 0

    def action(self, action: int) -> float:
        """Take one step and return its reward. An episode that is over cannot go on."""
        if self.is_done():
            raise RuntimeError("the game is over")
        self.steps_left -= 1
        return self.rng.random()


class Agent:
    """Looks at the observation, ignores it, and acts at random."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.total_reward = 0.0

    def step(self, env: Environment) -> None:
        env.get_observation()
        self.total_reward += env.action(self.rng.choice(env.get_actions()))


def episode(seed: int) -> float:
    rng = random.Random(seed)
    env, agent = Environment(rng), Agent(rng)
    while not env.is_done():
        agent.step(env)
    return agent.total_reward


def main() -> None:
    for seed in range(3):
        print(f"seed {seed}: total reward {episode(seed):.4f}")
    totals = [episode(seed) for seed in range(1000)]
    print(f"mean of 1,000 episodes: {sum(totals) / 1000:.2f} (ten rewards, 0.5 each on average)")
    env = Environment(random.Random(0))
    for _ in range(10):
        env.action(0)
    try:
        env.action(0)
    except RuntimeError as error:
        print(f"an eleventh step: {error}")


if __name__ == "__main__":
    main()
