"""Every threshold of a baseline, and the baseline with one of them changed."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from typing import Any

from policies.baseline import Baseline


def thresholds(baseline: Baseline, controls: Collection[str]) -> list[tuple[Any, ...]]:
    """Where each threshold of these controls stands: the control, then keys and positions."""
    return [(name, *path) for name in sorted(controls) for path in _leaves(baseline.controls[name].thresholds)]


def changed(baseline: Baseline, at: tuple[Any, ...], by: int) -> Baseline:
    """The baseline with a number moved by `by`, or with an item of a list taken away."""
    control, *path = at
    found = copy.deepcopy(baseline.controls[control].thresholds)
    node = found
    for key in path[:-1]:
        node = node[key]
    if isinstance(node, list):
        del node[path[-1]]
    else:
        node[path[-1]] += by
    new = baseline.controls[control].model_copy(update={"thresholds": found})
    return baseline.model_copy(update={"controls": {**baseline.controls, control: new}})


def _leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else None
    if items is None:
        yield path
    else:
        for key, value in items:
            yield from _leaves(value, (*path, key))
