"""The champion, the species and the fitness of a run of NEAT on one sheet.

    python docs/tools/neat_picture.py runs/latest out=docs/images/neat.png

The picture of docs/neat.md is of this run:

    rlkit train agent=neat env=pendulum env.engine=torch env.num_envs=150 seed=1 trainer.total_steps=1500000
        trainer.eval_every=0 agent.evolution.target_species=8 agent.evolution.node_add_prob=0.1
        agent.evolution.conn_add_prob=0.15
"""

from __future__ import annotations

import sys

from PIL import Image

from rlkit.cli.neat.show import read_story
from rlkit.runs import Run

SCALE = 1.5


def main() -> None:
    words = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    runs = [word for word in sys.argv[1:] if "=" not in word]
    if len(runs) != 1 or "out" not in words:
        sys.exit(__doc__)
    story, _ = read_story(Run(runs[0]))
    champion, *charts = (
        Image.fromarray(scene.pixels(SCALE))
        for scene in (story.draw_champion(), story.draw_species(), story.draw_fitness())
    )
    width, height = sum(chart.width for chart in charts), max(chart.height for chart in charts)
    sheet = Image.new("RGB", (max(width, champion.width), champion.height + height), "white")
    sheet.paste(champion, ((sheet.width - champion.width) // 2, 0))
    x = 0
    for chart in charts:
        sheet.paste(chart, (x, champion.height))
        x += chart.width
    sheet.quantize(128, dither=Image.Dither.NONE).save(words["out"], optimize=True)
    print(f"{words['out']}: {sheet.width} × {sheet.height}")


if __name__ == "__main__":
    main()
