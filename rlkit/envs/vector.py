"""The vector boundary: the ONLY reader of final observations and of Gymnasium's three autoreset modes.

Everything behind it sees one thing: a `TimeStep` whose `next_obs` is the true successor, whose `obs` is
what to decide on next, and whose `valid` says where anything happened at all.

Engines that can are driven in DISABLED mode: ended lanes are reset here, each episode with its own seed, so
an episode is (seed, actions) and can be replayed: on resume, for a film, or by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array

from rlkit.envs import guards, infos
from rlkit.envs.replaying import replay
from rlkit.seeding import episode_seed
from rlkit.spaces import ActionSpec, ObsSpec, Slab
from rlkit.trees import tree_equal, tree_select, tree_to
from rlkit.types import ALL, Decision, Episode, State, TimeStep, Tree

_PRUNE = 4_096  # vector steps of action history that may be dead before they are dropped


class VectorEnvs:
    """N lanes of a Gymnasium vector environment, as the `Envs` protocol of `rlkit.types`.

    Lane n plays episodes 0, 1, 2, … with the seeds episode_seed(seed, stream, n, episode), unless a
    `Decision` brings its own (−1 parks the lane; DISABLED mode only). `with_actions` names the lanes whose
    finished episodes carry their actions.
    """

    def __init__(
        self,
        venv: VectorEnv,
        *,
        seed: int,
        stream: str = "train",
        device: torch.device | str = "cpu",
        obs_spec: ObsSpec | None = None,
        with_actions: Iterable[int] = (),
    ) -> None:
        self.num_envs: int = venv.num_envs
        self.obs_spec = obs_spec or ObsSpec.of(venv.single_observation_space)
        self.action_spec = ActionSpec.of(venv.single_action_space)
        self.autoreset = AutoresetMode(venv.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
        self.resume_inexact: str | None = None  # what load_state_dict could not continue exactly
        self._venv, self._seed, self._stream = venv, seed, stream
        self._device = torch.device(device)
        self._host = self._device.type == "cpu"
        self._with_actions = frozenset(with_actions)
        self._yes = torch.ones(self.num_envs, dtype=torch.bool, device=self._device)
        self._no = torch.zeros(self.num_envs, dtype=torch.bool, device=self._device)
        self._rewards = Slab()
        self._floats = [leaf.name for leaf in self.obs_spec.leaves if leaf.dtype.is_floating_point]
        self._disabled = self.autoreset is AutoresetMode.DISABLED
        self._same_step = self.autoreset is AutoresetMode.SAME_STEP
        # An engine may reset much quicker without a seed; then only seeds that a decision brings are used.
        self._seeded: bool = getattr(venv, "seeds_episodes", True)
        # An engine whose resets take long does them while other lanes step, if no seeds want them at once.
        self._late: bool = self._disabled and getattr(venv, "resets_late", False)
        self._ours: bool = getattr(venv, "fresh_arrays", False)  # nobody writes into what it has returned
        self._asynchronous = hasattr(venv, "step_async")
        self._may_park = self._disabled and hasattr(venv, "parked")  # it need not step lanes that wait
        self._clear()

    def _clear(self) -> None:
        n = self.num_envs
        self._now = 0  # decisions so far over all lanes
        self._finished: list[Episode] = []
        self._episode = [0] * n  # the number of each lane's running episode
        self._seeds: list[int | None] = [None] * n  # of the running episodes
        self._idle = np.zeros(n, dtype=bool)  # parked (DISABLED) or about to be reset (NEXT_STEP)
        self._any_idle = False
        if self._may_park:
            self._venv.parked = None  # replaying steps all lanes
        self._returns = np.zeros(n, dtype=np.float64)
        self._owed: np.ndarray | None = None  # rewards that are not in the returns yet
        self._first_step = np.zeros(n, dtype=np.int64)
        self._history: list[np.ndarray] = []  # actions asked for [N, A], one entry a vector step
        self._dropped = 0  # vector steps that fell out of the history's front
        self._begin = np.zeros(n, dtype=np.int64)  # vector step at which the running episode began
        self.obs: Tree = {}
        self._next_seeds: list[int] | None = None

    # ------------------------------------------------------------------ the verbs

    def reset(self, seeds: Sequence[int] | None = None) -> TimeStep:
        """Start episode 0 in every lane (seed −1 parks it). Nothing has happened yet: no row is valid."""
        self._clear()
        chosen = [self._own_seed(lane) for lane in range(self.num_envs)] if seeds is None else list(seeds)
        obs, info = self._venv.reset(seed=[max(s, 0) for s in chosen])
        self._seeds = [s if s >= 0 and self._seeded else None for s in chosen]
        self._keep_replay_seeds(info)
        self._idle[:] = [s < 0 for s in chosen]
        self._any_idle = bool(self._idle.any())
        self._late = self._late and not self._any_idle
        self.obs = self._tensors(obs)
        action = torch.zeros(
            self.num_envs, self.action_spec.width, dtype=self.action_spec.dtype, device=self._device
        )
        zeros = torch.zeros(self.num_envs, device=self._device)
        return TimeStep(self.obs, action, zeros, self._no, self._no, self.obs, self._no, 0)

    def send(self, decision: Decision, lanes: slice = ALL) -> None:
        """Hand over the actions [N, A]; an asynchronous engine starts working on them."""
        action, near = decision.action, decision.action.is_cpu
        if not near:
            action = self.action_spec.clip(action)
        asked = self.action_spec.clip_rows(action.numpy()) if near else action.cpu().numpy()
        self._engine_action = self.action_spec.to_env(asked, clipped=True)
        if self._may_park:
            self._venv.parked = self._idle if self._any_idle else None
        if self._asynchronous:
            self._venv.step_async(self._engine_action)
        # What follows needs no answer: such an engine works meanwhile.
        self._settle()
        self._action = torch.from_numpy(asked) if near else action
        if near and not self._host:
            self._action = self._action.to(self._device)
        self._history.append(asked.copy())  # whoever asked may write into its buffer again
        self._next_seeds = None if decision.seeds is None else decision.seeds.tolist()
        self._late = self._late and self._next_seeds is None and not self._seeded
        self._facts = decision.facts or {}
        if self._any_idle:
            self._busy = ~self._idle
            self._valid = torch.from_numpy(self._busy).to(self._device)
            self._count = int(self._busy.sum())
        else:
            self._valid, self._count = self._yes, self.num_envs
        self.obs_spec.prepare()
        self._rewards.prepare()

    def recv(self) -> TimeStep:
        """The outcome of the actions sent last."""
        step = self._venv.step_wait() if self._asynchronous else self._venv.step(self._engine_action)
        raw_obs, reward, terminated, truncated, info = step
        guards.check_reward(reward, self._now)
        reached = self._tensors(raw_obs)  # what the engine returned: the successor, but for SAME_STEP
        if self._any_idle:
            busy = self._busy
            terminated, truncated, reward = terminated & busy, truncated & busy, np.where(busy, reward, 0.0)
        self._owed = reward
        self._now += self._count
        action, lost = self._action, None
        if info:
            action = infos.executed(self._told(info), action, self.action_spec)
            lost = infos.lives_lost(info) if self._next_seeds is None else None  # seeds: whole games count
            lost = None if lost is None else lost & ~self._idle
        fresh, rewards = self._rewards.take((self.num_envs,), torch.float32)
        fresh[:] = reward
        if not self._host:
            rewards = rewards.to(self._device)

        late = np.count_nonzero(truncated)
        if not (late or np.count_nonzero(terminated) or self._any_idle or lost is not None):
            self.obs = reached
            return TimeStep(reached, action, rewards, self._no, self._no, reached, self._valid, self._count)

        self._settle()
        ended = terminated | truncated
        ended_lanes = np.flatnonzero(ended).tolist()
        facts = {name: column.tolist() for name, column in self._facts.items()} if ended_lanes else {}
        for lane in ended_lanes:
            self._finish(lane, bool(terminated[lane]), bool(truncated[lane]), info, facts)
        if self._disabled and not self._late:
            obs, begun = self._reset_ended(reached, ended_lanes, step)
            next_obs = reached
        elif self._same_step:
            obs, next_obs, begun = reached, self._with_final_obs(reached, info, ended_lanes), ended_lanes
            for lane in ended_lanes:
                self._start(lane, None)
        else:  # NEXT_STEP: lanes that were idle have just been reset; those that ended come next
            obs = next_obs = reached
            begun = np.flatnonzero(self._idle).tolist()
            for lane in begun:
                self._start(lane, None)
            self._idle, self._any_idle = ended, bool(ended_lanes)
        self.obs = obs
        self._prune()
        if lost is not None:  # the agent is told that it ended; the game, its record and its seed go on
            terminated = terminated | (lost & ~ended)
            ended_lanes = np.flatnonzero(terminated | truncated).tolist()
        return TimeStep(
            obs,
            action,
            rewards,
            self._flags(terminated),
            self._flags(truncated) if late else self._no,
            next_obs,
            self._valid,
            self._count,
            tuple(np.flatnonzero(truncated & ~terminated).tolist()) if late else (),
            tuple(ended_lanes),
            tuple(begun),
        )

    def _settle(self) -> None:
        """Add up the returns. Not at once: a decision waits for what `recv` does, and for this nobody."""
        if self._owed is not None:
            self._returns += self._owed
            self._owed = None

    def drain(self) -> list[Episode]:
        """The episodes that finished since last asked."""
        if not self._finished:
            return []
        finished, self._finished = self._finished, []
        return finished

    def close(self) -> None:
        self._venv.close()

    # ------------------------------------------------------------------ one lane's episodes

    def _own_seed(self, lane: int) -> int:
        return episode_seed(self._seed, self._stream, lane, self._episode[lane])

    def _steps(self) -> int:
        """Vector steps so far."""
        return self._dropped + len(self._history)

    def _start(self, lane: int, seed: int | None) -> None:
        self._seeds[lane] = seed
        self._returns[lane] = 0.0
        self._first_step[lane] = self._now
        self._begin[lane] = self._steps()

    def _finish(self, lane: int, terminated: bool, truncated: bool, info: dict[str, Any],
                facts: dict[str, list[int]]) -> None:  # fmt: skip
        actions = None
        if lane in self._with_actions:
            begin = int(self._begin[lane]) - self._dropped
            actions = np.stack([row[lane] for row in self._history[begin:]])
        seen = float(self._returns[lane])
        raw = infos.raw_return(self._told(info), lane)
        self._finished.append(
            Episode(
                id=lane + self.num_envs * self._episode[lane],
                lane=lane,
                seed=self._seeds[lane],
                reward=seen if raw is None else raw,
                reward_train=seen,
                length=self._steps() - int(self._begin[lane]),
                terminated=terminated,
                truncated=truncated,
                first_step=int(self._first_step[lane]),
                last_step=self._now,
                actions=actions,
                facts={name: column[lane] for name, column in facts.items() if column[lane] >= 0},
            )
        )
        self._episode[lane] += 1

    def _reset_ended(
        self, reached: Tree, ended_lanes: list[int], step: tuple[Any, ...]
    ) -> tuple[Tree, list[int]]:
        """DISABLED mode: begin the next episode where one ended, and wherever a parked lane is called.

        Returns the observations to decide on, and the lanes whose episode is new.
        """
        restart = step[2] | step[3]  # a parked lane's engine may have ended too
        begun: list[int] = []
        seeds: list[int | None] = [None] * self.num_envs
        for lane in {*ended_lanes, *np.flatnonzero(self._idle).tolist()}:
            seed = self._own_seed(lane) if self._next_seeds is None else self._next_seeds[lane]
            if self._next_seeds is None and self._idle[lane]:
                seed = -1  # parked lanes stay so until a decision calls them
            if seed >= 0:
                restart[lane] = True
                begun.append(lane)
            seeds[lane] = max(seed, 0)
            self._idle[lane] = seed < 0
            self._start(lane, seed if seed >= 0 else None)
        self._any_idle = bool(self._idle.any())
        if not restart.any():
            return reached, begun
        given = seeds if self._seeded or self._next_seeds is not None else None
        obs, info = self._venv.reset(seed=given, options={"reset_mask": restart})
        if given is None:
            for lane in begun:
                self._seeds[lane] = None
        self._keep_replay_seeds(info)
        return self._tensors(obs), sorted(begun)

    def _keep_replay_seeds(self, info: dict[str, Any]) -> None:
        """An environment whose episodes depend on those before says which seed plays this one again."""
        for lane, seed in infos.replay_seeds(info):
            if self._seeds[lane] is not None:  # a parked lane has none
                self._seeds[lane] = seed

    def _with_final_obs(self, reached: Tree, info: dict[str, Any], ended_lanes: list[int]) -> Tree:
        """SAME_STEP mode: the successors of ended lanes travel in `info`."""
        if not ended_lanes:
            return reached
        space = self._venv.single_observation_space
        rows = [info["final_obs"][lane] for lane in ended_lanes]
        final = self._tensors(concatenate(space, rows, create_empty_array(space, n=len(rows))))
        index = torch.tensor(ended_lanes, device=self._device)
        return {name: leaf.index_copy(0, index, final[name]) for name, leaf in reached.items()}

    def _told(self, info: dict[str, Any]) -> list[dict[str, Any]]:
        """A step's infos; SAME_STEP engines keep those of ended lanes apart from the new episode's."""
        return [info, info["final_info"]] if self._same_step and "final_info" in info else [info]

    def _prune(self) -> None:
        if len(self._history) <= _PRUNE:
            return
        dead = int(self._begin.min()) - self._dropped
        if dead > _PRUNE:
            del self._history[:dead]
            self._dropped += dead

    # ------------------------------------------------------------------ guards and conversion

    def _flags(self, lanes: np.ndarray) -> torch.Tensor:
        flags = torch.from_numpy(lanes.copy())
        return flags if self._host else flags.to(self._device)

    def _tensors(self, raw_obs: Any) -> Tree:
        obs = self.obs_spec.to_tensors(raw_obs, ours=self._ours)
        single = isinstance(raw_obs, np.ndarray) and raw_obs.dtype.kind == "f"
        if self._floats and not (single and guards.surely_finite(raw_obs)):  # the common case, made cheap
            for name in self._floats:
                guards.check_obs(name, obs[name].numpy(), self._now)
        return obs if self._host else tree_to(obs, self._device)

    # ------------------------------------------------------------------ state as data

    def state_dict(self) -> State:
        """Each lane's episode seed and actions so far: enough to stand exactly here again."""
        self._settle()
        actions = []
        for lane in range(self.num_envs):
            rows = [row[lane] for row in self._history[int(self._begin[lane]) - self._dropped :]]
            width = self.action_spec.width
            stacked = np.stack(rows) if rows else np.zeros((0, width), dtype=np.int64)
            actions.append(torch.from_numpy(stacked.copy()))
        return {
            "now": self._now,
            "episode": list(self._episode),
            "seeds": list(self._seeds),
            "idle": self._idle.tolist(),
            "returns": self._returns.tolist(),
            "first_step": self._first_step.tolist(),
            "actions": actions,
            "obs": self._running_obs(),
        }

    def _running_obs(self) -> Tree:
        """The observations on the host; those of parked lanes are nobody's: no replay gives them again."""
        obs = {name: leaf.cpu() for name, leaf in self.obs.items()}
        if self._disabled and self._any_idle:
            parked = torch.from_numpy(self._idle.copy())
            obs = tree_select(parked, {name: torch.zeros_like(leaf) for name, leaf in obs.items()}, obs)
        return obs

    def load_state_dict(self, state: State) -> None:
        """Replay the running episodes, then compare with the saved observation and returns.

        `resume_inexact` says what differs, if anything does: an engine that resets by itself, or an
        environment whose episodes are not decided by seed and actions.
        """
        self._clear()
        n = self.num_envs
        if len(state["episode"]) != n:
            raise ValueError(f"the checkpoint has {len(state['episode'])} lanes, these environments {n}")
        self._now, self._episode = state["now"], list(state["episode"])
        running = [seed for seed, idle in zip(state["seeds"], state["idle"], strict=True) if not idle]
        if not self._disabled or self._late or None in running:
            self.resume_inexact = "environment (engines like this one start new episodes)"
            obs, _ = self._venv.reset(seed=[self._own_seed(lane) for lane in range(n)])
            for lane in range(n):
                self._start(lane, None)
            self.obs = self._tensors(obs)
            return
        played = replay(self._venv, self.action_spec, state)
        self._returns, self._history, self._begin = played.returns, played.history, played.begin
        self._seeds, self._idle = list(state["seeds"]), np.asarray(state["idle"], dtype=bool)
        self._any_idle = bool(self._idle.any())
        self._first_step = np.asarray(state["first_step"], dtype=np.int64)
        self.obs = self._tensors(played.obs)
        saved = {name: leaf.to(self._device) for name, leaf in state["obs"].items()}
        busy = ~np.asarray(state["idle"])
        index = torch.from_numpy(np.flatnonzero(busy))
        if not tree_equal(
            {k: v[index] for k, v in self.obs.items()}, {k: v[index] for k, v in saved.items()}
        ) or not np.array_equal(self._returns[busy], np.asarray(state["returns"])[busy]):
            self.resume_inexact = "environment (the replayed episode differs from the interrupted one)"
