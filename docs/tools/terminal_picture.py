"""What a terminal shows, colours included, as an SVG picture.

tmux new-session -d -s demo -x 100 -y 16 'rlkit train trainer=quick; sleep 60'
tmux capture-pane -e -p -t demo | python docs/tools/terminal_picture.py out=terminal.svg title='rlkit train'
chromium --headless --screenshot=terminal.png --window-size=1240,480 terminal.svg
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text


def picture(ansi: str, title: str) -> str:
    """SVG of text with ANSI colours, as wide as its widest line."""
    lines = [Text.from_ansi(line) for line in ansi.rstrip().splitlines()]
    width = max((line.cell_len for line in lines), default=0)
    console = Console(record=True, width=max(width, 60), file=io.StringIO(), force_terminal=True)
    for line in lines:
        console.print(line, no_wrap=True, overflow="crop")
    return console.export_svg(title=title)


def main() -> None:
    words = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    if "out" not in words:
        sys.exit(__doc__)
    Path(words["out"]).write_text(picture(sys.stdin.read(), words.get("title", "")), encoding="utf-8")


if __name__ == "__main__":
    main()
