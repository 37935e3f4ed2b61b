"""Every Gymnasium space to tensors and back."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces as S
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

from rlkit.errors import UserError
from rlkit.spaces import ActionSpec, ObsSpec, Slab
from rlkit.trees import tree_equal, tree_index, tree_select, tree_to

f32 = np.float32
ACTIONS: dict[str, S.Space[Any]] = {
    "discrete": S.Discrete(4),
    "discrete_start": S.Discrete(3, start=-5),
    "multidiscrete": S.MultiDiscrete([2, 5, 3]),
    "multidiscrete_2d_start": S.MultiDiscrete(np.array([[2, 3], [4, 5]]), start=np.array([[1, 0], [-2, 7]])),
    "multibinary": S.MultiBinary(5),
    "multibinary_2d": S.MultiBinary((2, 3)),
    "box": S.Box(-2.0, 3.0, (3,), f32),
    "box_per_entry": S.Box(np.array([-1, 0, 5], f32), np.array([1, 10, 5], f32)),
    "box_half": S.Box(np.array([-1, -np.inf, -np.inf, 0], f32), np.array([np.inf, 2, np.inf, 4], f32)),
    "box_2d_f64": S.Box(-1.5, 1.5, (2, 2), np.float64),
    "box_scalar": S.Box(-1.0, 1.0, (), f32),
    "box_int": S.Box(-3, 12, (2,), np.int32),
    "box_uint8": S.Box(0, 255, (2,), np.uint8),
    "tuple": S.Tuple((S.Discrete(3, start=1), S.Box(-1, 4, (2,), f32))),
    "nested": S.Dict(
        {
            "move": S.Dict({"walk": S.Discrete(5), "arm": S.Box(0, 1, (2, 2), f32)}),
            "bits": S.MultiBinary(3),
            "pair": S.Tuple((S.MultiDiscrete([3, 4]), S.Discrete(2))),
        }
    ),
    "integers_nested": S.Tuple((S.Discrete(3), S.Dict({"b": S.MultiBinary(2), "a": S.Discrete(2, start=9)}))),
}
each_action = pytest.mark.parametrize("space", ACTIONS.values(), ids=ACTIONS.keys())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batched(space: S.Space[Any], samples: list[Any]) -> Any:
    return concatenate(space, samples, create_empty_array(space, len(samples)))


def assert_equal(a: Any, b: Any) -> None:
    """Equal values in the same nested form."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for name in a:
            assert_equal(a[name], b[name])
    elif isinstance(a, tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_equal(one, other)
    else:
        np.testing.assert_allclose(np.asarray(a, np.float64), np.asarray(b, np.float64), rtol=1e-5, atol=1e-5)


@each_action
@pytest.mark.parametrize("n", [1, 7])
def test_random_actions_are_accepted_by_vector_and_single_environments(space: S.Space[Any], n: int) -> None:
    spec = ActionSpec.of(space)
    action = spec.sample(n, seeded())
    assert action.shape == (n, spec.width)
    assert action.dtype == spec.dtype
    assert torch.equal(spec.clip(action), action)
    batch = spec.to_env(action)
    assert batch_space(space, n).contains(batch)
    singles = list(iterate(batch_space(space, n), batch))
    assert len(singles) == n
    for row, single in zip(action, singles, strict=True):
        assert space.contains(spec.to_env_single(row))
        assert_equal(single, spec.to_env_single(row))


@each_action
def test_wild_actions_are_clipped_into_the_space_and_come_back(space: S.Space[Any]) -> None:
    spec = ActionSpec.of(space)
    action = spec.sample(200, seeded())
    for leaf in spec.leaves:
        if leaf.kind == "box":
            action[:, leaf.columns] = 3 * torch.randn(200, leaf.width, generator=seeded(1))
    for row in action:
        assert space.contains(spec.to_env_single(row))
    clipped = spec.clip(action)
    torch.testing.assert_close(spec.from_env(spec.to_env(action)), clipped, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        spec.from_env(spec.to_env_single(action[3])), clipped[3:4], rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(spec.clip(clipped), clipped)


@each_action
def test_gymnasiums_own_samples_survive_the_way_to_the_policy_and_back(space: S.Space[Any]) -> None:
    spec = ActionSpec.of(space)
    space.seed(3)
    samples = [space.sample() for _ in range(50)]
    for sample in samples:
        assert_equal(spec.to_env_single(spec.from_env(sample)[0]), sample)
    batch = batched(space, samples)
    rows = spec.from_env(batch)
    assert rows.shape == (50, spec.width)
    assert_equal(spec.to_env(rows), batch)


def test_units_of_box_entries() -> None:
    spec = ActionSpec.of(ACTIONS["box_half"])
    wild = torch.tensor([[-9.0, 9.0, 77.0, 0.0], [5.0, -5.0, -77.0, 3.0], [0.5, 0.5, 0.5, -3.0]])
    expected = [[-1, 2, 77, 2], [5, -5, -77, 4], [0.5, 0.5, 0.5, 0]]
    np.testing.assert_allclose(spec.to_env(wild), expected)
    np.testing.assert_allclose(spec.clip(wild)[:, 3], [0, 1, -1])
    ends = ActionSpec.of(S.Box(-2.0, 3.0, (1,), f32)).to_env(torch.tensor([[-1.0], [0.0], [1.0]]))
    np.testing.assert_array_equal(ends, np.array([[-2.0], [0.5], [3.0]], f32))


def test_integer_boxes_are_rounded_and_say_so() -> None:
    spec = ActionSpec.of(S.Box(0, 4, (1,), np.int32))
    action = torch.tensor([[-0.6], [0.2], [0.9]])  # 0.8, 2.4, 3.8 in the environment's units
    np.testing.assert_array_equal(spec.to_env(action), np.array([[1], [2], [4]], np.int32))
    np.testing.assert_allclose(spec.clip(action), [[-0.5], [0.0], [1.0]])
    unbounded = ActionSpec.of(S.Box(-np.inf, np.inf, (1,), np.int32))
    assert unbounded.space.contains(unbounded.to_env_single(torch.tensor([3e9])))


def test_discrete_counts_from_zero_inside_and_from_start_outside() -> None:
    spec = ActionSpec.of(S.Discrete(3, start=-5))
    np.testing.assert_array_equal(spec.to_env(torch.tensor([[0], [2]])), [-5, -3])
    assert spec.from_env(np.array([-5, -3])).tolist() == [[0], [2]]
    assert spec.to_env_single(torch.tensor([1])) == -4


def test_to_env_gives_fresh_memory() -> None:
    for name in ("discrete", "multibinary", "box"):
        spec = ActionSpec.of(ACTIONS[name])
        action = spec.sample(4, seeded())
        sent = spec.to_env(action)
        before = np.array(sent)
        action.add_(1)
        np.testing.assert_array_equal(sent, before)


def test_random_actions_are_uniform_reproducible_and_follow_the_bounds() -> None:
    n = 20_000
    discrete = ActionSpec.of(S.Discrete(4)).sample(n, seeded())
    counts = torch.bincount(discrete[:, 0], minlength=4).double()
    assert float(((counts - n / 4) ** 2 / (n / 4)).sum()) < 16.3  # χ² of 3 degrees, p = 0.001
    assert torch.equal(discrete, ActionSpec.of(S.Discrete(4)).sample(n, seeded()))
    assert not torch.equal(discrete, ActionSpec.of(S.Discrete(4)).sample(n, seeded(1)))
    half = ActionSpec.of(ACTIONS["box_half"]).sample(n, seeded())
    assert abs(float((half[:, 0] + 1).mean()) - 1) < 0.05  # an exponential above −1
    assert abs(float((2 - half[:, 1]).mean()) - 1) < 0.05  # and one below 2
    assert abs(float(half[:, 2].std()) - 1) < 0.05  # standard normal
    assert abs(float(half[:, 3].mean())) < 0.03  # uniform over [−1, 1]
    assert abs(float(half[:, 3].var()) - 1 / 3) < 0.02
    whole = ActionSpec.of(S.Box(0, 2, (1,), np.int32))
    values = whole.to_env(whole.sample(n, seeded()))[:, 0]
    counts = torch.bincount(torch.as_tensor(values), minlength=3).double()
    assert float(((counts - n / 3) ** 2 / (n / 3)).sum()) < 13.9  # 2 degrees


def test_action_spec_describes_itself() -> None:
    single = ActionSpec.of(S.Discrete(2))
    assert (single.is_single_discrete, single.n, single.width, single.dtype) == (True, 2, 1, torch.int64)
    assert single.describe() == "Discrete(2)"
    hybrid = ActionSpec.of(ACTIONS["tuple"])
    assert (hybrid.is_single_discrete, hybrid.width, hybrid.dtype) == (False, 3, torch.float32)
    assert hybrid.describe() == "Tuple(Discrete(3), Box(2))"
    with pytest.raises(UserError, match="no single n"):
        _ = hybrid.n
    names = [leaf.name for leaf in ActionSpec.of(ACTIONS["nested"]).leaves]
    assert names == ["bits", "move/arm", "move/walk", "pair/0", "pair/1"]


OBSERVATIONS: dict[str, tuple[S.Space[Any], dict[str, tuple[tuple[int, ...], torch.dtype]]]] = {
    "box32": (S.Box(-1, 1, (4,), f32), {"obs": ((4,), torch.float32)}),
    "box64": (S.Box(-1, 1, (2, 3), np.float64), {"obs": ((2, 3), torch.float32)}),
    "box16": (S.Box(-1, 1, (2,), np.float16), {"obs": ((2,), torch.float32)}),
    "image": (S.Box(0, 255, (36, 40, 3), np.uint8), {"obs": ((36, 40, 3), torch.uint8)}),
    "int": (S.Box(-9, 9, (2,), np.int64), {"obs": ((2,), torch.int64)}),
    "int16": (S.Box(-9, 9, (2,), np.int16), {"obs": ((2,), torch.int16)}),
    "uint16": (S.Box(0, 65535, (2,), np.uint16), {"obs": ((2,), torch.int32)}),
    "uint32": (S.Box(0, 9, (2,), np.uint32), {"obs": ((2,), torch.int64)}),
    "bool": (S.Box(0, 1, (3,), np.bool_), {"obs": ((3,), torch.bool)}),
    "discrete": (S.Discrete(5), {"obs": ((), torch.int64)}),
    "multidiscrete": (S.MultiDiscrete([2, 3]), {"obs": ((2,), torch.int64)}),
    "multibinary": (S.MultiBinary(4), {"obs": ((4,), torch.uint8)}),
    "nested": (
        S.Dict({"pos": S.Tuple((S.Box(-1, 1, (2,), f32), S.Discrete(3))), "cam": S.Box(0, 1, (2, 2), f32)}),
        {
            "cam": ((2, 2), torch.float32),
            "pos/0": ((2,), torch.float32),
            "pos/1": ((), torch.int64),
        },
    ),
}
each_obs = pytest.mark.parametrize(("space", "leaves"), OBSERVATIONS.values(), ids=OBSERVATIONS.keys())


@each_obs
@pytest.mark.parametrize("n", [1, 5])
def test_observations_become_leaves(space: S.Space[Any], leaves: dict[str, Any], n: int) -> None:
    spec = ObsSpec.of(space)
    assert {leaf.name: (leaf.shape, leaf.dtype) for leaf in spec.leaves} == leaves
    space.seed(0)
    samples = [space.sample() for _ in range(n)]
    tree = spec.to_tensors(batched(space, samples))
    zeros = spec.zeros(n)
    assert list(tree) == list(zeros) == list(leaves)
    for leaf in spec.leaves:
        got = tree[leaf.name]
        assert (got.shape, got.dtype) == (zeros[leaf.name].shape, zeros[leaf.name].dtype)
        assert got.is_contiguous()
        assert got.data_ptr() % 64 == 0
        for row, sample in zip(got, samples, strict=True):
            for step in leaf.path:
                sample = sample[step]
            np.testing.assert_allclose(row.numpy(), np.asarray(sample, row.numpy().dtype))


@each_obs
def test_observations_never_alias_the_engines_memory(space: S.Space[Any], leaves: dict[str, Any]) -> None:
    spec = ObsSpec.of(space)
    space.seed(0)
    batch = batched(space, [space.sample(), space.sample()])
    tree = spec.to_tensors(batch)
    before = {name: leaf.clone() for name, leaf in tree.items()}

    def spoil(value: Any) -> None:
        if isinstance(value, np.ndarray):
            value[...] = ~value if value.dtype == bool else value + 1
        else:
            for inner in value.values() if isinstance(value, dict) else value:
                spoil(inner)

    spoil(batch)
    assert tree_equal(tree, before)


def test_observations_in_unusual_memory() -> None:
    spec = ObsSpec.of(S.Box(-1, 9, (3,), f32))
    data = np.arange(6, dtype=f32).reshape(2, 3)
    frozen = data.copy()
    frozen.flags.writeable = False
    for batch in (data[::-1][::-1], np.asfortranarray(data), frozen, data.tolist()):
        assert spec.to_tensors(batch)["obs"].tolist() == data.tolist()
    assert spec.to_tensors(data[::-1])["obs"].tolist() == data[::-1].tolist()


def test_discrete_observations_count_from_zero() -> None:
    assert ObsSpec.of(S.Discrete(3, start=4)).to_tensors(np.array([4, 6]))["obs"].tolist() == [0, 2]
    spec = ObsSpec.of(S.MultiDiscrete([2, 3], start=[5, -1]))
    assert spec.to_tensors(np.array([[5, 1], [6, -1]]))["obs"].tolist() == [[0, 2], [1, 0]]


def test_sizes_of_a_row() -> None:
    spec = ObsSpec.of(
        S.Dict({"image": S.Box(0, 255, (4, 36, 36), np.uint8), "x": S.Box(-1, 1, (3,), f32)}), 1
    )
    assert spec.numel == 4 * 36 * 36 + 3
    assert spec.nbytes == 4 * 36 * 36 + 12


def test_stack_marks_leaves_and_must_be_the_first_axis() -> None:
    spec = ObsSpec.of(S.Box(0, 255, (4, 84, 84), np.uint8), stack=4)
    assert spec.leaves[0].stack == 4
    with pytest.raises(UserError, match="a stack of 3 frames comes first"):
        ObsSpec.of(S.Box(0, 255, (4, 84, 84), np.uint8), stack=3)


@pytest.mark.parametrize(
    "space",
    [
        S.Sequence(S.Discrete(2)),
        S.Text(5),
        S.Graph(S.Discrete(2), None),
        S.OneOf((S.Discrete(2), S.Discrete(3))),
        S.Dict({"a": S.Discrete(2), "b": S.Text(3)}),
        S.Dict({}),
        S.Dict({"a/b": S.Discrete(2), "a": S.Dict({"b": S.Discrete(2)})}),
    ],
    ids=lambda space: type(space).__name__,
)
def test_unsupported_spaces_are_refused_in_one_sentence(space: S.Space[Any]) -> None:
    for of in (ObsSpec.of, ActionSpec.of):
        with pytest.raises(UserError) as caught:
            of(space)
        assert "\n" not in str(caught.value)
        assert ":" in str(caught.value)  # what is wrong: what to do


def test_tree_helpers() -> None:
    a = {"x": torch.arange(6.0).view(3, 2), "y": torch.tensor([1, 2, 3])}
    b = {"x": torch.zeros(3, 2), "y": torch.zeros(3, dtype=torch.int64)}
    assert tree_index(a, torch.tensor([2, 0]))["y"].tolist() == [3, 1]
    chosen = tree_select(torch.tensor([True, False, True]), a, b)
    assert chosen["x"].tolist() == [[0, 1], [0, 0], [4, 5]]
    assert chosen["y"].tolist() == [1, 0, 3]
    assert tree_equal(tree_to(a, "cpu"), a)
    assert not tree_equal(a, b)
    assert not tree_equal(a, {"x": a["x"]})


@pytest.mark.parametrize("shape", [(3,), (17,), (5, 7), (600,), (4_000,)])
def test_observations_have_memory_of_their_own(shape: tuple[int, ...]) -> None:
    spec = ObsSpec.of(S.Box(-np.inf, np.inf, shape, np.float64))
    batches = [np.full((2, *shape), float(number)) for number in range(700)]
    found = [spec.to_tensors(batch)["obs"] for batch in batches]
    assert all(x.dtype is torch.float32 and x.is_contiguous() for x in found)
    assert all(x.data_ptr() % 64 == 0 for x in found)  # as torch has it: kernels give equal bits
    found[5] += 1
    assert [x.unique().tolist() for x in found] == [[n + (n == 5)] for n in range(700)]
    again = pickle.loads(pickle.dumps(spec))
    assert again == spec
    assert again.to_tensors(batches[3])["obs"].unique().tolist() == [3.0]
    assert spec.to_tensors(batches[3][:1])["obs"].shape == (1, *shape)  # a batch of another size


def test_memory_made_ready_in_inference_mode_can_be_trained_on() -> None:
    slab = Slab()
    slab.take((2, 3), torch.float32)
    with torch.inference_mode():
        slab.prepare()
    assert not slab.take((2, 3), torch.float32)[1].is_inference()


def test_a_form_that_is_asked_for_once_gets_no_large_block() -> None:
    slab = Slab()
    sizes = [slab.take((n, 4), torch.float32)[1].untyped_storage().nbytes() for n in (1, 2, 1, 2)]
    assert sizes == [16, 32, 16, 32]
    assert not slab._rows
