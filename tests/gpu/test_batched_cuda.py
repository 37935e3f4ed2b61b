"""Batched tasks on a CUDA device: the host's numbers, no wait in a step, and one recorded graph."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from rlkit.accel import capture
from rlkit.config import EnvConfig
from rlkit.envs import batched
from rlkit.envs.batched.lanes import BatchedEnvs
from rlkit.envs.batched.tasks import TASKS
from rlkit.types import Decision

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="batched tasks on a device need CUDA"),
]


def build(env_id: str, n: int, device: str, **more: Any) -> BatchedEnvs:
    return batched.make(EnvConfig(id=env_id, max_episode_steps=30), {}, n, seed=3, device=device, **more)


def actions(envs: BatchedEnvs, steps: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [envs.action_spec.sample(envs.num_envs, generator) for _ in range(steps)]


@pytest.mark.parametrize("env_id", list(TASKS))
def test_a_device_gives_the_hosts_numbers_and_never_waits(env_id: str) -> None:
    host, device = build(env_id, 64, "cpu"), build(env_id, 64, "cuda")
    given = actions(host, 20)
    on_device = [a.cuda() for a in given]
    torch.testing.assert_close(host.reset().obs["obs"], device.reset().obs["obs"].cpu(), atol=1e-5, rtol=1e-4)
    device.send(Decision(on_device[0]))  # the first call loads kernels
    device.recv()
    device.reset()
    torch.cuda.set_sync_debug_mode("error")
    try:
        steps = []
        for action in on_device:
            device.send(Decision(action))
            steps.append(device.recv())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for t, action in enumerate(given[:10]):
        host.send(Decision(action))
        ours = host.recv()
        torch.testing.assert_close(ours.next_obs["obs"], steps[t].next_obs["obs"].cpu(), atol=1e-2, rtol=1e-2)
    assert all(s.ended_lanes is None and s.count == 64 for s in steps)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_a_recorded_graph_is_the_eager_step(env_id: str) -> None:
    graph = build(
        env_id, 256, "cuda", capture=partial(capture, mode="cudagraph", device=torch.device("cuda"))
    )
    eager = build(env_id, 256, "cuda")
    given = [a.cuda() for a in actions(eager, 100)]
    for envs in (graph, eager):
        envs.reset()
    for action in given:
        for envs in (graph, eager):
            envs.send(Decision(action))
        a, b = graph.recv(), eager.recv()
        assert torch.equal(a.obs["obs"], b.obs["obs"])
        assert torch.equal(a.reward, b.reward)
    ours, theirs = graph.drain(), eager.drain()
    assert [(e.id, e.reward, e.length, e.seed) for e in ours] == [
        (e.id, e.reward, e.length, e.seed) for e in theirs
    ]
    assert len(ours) > 256
