"""`rlkit neat export`: a run's champion or population for PyTorch, ONNX and neat-python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlkit.cli.options import parse
from rlkit.config import key
from rlkit.errors import UserError
from rlkit.files import replace_file

if TYPE_CHECKING:
    from rlkit.neat.export.bundle import Bundle

FORMS = ("onnx", "torch", "json", "neat-python")


@dataclass
class ExportOptions:
    run: str = key("latest", "path, name, or latest")
    format: str = key("onnx", "onnx; torch: a file of Python; json; neat-python: its objects", choices=FORMS)
    out: str | None = key(None, "file, of a population its folder; null: in the run's folder export/")
    what: str = key("champion", "champion or population", choices=("champion", "population"))
    checkpoint: int | str = key("best", "best, latest, or a step")
    plugins: list[str] = key([], "modules to import first, those that the run needs")  # noqa: RUF009
    root: str = key("runs", "where run folders are looked for")


def run(arguments: Sequence[str]) -> int:
    options = parse(arguments, ExportOptions, "neat export", names=("run",))
    if options is None:
        return 0
    from rlkit import runs

    path = runs.find_run(options.run, root=options.root)
    bundle = _bundle(path, options)
    out = Path(options.out) if options.out else None
    if options.what == "champion":
        told, load = _champion(bundle, options.format, path / "export", out)
    elif options.format == "neat-python":
        told, load = _checkpoint(bundle, path / "export", out)
    else:
        told, load = _population(bundle, options.format, path / "export", out)
    print(told)
    print(f"load: {load}")
    return 0


def _bundle(path: Path, options: ExportOptions) -> Bundle:
    """What the run's checkpoint holds; a run of another agent is refused before anything is built."""
    from rlkit.config import load_run_config
    from rlkit.neat.export.bundle import Bundle
    from rlkit.plan import reopen
    from rlkit.registry import load_plugins

    load_plugins(options.plugins)
    name = load_run_config(path, options.plugins).agent.name
    if name != "neat":
        raise UserError(f"{path} is a run of agent={name}; rlkit neat export needs one of agent=neat.")
    plan, opened, _ = reopen(path, str(options.checkpoint), options.plugins, "cpu")
    agent: Any = opened
    return Bundle(agent.evolution, agent.encoder, plan.info.obs, plan.info.action, plan.config.env.id)


def _champion(bundle: Bundle, form: str, folder: Path, out: Path | None) -> tuple[str, str]:
    from rlkit.neat.export import bundle as export

    one = export.champion(bundle.evolution)
    out = out or folder / f"champion{export.SUFFIX[form]}"
    if form == "torch" and not (out.suffix == ".py" and out.stem.isidentifier()):
        raise UserError(f"out={out} cannot be imported; name a file of Python, such as champion.py.")
    _write(out, export.file_of(bundle, one, form, out.name))
    return f"{out}: {one}", export.how_to_load(bundle, one, form, out.name)


def _population(bundle: Bundle, form: str, folder: Path, out: Path | None) -> tuple[str, str]:
    from rlkit.neat.export import bundle as export

    out = out or folder / "population"
    for one in export.population(bundle.evolution):
        name = f"genome_{one.facts['genome_id']}{export.SUFFIX[form]}"
        _write(out / name, export.file_of(bundle, one, form, name))
    told = f"{out}: {bundle.evolution.size} genomes of generation {bundle.evolution.generation}"
    return told, export.how_to_load(bundle, one, form, name)


def _checkpoint(bundle: Bundle, folder: Path, out: Path | None) -> tuple[str, str]:
    from rlkit.neat.export import bundle as export

    evolution = bundle.evolution
    out = out or folder / f"neat-checkpoint-{evolution.generation}"
    _write(out, export.checkpoint_of(bundle))
    told = f"{out}: {evolution.size} genomes of generation {evolution.generation}, not judged yet"
    return told, f"neat.Checkpointer.restore_checkpoint({out.name!r}).run(eval_genomes, 100)"


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, data, sync=False)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); give another out=.") from None
