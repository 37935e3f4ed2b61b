"""Settings that are right one by one and useless together: one sentence each, before a run is built."""

from __future__ import annotations

from collections.abc import Iterator

from rlkit.neat.settings import RANDOM, Number, Settings

_WHERE = "agent.evolution"


def contradiction(settings: Settings, population: int) -> str | None:
    """The first contradiction, or None."""
    return next(_found(settings, population), None)


def _found(settings: Settings, population: int) -> Iterator[str]:
    for name in ("weight", "bias", "response"):
        yield from _in_number(f"{_WHERE}.{name}", getattr(settings, name))
    for name in ("activations", "aggregations"):
        chosen = getattr(settings, name)
        if not chosen:
            yield f"{_WHERE}.{name} is empty; name at least one."
        elif len(set(chosen)) < len(chosen):
            yield f"{_WHERE}.{name} names one twice ({', '.join(chosen)}); name each once."
        default = getattr(settings, f"{name[:-1]}_default")
        if default not in (RANDOM, *chosen):
            yield f"{_WHERE}.{name[:-1]}_default={default} is not among \
{_WHERE}.{name}=[{','.join(chosen)}]; add it there."
        rate = f"{name[:-1]}_mutate_rate"
        if getattr(settings, rate) and len(chosen) == 1:
            yield f"{_WHERE}.{rate} has nothing to choose from: {_WHERE}.{name} names {chosen[0]} alone; \
add another or make the rate 0."
    if settings.elitism >= population:
        yield f"{_WHERE}.elitism={settings.elitism} keeps the whole population of {population}; \
make it smaller, or agent.population larger."
    if settings.target_species > population:
        yield f"{_WHERE}.target_species={settings.target_species} is more than \
agent.population={population}; make it smaller."
    if 0 < settings.max_species < settings.target_species:
        yield f"{_WHERE}.target_species={settings.target_species} is more than \
{_WHERE}.max_species={settings.max_species} allows; make it smaller."


def _in_number(where: str, number: Number) -> Iterator[str]:
    if number.min_value > number.max_value:
        yield f"{where}.min_value={number.min_value:g} is above {where}.max_value={number.max_value:g}; \
exchange them."
    elif not number.min_value <= number.init_mean <= number.max_value:
        yield f"{where}.init_mean={number.init_mean:g} is outside {number.min_value:g} … \
{number.max_value:g}; move it, or {where}.min_value or max_value."
    if number.mutate_rate + number.replace_rate > 1 + 1e-9:
        yield f"{where}.mutate_rate and replace_rate add up to \
{number.mutate_rate + number.replace_rate:g}, more than 1; lower one of them."
