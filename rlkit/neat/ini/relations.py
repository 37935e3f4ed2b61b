"""Values that contradict one another, and sizes that do not fit the environment."""

from __future__ import annotations

from collections.abc import Iterator

from rlkit.neat.ini.keys import KEYS, NUMBERS
from rlkit.neat.ini.mistakes import Checked, Edit, Mistake, Sizes


def contradictions(checked: Checked) -> list[Mistake]:
    """Of the values that are right by themselves; those left out are not judged."""
    found = [*_structure(checked), *_sizes(checked)]
    for name in NUMBERS:
        found += _number(checked, name)
    for name in ("activation", "aggregation"):
        found += _function(checked, name)
    return found


def _mistake(checked: Checked, name: str, text: str, *edits: Edit, kind: str = "contradiction") -> Mistake:
    entry = checked.where[name]
    return Mistake(kind, KEYS[name].section, name, text, entry.line, edits)


def _number(checked: Checked, name: str) -> Iterator[Mistake]:
    values = checked.values
    low, high, mean = f"{name}_min_value", f"{name}_max_value", f"{name}_init_mean"
    if checked.given(low, high) and values[low] > values[high]:
        text = f"{values[low]:g} is above {high} = {values[high]:g}"
        edits = checked.change(low, str(values[high])), checked.change(high, str(values[low]))
        yield _mistake(checked, low, text, *edits)
    elif checked.given(low, high, mean) and not values[low] <= values[mean] <= values[high]:
        text = f"{values[mean]:g} lies outside of {low} … {high}, {values[low]:g} … {values[high]:g}"
        inside = min(max(values[mean], values[low]), values[high])
        yield _mistake(checked, mean, text, checked.change(mean, str(inside)))
    change, replace = f"{name}_mutate_rate", f"{name}_replace_rate"
    if checked.given(change, replace) and values[change] + values[replace] > 1 + 1e-9:
        text = f"with {change} = {values[change]:g} it makes more than 1: values are replaced less often"
        rest = f"{max(0.0, 1 - values[change]):.6g}"
        yield _mistake(checked, replace, text, checked.change(replace, rest))


def _function(checked: Checked, name: str) -> Iterator[Mistake]:
    values = checked.values
    default, options, rate = f"{name}_default", f"{name}_options", f"{name}_mutate_rate"
    if checked.given(default, options) and values[default] not in ("random", *values[options]):
        text = f"{values[default]} is not among {options} = {' '.join(values[options])}"
        wider = " ".join([values[default], *values[options]])
        yield _mistake(checked, default, text, checked.change(options, wider))
    elif checked.given(options, rate) and len(set(values[options])) == 1 and values[rate] > 0:
        text = f"{values[rate]:g} has no effect: {options} has one name, {values[options][0]}"
        yield _mistake(checked, rate, text, checked.change(rate, "0.0"))


def _structure(checked: Checked) -> Iterator[Mistake]:
    values = checked.values
    if checked.given("initial_connection", "num_hidden") and values["num_hidden"]:
        kind, fraction = values["initial_connection"]
        meant = {"full": "full_nodirect", "partial": f"partial_nodirect {fraction}",
                 "fs_neat": "fs_neat_nohidden"}.get(kind)  # fmt: skip
        if meant is not None:
            hidden = f"num_hidden = {values['num_hidden']}"
            text = f"{kind} with {hidden} is ambiguous; neat-python takes {meant} and warns"
            yield _mistake(checked, "initial_connection", text, checked.change("initial_connection", meant))
    kind = values.get("initial_connection", ("unconnected", 1.0))[0]
    whole = "initial_connection" in values or "initial_connection" not in checked.where
    if whole and kind == "unconnected" and values.get("conn_add_prob") == 0:
        text = "0 with initial_connection = unconnected: no genome will ever have a connection"
        yield _mistake(
            checked, "conn_add_prob", text, checked.change("conn_add_prob", KEYS["conn_add_prob"].advice)
        )
    if values.get("feed_forward"):
        moving = [f"time_constant_{what}" for what in ("init_stdev", "mutate_rate", "replace_rate")]
        moving = [name for name in moving if values.get(name)]
        if moving:
            text = (
                f"{values[moving[0]]:g} with feed_forward = True: only recurrent networks have time constants"
            )
            yield _mistake(checked, moving[0], text, *(checked.change(name, "0.0") for name in moving))


def _sizes(checked: Checked) -> Iterator[Mistake]:
    values, population = checked.values, checked.values.get("pop_size")
    if population is None:
        return
    if values.get("elitism", 0) >= population:
        text = f"{values['elitism']} with pop_size = {population} leaves no room for offspring"
        yield _mistake(checked, "elitism", text, checked.change("elitism", "1"))
    if values.get("min_species_size", 1) > population:
        text = f"{values['min_species_size']} is more than pop_size = {population}"
        yield _mistake(checked, "min_species_size", text, checked.change("min_species_size", "1"))


def misfits(checked: Checked, sizes: Sizes) -> Iterator[Mistake]:
    """num_inputs and num_outputs, which the environment decides."""
    for name, wanted, what in (
        ("num_inputs", sizes.inputs, "numbers in an observation"),
        ("num_outputs", sizes.outputs, "outputs: one per choice or per number of an action"),
    ):
        given = checked.values.get(name)
        if given is not None and given != wanted:
            text = f"{given} does not fit {sizes.env}, which has {wanted} {what}"
            yield _mistake(checked, name, text, checked.change(name, str(wanted)), kind="size")
