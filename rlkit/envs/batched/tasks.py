"""The five tasks of classic control as pure functions of tensors.

A state is [k, N] float32, one row per variable in Gymnasium's order, so that every row is contiguous. The
equations, constants and default arguments are those of `gymnasium.envs.classic_control` (1.4), in float32
where Gymnasium takes float64. Constants are 0-d tensors, because a Python number costs an operation twice
its time; products and sums are rounded one by one, so that a lane's numbers do not depend on its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

Moved = tuple[Tensor, Tensor, Tensor]  # next state [k, N], reward [N] float32, terminated [N] bool


class Task:
    """N lanes of one task. `arguments` are those of Gymnasium's constructor, with its defaults."""

    id: str
    rows: int  # k
    low: tuple[float, ...]  # of the first states: uniform in [low, high), row by row; the rest is 0
    high: tuple[float, ...]
    arguments: Mapping[str, Any] = MappingProxyType({})
    dtype = torch.float32  # a test takes float64, to tell a wrong equation from rounding

    def __init__(self, lanes: int, device: torch.device, **arguments: Any) -> None:
        self.lanes, self.device = lanes, device
        self._no = torch.zeros(lanes, dtype=torch.bool, device=device)
        low, high = self._numbers(self.low), self._numbers(self.high)
        self._low = low[:, None]
        self._span = (high - low)[:, None]
        self.build(**{**self.arguments, **arguments})

    def build(self, **arguments: Any) -> None:
        """Prepare constants."""
        raise NotImplementedError

    def move(self, state: Tensor, action: Tensor) -> Moved:
        """One step of all lanes. action [N]: int64, or float32 in the environment's units."""
        raise NotImplementedError

    def move_on_host(self, state: Tensor, action: Tensor) -> Moved:
        """`move` of tensors on the host, bit by bit; a task may have a way with less calls."""
        return self.move(state, action)

    def observe(self, state: Tensor) -> Tensor:
        """[k, N] → [N, d], in fresh memory."""
        return state.t().contiguous()

    @property
    def draws(self) -> int:
        """Uniform numbers that a first state takes."""
        return len(self.low)

    def initial(self, uniform: Tensor) -> Tensor:
        """Uniform numbers [draws, n] in [0, 1) → n first states [k, n]."""
        drawn = self._low + self._span * uniform
        if self.rows == self.draws:
            return drawn
        return torch.cat((drawn, drawn.new_zeros(self.rows - self.draws, drawn.shape[1])))

    def pose(self, env: Any, state: Tensor, action: Any) -> None:
        """Put one lane's state [k] (and what was done last, or None) into Gymnasium's own environment."""
        env.state = state.cpu().numpy().astype(np.float64)

    def _number(self, value: float) -> Tensor:
        return torch.tensor(value, dtype=self.dtype, device=self.device)

    def _numbers(self, values: Any) -> Tensor:
        return torch.tensor(values, dtype=self.dtype, device=self.device)


class CartPole(Task):
    """State: x, ẋ, θ, θ̇; action 0 pushes left, 1 right; explicit Euler steps of 0.02 s."""

    id, rows = "CartPole-v1", 4
    low, high = (-0.05,) * 4, (0.05,) * 4
    arguments = MappingProxyType({"sutton_barto_reward": False})

    def build(self, sutton_barto_reward: bool) -> None:  # type: ignore[override]
        total, pole, half = 1.1, 0.1, 0.5  # kg, kg, m
        self._push = self._numbers([-10.0 / total, 10.0 / total])
        self._swing = self._number(pole * half / total)
        self._gravity, self._tau = self._number(9.8), self._number(0.02)
        self._den_square, self._den = self._number(-half * pole / total), self._number(half * 4.0 / 3.0)
        self._far, self._tilted = self._number(2.4), self._number(12 * 2 * math.pi / 360)
        self._sutton_barto = sutton_barto_reward
        self._reward = torch.full((self.lanes,), 1.0, device=self.device)
        if self.device.type == "cpu":
            self._arrays = [x.numpy() for x in (
                self._push, self._swing, self._gravity, self._tau, self._den_square, self._den, self._far,
                self._tilted,
            )]  # fmt: skip

    def move(self, state: Tensor, action: Tensor) -> Moved:
        _, x_dot, theta, theta_dot = state.unbind(0)
        sin, cos = theta.sin(), theta.cos()
        push = (theta_dot * theta_dot).mul_(sin).mul_(self._swing).add_(self._push.index_select(0, action))
        inertia = (cos * cos).mul_(self._den_square).add_(self._den)
        theta_acc = sin.mul_(self._gravity).sub_(cos * push).div_(inertia)
        x_acc = push.sub_(cos.mul_(theta_acc).mul_(self._swing))
        state = torch.stack((x_dot, x_acc, theta_dot, theta_acc)).mul_(self._tau).add_(state)
        x, _, theta, _ = state.unbind(0)
        terminated = (x.abs() > self._far).logical_or_(theta.abs() > self._tilted)
        return state, -terminated.float() if self._sutton_barto else self._reward, terminated

    def move_on_host(self, state: Tensor, action: Tensor) -> Moved:
        """The same operations in the same order by NumPy, whose calls cost a third: sine and cosine alike."""
        pushes, swing, gravity, tau, den_square, den, far, tilted = self._arrays
        before = state.numpy()
        sin, cos = state[2].sin().numpy(), state[2].cos().numpy()
        push = before[3] * before[3]
        push *= sin
        push *= swing
        push += pushes.take(action.numpy())
        inertia = cos * cos
        inertia *= den_square
        inertia += den
        sin *= gravity
        sin -= cos * push
        sin /= inertia  # now the angular acceleration
        cos *= sin
        cos *= swing
        push -= cos  # now the acceleration
        after = np.stack((before[1], push, before[3], sin))
        after *= tau
        after += before
        fallen = np.abs(after[0]) > far
        fallen |= np.abs(after[2]) > tilted
        terminated = torch.from_numpy(fallen)
        reward = -terminated.float() if self._sutton_barto else self._reward
        return torch.from_numpy(after), reward, terminated


class MountainCar(Task):
    """State: position, velocity; action 0 pushes left, 1 does nothing, 2 pushes right."""

    id, rows = "MountainCar-v0", 2
    low, high = (-0.6,), (-0.4,)
    arguments = MappingProxyType({"goal_velocity": 0})
    goal, gravity = 0.5, 0.0025

    def build(self, goal_velocity: float) -> None:  # type: ignore[override]
        self._push = self._numbers([-0.001, 0.0, 0.001])
        self._three, self._gravity = self._number(3.0), self._number(self.gravity)
        self._left, self._right = self._number(-1.2), self._number(0.6)
        self._fast, self._back = self._number(0.07), self._number(-0.07)
        self._goal, self._goal_velocity = self._number(self.goal), self._number(goal_velocity)
        self._zero = self._number(0.0)
        self._reward = torch.full((self.lanes,), -1.0, device=self.device)

    def move(self, state: Tensor, action: Tensor) -> Moved:
        state, terminated = self._rolled(state, self._push.index_select(0, action))
        return state, self._reward, terminated

    def _rolled(self, state: Tensor, push: Tensor) -> tuple[Tensor, Tensor]:
        position, velocity = state.unbind(0)
        slope = (position * self._three).cos_().mul_(self._gravity)
        velocity = torch.clamp_(push.sub_(slope).add_(velocity), self._back, self._fast)
        position = torch.clamp_(position + velocity, self._left, self._right)
        stopped = (position <= self._left).logical_and_(velocity < self._zero)
        velocity = torch.where(stopped, self._zero, velocity)
        terminated = (position >= self._goal).logical_and_(velocity >= self._goal_velocity)
        return torch.stack((position, velocity)), terminated


class MountainCarContinuous(MountainCar):
    """As MountainCar, with a force in [−1, 1] that costs its square."""

    id = "MountainCarContinuous-v0"
    goal = 0.45

    def build(self, goal_velocity: float) -> None:  # type: ignore[override]
        super().build(goal_velocity)
        self._power, self._price, self._prize = (self._number(x) for x in (0.0015, -0.1, 100.0))
        self._one, self._minus_one = self._number(1.0), self._number(-1.0)

    def move(self, state: Tensor, action: Tensor) -> Moved:
        push = torch.clamp(action, self._minus_one, self._one).mul_(self._power)
        state, terminated = self._rolled(state, push)
        reward = (action * action).mul_(self._price).add_(terminated * self._prize)
        return state, reward, terminated


class Pendulum(Task):
    """State: θ (not wrapped), θ̇; the action is a torque in [−2, 2]; never terminates."""

    id, rows = "Pendulum-v1", 2
    low, high = (-math.pi, -1.0), (math.pi, 1.0)
    arguments = MappingProxyType({"g": 10.0})

    def build(self, g: float) -> None:  # type: ignore[override]
        self._turn, self._per_turn = self._number(2 * math.pi), self._number(1 / (2 * math.pi))
        self._gravity, self._dt = self._number(3 * g / 2), self._number(0.05)
        self._three, self._tenth, self._cost = self._number(3.0), self._number(0.1), self._number(0.001)
        self._limits = [self._number(x) for x in (-2.0, 2.0, -8.0, 8.0)]

    def move(self, state: Tensor, action: Tensor) -> Moved:
        theta, speed = state.unbind(0)
        torque = torch.clamp(action, *self._limits[:2])
        angle = theta - (theta * self._per_turn).round_().mul_(self._turn)  # in [−π, π]
        cost = angle.mul_(angle).add_((speed * speed).mul_(self._tenth))
        cost.add_((torque * torque).mul_(self._cost))
        kick = theta.sin().mul_(self._gravity).add_(torque.mul_(self._three)).mul_(self._dt)
        speed = torch.clamp_(kick.add_(speed), *self._limits[2:])
        return torch.stack((theta + speed * self._dt, speed)), cost.neg_(), self._no

    def observe(self, state: Tensor) -> Tensor:
        theta, speed = state.unbind(0)
        return torch.stack((theta.cos(), theta.sin(), speed)).t().contiguous()

    def pose(self, env: Any, state: Tensor, action: Any) -> None:
        super().pose(env, state, action)
        env.last_u = None if action is None else float(np.clip(np.ravel(action)[0], -2.0, 2.0))


class Acrobot(Task):
    """State: θ₁, θ₂ in [−π, π], their speeds; a torque of −1, 0 or 1 on the joint; Runge–Kutta, 0.2 s.

    All masses, lengths and moments of inertia are 1, the centres of mass half-way: what the coefficients
    below come from. These are the equations of Sutton & Barto's book, Gymnasium's default.
    """

    id, rows = "Acrobot-v1", 4
    low, high = (-0.1,) * 4, (0.1,) * 4

    def build(self) -> None:  # type: ignore[override]
        column = [[9.8 * 1.5], [0.5], [9.8 * 0.5]]  # of sin θ₁, sin θ₂, sin(θ₁ + θ₂)
        self._weights = self._numbers(column)
        self._torque = self._numbers([-1.0, 0.0, 1.0])
        self._d1, self._d2, self._half = self._number(3.5), self._number(1.25), self._number(0.5)
        self._dt, self._dt2, self._dt6 = self._number(0.2), self._number(0.1), self._number(0.2 / 6)
        self._turn, self._per_turn = self._number(2 * math.pi), self._number(1 / (2 * math.pi))
        limits = self._numbers([[4 * math.pi], [9 * math.pi]])
        self._fast, self._back, self._one = limits, -limits, self._number(1.0)

    def _slope(self, state: Tensor, torque: Tensor) -> Tensor:
        theta1, theta2, speed1, speed2 = state.unbind(0)
        sines = torch.stack((theta1, theta2, theta1 + theta2)).sin_().mul_(self._weights)
        upper, sin2, phi2 = sines.unbind(0)
        cos2 = theta2.cos()
        d1, d2 = cos2 + self._d1, (cos2 * self._half).add_(self._d2)
        pull = torch.add(speed2, speed1, alpha=2).mul_(speed2).mul_(sin2)
        phi1 = (upper + phi2).sub_(pull)
        ratio = d2 / d1
        above = (ratio * phi1).add_(torque).sub_((speed1 * speed1).mul_(sin2)).sub_(phi2)
        acc2 = above.div_(self._d2 - ratio.mul_(d2))
        acc1 = d2.mul_(acc2).add_(phi1).div_(d1).neg_()
        return torch.stack((speed1, speed2, acc1, acc2))

    def move(self, state: Tensor, action: Tensor) -> Moved:
        torque = self._torque.index_select(0, action)
        k1 = self._slope(state, torque)
        k2 = self._slope((k1 * self._dt2).add_(state), torque)
        k3 = self._slope((k2 * self._dt2).add_(state), torque)
        k4 = self._slope((k3 * self._dt).add_(state), torque)
        state = k1.add_(k2.add_(k3), alpha=2).add_(k4).mul_(self._dt6).add_(state)
        angles, speeds = state[:2], state[2:]
        angles.sub_((angles * self._per_turn).round_().mul_(self._turn))
        torch.clamp_(speeds, self._back, self._fast)
        height = angles[0].cos().add_((angles[0] + angles[1]).cos_()).neg_()
        terminated = height > self._one
        return state, terminated.float().sub_(self._one), terminated

    def observe(self, state: Tensor) -> Tensor:
        cos, sin = state[:2].cos(), state[:2].sin()
        return torch.stack((cos[0], sin[0], cos[1], sin[1], state[2], state[3])).t().contiguous()


TASKS: dict[str, Callable[..., Task]] = {
    task.id: task for task in (CartPole, MountainCar, MountainCarContinuous, Pendulum, Acrobot)
}


def arguments_of(env_id: str) -> Mapping[str, Any]:
    """The arguments that a task takes, with their defaults."""
    found: Mapping[str, Any] = TASKS[env_id].arguments  # type: ignore[attr-defined]
    return found
