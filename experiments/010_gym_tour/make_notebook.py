"""The scripts of this folder as one notebook, executed, with what it prints kept.

    python make_notebook.py            # writes gym_tour.ipynb; pip install 'rlkit-lab[notebook,plots]' first

Each script becomes a heading, its code, and a call of its `main`.
"""

import ast
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import v4

HERE = Path(__file__).parent
SHOW = {  # what follows a script: shown inline
    "07_monitor": 'from IPython.display import Video\n\nVideo(str(min(FOLDER.glob("*.mp4"))), embed=True)',
    "08_exercise": 'from IPython.display import Image\n\nImage("epsilon.png", width=640)',
}
FIRST = """# The Gym chapter, on today's API

Eight listings: an agent from nothing, spaces, `make`, CartPole, the random agent, a wrapper, the monitor,
and the exercise. The scripts lie beside this notebook, with a page that says what changed since gym 0.10."""


def cells(path: Path) -> list[nbformat.NotebookNode]:
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    title, _, rest = (ast.get_docstring(tree) or path.stem).partition("\n")
    text = f"## {path.stem[:2].lstrip('0')}. {title}\n{rest}"
    body = "\n".join(source.splitlines()[tree.body[0].end_lineno : tree.body[-1].lineno - 1]).strip()
    made = [v4.new_markdown_cell(text.strip()), v4.new_code_cell(body), v4.new_code_cell("main()")]
    return made + ([v4.new_code_cell(SHOW[path.stem])] if path.stem in SHOW else [])


def build() -> nbformat.NotebookNode:
    """The notebook, not executed."""
    made = [v4.new_markdown_cell(FIRST)]
    for path in sorted(HERE.glob("[0-9]*.py")):
        made += cells(path)
    for number, cell in enumerate(made):
        cell["id"] = f"cell-{number}"  # nbformat's own are random
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return v4.new_notebook(cells=made, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def execute(notebook: nbformat.NotebookNode, folder: str) -> nbformat.NotebookNode:
    where = {"metadata": {"path": folder}}
    client = NotebookClient(
        notebook, timeout=300, record_timing=False, coalesce_streams=True, resources=where
    )
    return client.execute()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        notebook = execute(build(), folder)
    notebook["metadata"]["language_info"] = {"name": "python"}
    nbformat.write(notebook, HERE / "gym_tour.ipynb")
    print(
        f"gym_tour.ipynb: {len(notebook['cells'])} cells, {(HERE / 'gym_tour.ipynb').stat().st_size:,} bytes"
    )


if __name__ == "__main__":
    main()
