"""The arrows of the house: imports run one way, stand at the top, and a few habits are kept everywhere.

`ARROWS` is the whole rule. A new room needs a row there; a new arrow needs a reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "rlkit"

# Room (a folder or a file) → the rooms it may import, beside BASE. Inside a room imports are free.
BASE = "arriving config errors seeding spaces trees types"
ARROWS = {
    # what everything stands on
    "errors": "",
    "files": "",
    "check": "errors",
    "importing": "errors",
    "registry": "errors importing",
    "config": "check errors registry",
    "trees": "",
    "arriving": "",
    "spaces": "errors trees",
    "seeding": "",
    "types": "config spaces",
    # learning
    "schedules": "",
    "solved": "",
    "returns": "",
    "accel": BASE,
    "distributions": BASE,
    "nets": f"{BASE} distributions",
    "memory": f"{BASE} returns",
    "neat": f"{BASE} check nets",  # an export says how the encoder reads an observation
    "agents": f"{BASE} accel distributions memory neat nets returns schedules",
    # worlds, and how they are watched
    "envs": f"{BASE} registry",
    "films": "errors files",
    "records": "errors files",
    "recorder": "errors files films records",
    "refilm": "errors films recorder records",
    "monitor": "errors films recorder records refilm",
    "filming": f"{BASE} envs films monitor recorder records refilm",
    "evaluator": f"{BASE} envs monitor",
    "playing": f"{BASE} envs evaluator filming",
    # run folders
    "lock": "errors files",
    "runfolder": "errors files lock",
    "segments": "files types",
    "checkpoint": "errors files runfolder segments types",
    "tensorboard": "files",
    "screen": "",
    "terminal": "screen",
    "notebook": "terminal",
    "logger": "errors files notebook runfolder tensorboard terminal types",
    "compare": "checkpoint segments",
    "runs": "compare errors files lock runfolder",
    "resume": "check config errors runs",
    "report": "check config errors files runs",
    # the run, and the front door
    "trainer": f"{BASE} checkpoint evaluator filming logger runfolder schedules solved",
    "plan": f"{BASE} accel check checkpoint envs logger memory nets registry",
    "telling": f"{BASE} check logger plan runfolder solved trainer",
    "session": (
        f"{BASE} accel checkpoint envs evaluator files filming importing logger memory nets plan playing "
        "registry resume runfolder runs telling trainer"
    ),
    "launchers": f"{BASE} check registry runs session",
    "cli": f"{BASE} check checkpoint envs files launchers neat plan registry report runs screen session",
    "__main__": "cli",
    "__init__": "cli monitor",
}
APART = {"agents"}  # rooms whose files do not know one another

# Room → what may be imported when needed instead of at the top ("*": anything).
LATE = {
    "cli": {"*"},  # composing, completion and --help need no torch
    "__init__": {"importlib"},
    "runs": {"rlkit.compare"},  # torch, for `runs diff` alone
    "neat": {"neat", "onnx"},  # to export to
    "logger": {"tensorboard"},
    "tensorboard": {"tensorboard"},
    "notebook": {"IPython", "matplotlib"},
    "films": {"av"},
    "monitor": {"av"},
}
HARD = {"torch", "numpy", "gymnasium", "rlkit"}  # in envs everything else is optional

KNOWS_HYDRA = {"cli", "config", "check", "launchers"}
KNOWS_AUTORESET = {
    "envs/vector.py", "envs/lanes.py", "envs/workers.py", "envs/ale.py", "envs/pool.py", "monitor.py",
}  # fmt: skip
READS_FINAL_OBS = {"envs/vector.py", "monitor.py"}
NEVER_WAITS = {"agents", "returns", "distributions", "schedules"}
GLOBAL_GENERATORS = {"np.random", "numpy.random", "random"}
LONGEST = 400


def room_of(path: str) -> str:
    """agents/dqn.py → agents, trainer.py → trainer."""
    return path.split("/")[0].removesuffix(".py")


# ---------------------------------------------------------------------- reading a file


@dataclass(frozen=True)
class Import:
    name: str  # dotted: rlkit.envs.vector, torch
    line: int
    late: bool  # inside a function
    typing: bool  # under TYPE_CHECKING


def imports(tree: ast.AST, module: str) -> Iterator[Import]:
    """Every import of a file; `from rlkit import x` counts as rlkit.x, relative ones are resolved."""

    def walk(node: ast.AST, late: bool, typing: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            inside = late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            typed = typing or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test))
            if isinstance(child, ast.Import):
                yield from (Import(alias.name, child.lineno, late, typing) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                parent = module.split(".")[: -child.level] if child.level else []
                base = ".".join([*parent, *filter(None, [child.module])])
                whole = [f"{base}.{alias.name}" for alias in child.names] if base == "rlkit" else [base]
                yield from (Import(name, child.lineno, late, typing) for name in whole)
            yield from walk(child, inside, typed)

    yield from walk(tree, False, False)


def violations(path: str, source: str) -> list[str]:
    """What is wrong with one file; `path` is relative to rlkit/, as in envs/vector.py."""
    tree, room = ast.parse(source), room_of(path)
    module = "rlkit." + path.removesuffix(".py").replace("/", ".")
    found = [f"{path}: {len(source.splitlines())} lines"] if len(source.splitlines()) > LONGEST else []
    if room not in ARROWS:
        return [*found, f"{path}: the room {room} has no row in ARROWS"]
    allowed = {room, "__version__", *ARROWS[room].split()}
    for item in imports(tree, module):
        parts = item.name.split(".")
        where = f"{path}:{item.line}: imports {item.name}"
        if parts[0] == "rlkit":
            target = parts[1] if len(parts) > 1 else "__init__"
            if target not in allowed:
                found.append(f"{where} against the arrows")
            if room in APART and target == room:
                found.append(f"{where}, a peer")
        if parts[0] in ("hydra", "omegaconf") and room not in KNOWS_HYDRA:
            found.append(f"{where}, which only the front door knows")
        if item.late and not item.typing and not may_come_late(room, item.name):
            found.append(f"{where} below the top")
    return found + [f"{path}:{line}: {text}" for line, text in habits(path, tree)]


def may_come_late(room: str, name: str) -> bool:
    if room == "envs":
        return name.split(".")[0] not in HARD
    late = LATE.get(room, set())
    return "*" in late or name in late or name.split(".")[0] in late


def _imports_random(tree: ast.AST) -> bool:
    return any(
        isinstance(node, ast.Import) and "random" in {a.name for a in node.names} for node in ast.walk(tree)
    )


def habits(path: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    room = room_of(path)
    # `random` is the module only where it is imported; elsewhere it is somebody's own generator.
    global_ones = GLOBAL_GENERATORS - ({"random"} if not _imports_random(tree) else set())
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            called, owner = node.func.attr, ast.unparse(node.func.value)
            if called in ("item", "cpu", "tolist") and room in NEVER_WAITS:
                yield line, f".{called}() waits for the device"
            if owner in global_ones and called not in ("default_rng", "Generator", "SystemRandom"):
                yield line, f"{owner}.{called} draws from a global generator"
            if (owner, called) == ("sys", "exit") and room not in ("cli", "__main__"):
                yield line, "sys.exit would end a whole sweep"
        if isinstance(node, ast.keyword) and node.arg == "weights_only" and ast.unparse(node.value) != "True":
            yield node.value.lineno, "weights_only=True is the rule"
        if isinstance(node, ast.ClassDef) and room == "agents":
            bases = {ast.unparse(base).split("[")[0] for base in node.bases}
            if bases - {"nn.Module", "Module", "Protocol", "Generic", "NamedTuple", "Enum"}:
                yield line, f"{node.name} subclasses {', '.join(sorted(bases))}"
        names = {getattr(node, "id", None), getattr(node, "attr", None), getattr(node, "value", None)
                 if isinstance(node, ast.Constant) else None}  # fmt: skip
        if "AutoresetMode" in names and path not in KNOWS_AUTORESET:
            yield line, "autoreset modes are known to the vector boundary"
        if path not in READS_FINAL_OBS and any(name in ("final_obs", "final_info") for name in names):
            yield line, "final observations are read by the vector boundary"


# ---------------------------------------------------------------------- the house as it stands


def house() -> dict[str, str]:
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(ROOT.rglob("*.py"))
    }


@pytest.mark.parametrize("path", house())
def test_every_file_keeps_to_the_arrows(path: str) -> None:
    assert violations(path, (ROOT / path).read_text(encoding="utf-8")) == []


def test_the_table_itself_has_no_circle() -> None:
    left = {room: set(allowed.split()) - {room} for room, allowed in ARROWS.items()}
    unknown = {name for allowed in left.values() for name in allowed} - set(left)
    assert not unknown
    while left:
        done = {room for room, allowed in left.items() if not allowed & set(left)}
        assert done, f"a circle among {sorted(left)}"
        left = {room: allowed for room, allowed in left.items() if room not in done}


def graph() -> dict[str, set[str]]:
    """Module → what importing it imports at once, packages without their /__init__."""
    found = {}
    for path, source in house().items():
        name = ("rlkit." + path.removesuffix(".py").replace("/", ".")).removesuffix(".__init__")
        found[name] = {i.name for i in imports(ast.parse(source), name) if not i.late and not i.typing}
    return found


def test_no_module_imports_itself_in_the_end() -> None:
    edges = graph()
    for start in edges:
        seen, todo = set(), [name for name in edges[start] if name in edges]
        while todo:
            name = todo.pop()
            assert name != start, f"{start} imports itself through others"
            if name not in seen:
                seen.add(name)
                todo += [other for other in edges[name] if other in edges]


@pytest.mark.parametrize("start", ["rlkit", "rlkit.__main__", "rlkit.cli", "rlkit.config", "rlkit.runs"])
def test_the_front_door_needs_no_torch(start: str) -> None:
    edges, seen = graph(), {start}
    todo = [start]
    if start == "rlkit.cli":
        todo += [name for name in edges if name.startswith("rlkit.cli.")]
    while todo:
        for name in edges.get(todo.pop(), set()) - seen:
            seen.add(name)
            todo.append(name)
    heavy = {
        name for name in seen if name.split(".")[0] in ("torch", "numpy", "gymnasium", "tensorboard", "av")
    }
    assert not heavy


# ---------------------------------------------------------------------- the checker, on planted faults

PLANTED = {  # fault: path, source, what is said of it
    "an agent that knows environments": (
        "agents/x.py",
        "from rlkit.envs.vector import VectorEnvs",
        "against the arrows",
    ),
    "an agent that knows the trainer": ("agents/x.py", "import rlkit.trainer", "against the arrows"),
    "an agent that knows another": ("agents/x.py", "from rlkit.agents.dqn import DQN", "a peer"),
    "the same, written relatively": ("agents/x.py", "from .dqn import DQN", "a peer"),
    "an environment that knows agents": ("envs/x.py", "from rlkit.agents.dqn import DQN", "against"),
    "the same, in a function": ("envs/x.py", "def f():\n    from rlkit import agents", "against"),
    "the same, for types alone": (
        "envs/x.py",
        "if TYPE_CHECKING:\n    from rlkit.agents import dqn",
        "against",
    ),
    "a network that knows memory": ("nets/x.py", "from rlkit.memory.replay import Replay", "against"),
    "types that know the trainer": ("types.py", "from rlkit.trainer import Trainer", "against"),
    "the trainer on an engine": ("trainer.py", "from rlkit.envs.vector import VectorEnvs", "against"),
    "hydra in the trainer": ("trainer.py", "from omegaconf import DictConfig", "front door"),
    "hydra in an agent": ("agents/x.py", "import hydra.utils", "front door"),
    "a late import": ("agents/x.py", "def f():\n    import torch", "below the top"),
    "a late import in a method": (
        "session.py",
        "class A:\n    def f(self):\n        from rlkit import trainer",
        "below the top",
    ),
    "torch when needed in envs": ("envs/x.py", "def f():\n    import torch", "below the top"),
    "a file without a row": ("utils.py", "import torch", "no row"),
    "a wait in an agent": ("agents/x.py", "def f(x):\n    return x.mean().item()", ".item() waits"),
    "a copy to the host": ("returns.py", "def f(x):\n    return x.cpu()", ".cpu() waits"),
    "a pickle": ("checkpoint.py", "import torch\ntorch.load('x', weights_only=False)", "weights_only=True"),
    "an algorithm of an algorithm": ("agents/x.py", "class Double(DQN):\n    pass", "subclasses DQN"),
    "a reader of final observations": (
        "evaluator.py",
        "def f(info):\n    return info['final_obs']",
        "final observations",
    ),
    "a knower of modes": (
        "trainer.py",
        "from gymnasium.vector import x\nprint(x.AutoresetMode.DISABLED)",
        "autoreset modes",
    ),
    "the global generator": ("nets/x.py", "import numpy as np\nnp.random.seed(0)", "global generator"),
    "an exit": ("session.py", "import sys\ndef f():\n    sys.exit(75)", "sys.exit"),
    "a long file": ("agents/x.py", "x = 1\n" * (LONGEST + 1), "401 lines"),
}
INNOCENT = {
    "an agent": (
        "agents/x.py",
        "import torch\nfrom rlkit.nets.heads import QHead\nfrom rlkit.types import Agent",
    ),
    "a network": ("agents/x.py", "class Q(nn.Module):\n    pass\nclass Agent:\n    pass"),
    "a verb": ("cli/x.py", "def main():\n    import torch\n    from rlkit import session"),
    "an optional package": ("envs/x.py", "def f():\n    import ale_py"),
    "the encoder": ("films.py", "def f():\n    import av"),
    "the boundary": ("envs/vector.py", "def f(info):\n    return info['final_obs']"),
    "an own generator": ("envs/x.py", "import numpy as np\nr = np.random.default_rng(0)"),
    "a load": ("checkpoint.py", "import torch\ntorch.load('x', weights_only=True)"),
    "400 lines": ("agents/x.py", "x = 1\n" * LONGEST),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str) -> None:
    path, source, said = PLANTED[fault]
    assert said in "\n".join(violations(path, source))


@pytest.mark.parametrize("case", INNOCENT)
def test_what_is_allowed_passes(case: str) -> None:
    assert violations(*INNOCENT[case]) == []
