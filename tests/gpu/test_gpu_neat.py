"""NEAT on a CUDA device: the host's genomes and networks, and no wait in a step."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rlkit.agents.neat import NEAT, NEATConfig
from rlkit.config import AccelConfig, EnvConfig, NetConfig
from rlkit.envs.engines import make_envs
from rlkit.neat.draws import Draws
from rlkit.neat.lanes import LaneNetworks
from rlkit.neat.network import build
from rlkit.neat.reproduction import Evolution
from rlkit.neat.settings import Settings
from rlkit.types import AgentSetup, Envs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="a population on a device needs CUDA"),
]
WILD = Settings(node_add_prob=0.3, conn_add_prob=0.5, node_delete_prob=0.05, conn_delete_prob=0.05,
                compatibility_threshold=2.0)  # fmt: skip
RECURRENT = replace(WILD, feed_forward=False, activations=["tanh", "sigmoid"], activation_mutate_rate=0.2)
EXACT = ("node", "activation", "aggregation", "innovation", "source", "target", "enabled")


def evolution(settings: Settings, device: str, generations: int = 0) -> Evolution:
    one = Evolution(200, 4, 2, settings, Draws(torch.Generator().manual_seed(0), device))
    random = torch.Generator().manual_seed(1)
    for _ in range(generations):
        one.advance(torch.rand(200, generator=random))
    return one


@pytest.mark.parametrize("settings", [WILD, RECURRENT], ids=["feed-forward", "recurrent"])
def test_equal_fitness_gives_the_hosts_generation(settings: Settings) -> None:
    for generations in (0, 5, 15):
        host, device = evolution(settings, "cpu", generations), evolution(settings, "cuda")
        device.load_state_dict(host.state_dict())
        fitness = torch.rand(200, generator=torch.Generator().manual_seed(2))
        host.advance(fitness)
        device.advance(fitness.cuda())
        ours, theirs = host.genomes.state_dict(), device.genomes.state_dict()
        for name in EXACT:
            assert torch.equal(ours[name], theirs[name]), name
        for name in ("weight", "bias", "response"):
            torch.testing.assert_close(ours[name], theirs[name], atol=1e-6, rtol=0)
        assert host.ids.tolist() == device.ids.tolist()
        assert device.genomes.device.type == "cuda"


@pytest.mark.parametrize("settings", [WILD, RECURRENT], ids=["feed-forward", "recurrent"])
def test_a_device_computes_the_hosts_networks(settings: Settings) -> None:
    host = evolution(settings, "cpu", 15)
    device = evolution(settings, "cuda")
    device.load_state_dict(host.state_dict())
    x = torch.randn(200, 4, generator=torch.Generator().manual_seed(3))
    outputs = []
    for one in (host, device):
        lanes = LaneNetworks(build(one.genomes, 4, 2, settings), 200)
        where = one.genomes.device
        lanes.assign(torch.arange(200, device=where))
        memory = lanes.zero_memory()
        for _ in range(3):
            answer, memory = lanes(x.to(where), memory)
        outputs.append(answer.cpu())
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-5, rtol=1e-5)


def agent(settings: Settings, lanes: int) -> tuple[NEAT, Envs]:
    envs = make_envs(EnvConfig(id="CartPole-v1", max_episode_steps=60), {}, seed=1, num_envs=lanes,
                     engine="torch", device="cuda")  # fmt: skip
    setup = AgentSetup(envs.obs_spec, envs.action_spec, lanes, 10**9, torch.device("cuda"), 1, NetConfig(),
                       AccelConfig())  # fmt: skip
    return NEAT(NEATConfig(population=100, trials=2, evolution=settings), setup), envs


@pytest.mark.parametrize("lanes", [64, 250])
@pytest.mark.parametrize("settings", [WILD, RECURRENT], ids=["feed-forward", "recurrent"])
def test_no_step_waits(settings: Settings, lanes: int) -> None:
    """Fewer lanes than trials, and so many that most are parked."""
    one, envs = agent(settings, lanes)
    now = 0
    for finished in range(2):  # in the first round kernels are loaded
        obs = envs.reset(one.first_seeds()).obs
        torch.cuda.synchronize()
        for step_number in range(400):
            torch.cuda.set_sync_debug_mode("error" if finished and step_number < 200 else "default")
            try:
                decision = one.act(obs, now)
                envs.send(decision)
                step = envs.recv()
                one.observe(obs, decision, step)
            finally:
                torch.cuda.set_sync_debug_mode("default")
            obs, now = step.obs, now + step.count
            if one.trials.complete:
                break
        assert one.trials.finished == 200
        assert float(one.trials.fitness("min").min()) >= 1
        assert one.learn(now) is not None
    assert one.evolution.generation == 2
