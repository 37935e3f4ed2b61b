"""Spaces: what may be done and what may be seen. Each can sample(), and says whether it contains(x)."""

import numpy as np
from gymnasium.spaces import Box, Discrete, Space, Tuple

PEDAL = Box(low=0.0, high=1.0, shape=(1,), dtype=np.float32)  # an accelerator
SCREEN = Box(low=0, high=255, shape=(210, 160, 3), dtype=np.uint8)  # an Atari screen: height, width, RGB
DIRECTION = Discrete(4)  # left, right, up or down
CAR = Tuple(
    (
        Box(low=-1.0, high=1.0, shape=(3,), dtype=np.float32),  # steering wheel, brake, accelerator
        Discrete(3),  # turn signal: off, right, left
        Discrete(2),  # horn: off, on
    )
)


def contains(space: Space, x: object) -> str:
    return f"contains {x!r}: {space.contains(x)}"


def main() -> None:
    for seed, space in enumerate((PEDAL, SCREEN, DIRECTION, CAR)):
        space.seed(seed)  # each space draws from a generator of its own

    print("pedal    ", PEDAL)
    print("  sample ", PEDAL.sample())
    print("        ", contains(PEDAL, np.array([0.5], dtype=np.float32)))
    print("        ", contains(PEDAL, np.array([1.5], dtype=np.float32)))

    print("screen   ", SCREEN)
    picture = SCREEN.sample()
    print(f"   one observation is {picture.nbytes:,} bytes; contained: {SCREEN.contains(picture)}")

    print("direction", DIRECTION)
    print("  samples", [int(DIRECTION.sample()) for _ in range(10)])
    print("        ", contains(DIRECTION, 3))
    print("        ", contains(DIRECTION, 4))

    print("car      ", CAR)
    wheel, signal, horn = CAR.sample()
    print(f"   sample  wheel, brake, accelerator {np.round(wheel, 2)}, signal {signal}, horn {horn}")
    print(f"   1,000 samples, all contained: {all(CAR.contains(CAR.sample()) for _ in range(1000))}")
    print(f"   a signal of 3 is contained: {CAR.contains((wheel, 3, horn))}")


if __name__ == "__main__":
    main()
