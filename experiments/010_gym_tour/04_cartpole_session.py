"""A session with CartPole: reset, the two spaces, one step, and samples."""

import gymnasium as gym
import numpy as np


def main() -> None:
    np.set_printoptions(precision=4, suppress=False)
    env = gym.make("CartPole-v1")
    obs, info = env.reset(seed=0)
    print("reset()            ", obs, info)
    print("  cart position, cart velocity, pole angle, pole angular velocity")
    print("action_space       ", env.action_space, "  0 pushes the cart to the left, 1 to the right")
    print("observation_space  ", env.observation_space)

    obs, reward, terminated, truncated, info = env.step(0)
    print("step(0)            ", obs, reward, terminated, truncated, info)
    print(f"  pushed to the left: the cart moves at {obs[1]:+.3f}, the pole turns at {obs[3]:+.3f}")

    env.action_space.seed(0)
    env.observation_space.seed(0)
    print("actions sampled    ", [int(env.action_space.sample()) for _ in range(10)])
    print("observation sampled", env.observation_space.sample())
    print("  velocities have no bounds in the space, so a sample of it is nothing that you would ever see")
    env.close()


if __name__ == "__main__":
    main()
