"""How functions run: eager, compiled, or as one CUDA graph; and what is set before anything runs.

`capture` wraps *functions*, never modules, so that state dicts never change their keys. Plain eager is the
reference; the faster ways give the same numbers within float tolerance.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from rlkit.config import AccelConfig
from rlkit.errors import UserError

log = logging.getLogger("rlkit")

Function = Callable[..., Any]


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one. A device that is not there is refused."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device={name} is no device; use auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            have = f"there {'is' if count == 1 else 'are'} {count}" if count else "there is none here"
            raise UserError(
                f"device={name} asks for a CUDA device, but {have}; use device=cpu or device=auto"
            )
    return device


def pick_mode(mode: str, device: torch.device) -> str:
    """`auto` is eager: compiling costs tens of seconds and pays in long runs, so it is asked for."""
    if mode == "cudagraph" and device.type != "cuda":
        raise UserError("accel.mode=cudagraph needs device=cuda; use accel=compile or accel=eager on a CPU")
    return "eager" if mode == "auto" else mode


def prepare(config: AccelConfig, images: bool) -> int:
    """Set threads and determinism of the process; returns the number of threads.

    Small networks are slower on many threads than on one: each operation is shorter than handing it out.
    """
    threads = config.threads or (torch.get_num_threads() if images else 1)
    torch.set_num_threads(threads)
    if (
        config.deterministic != torch.are_deterministic_algorithms_enabled()
    ):  # asking costs seconds of imports
        torch.use_deterministic_algorithms(config.deterministic)
    return threads


def capture(function: Function, mode: str, device: torch.device) -> Function:
    """`function` of tensors, run the way `mode` says. It may not draw random numbers or read a tensor."""
    if mode == "compile":
        # What the function closes over is fixed when an agent is built: only its inputs need guards.
        options: dict[str, Any] = {"guard_filter_fn": torch.compiler.keep_tensor_guards_unsafe}
        return torch.compile(_with_own_code(function), dynamic=False, fullgraph=True, options=options)
    if mode == "cudagraph":
        return CudaGraph(function)
    return function


def _with_own_code(function: Function) -> Function:
    """The function with a code object of its own.

    torch.compile files what it made under the code object, which all agents of a class share; the guards
    that would tell their configurations apart are off.
    """
    plain = getattr(function, "__func__", function)
    copy = FunctionType(
        plain.__code__.replace(), plain.__globals__, plain.__name__, plain.__defaults__, plain.__closure__
    )
    copy.__kwdefaults__ = plain.__kwdefaults__
    return copy if plain is function else MethodType(copy, function.__self__)  # type: ignore[attr-defined]


class CudaGraph:
    """Replays one recorded launch sequence. The first calls run eagerly and count: nothing runs twice.

    Inputs (any nest of dict, list, tuple of tensors) keep their shapes from call to call; outputs are
    copied, because the next replay overwrites the graph's own.
    """

    def __init__(self, function: Function, warmup: int = 3) -> None:
        self._function, self._warmup = function, warmup
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Any] = []
        self._outputs: Any = None

    def __call__(self, *inputs: Any) -> Any:
        flat, spec = pytree.tree_flatten(inputs)
        if self._warmup > 0:
            self._warmup -= 1
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                outputs = self._function(*inputs)
            torch.cuda.current_stream().wait_stream(stream)
            return outputs
        if self._graph is None:
            self._inputs = [x.clone() if isinstance(x, Tensor) else x for x in flat]
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._outputs = self._function(*pytree.tree_unflatten(self._inputs, spec))
        for mine, given in zip(self._inputs, flat, strict=True):
            if isinstance(mine, Tensor):
                mine.copy_(given, non_blocking=True)
        self._graph.replay()
        return pytree.tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, self._outputs)


def gradient(loss: Function, module: nn.Module, mode: str) -> Function:
    """A function of the same arguments as `loss(params, *args) -> (loss, metrics)` that returns
    (gradients by parameter name, loss, metrics).

    Eager and CUDA graphs take autograd's backward; compile needs the whole computation traceable and takes
    `torch.func`, where `params` are handed to the loss explicitly (`call` below applies them).
    """
    names = [name for name, _ in module.named_parameters()]
    parameters = [parameter for _, parameter in module.named_parameters()]

    def backward(*args: Any) -> tuple[list[Tensor], Tensor, Any]:
        value, metrics = loss(None, *args)
        return list(torch.autograd.grad(value, parameters)), value.detach(), metrics

    def functional(*args: Any) -> tuple[list[Tensor], Tensor, Any]:
        given = dict(zip(names, [p.detach() for p in parameters], strict=True))
        grads, (value, metrics) = torch.func.grad_and_value(loss, has_aux=True)(given, *args)
        return [grads[name] for name in names], value, metrics

    return functional if mode == "compile" else backward


def call(module: nn.Module, params: dict[str, Tensor] | None, *args: Any) -> Any:
    """module(*args), with `params` in place of its own where they are given."""
    return module(*args) if params is None else torch.func.functional_call(module, params, args)


def read(value: Tensor) -> float:
    """One number from the device. This is a CPU–GPU sync point: never in a step, at most once an epoch."""
    return float(value)
