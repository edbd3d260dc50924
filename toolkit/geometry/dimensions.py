"""Checks of the dimensions that the models are given, made before gmsh is asked for anything.

A model that cannot be built is refused with the parameter's name, its value and a value that works;
gmsh itself would answer with a self-intersecting surface or a mesh of slivers. The checks read no
mesh and no communicator: in parallel they run where the model runs, on rank 0.
"""

from __future__ import annotations

from math import inf


def require_positive(**dimensions: float) -> None:
    """Refuse a dimension that is not a positive finite number.

    Args:
        **dimensions: lengths by the name that the caller knows them by, all in one unit.

    Raises:
        ValueError: a dimension is zero, negative, infinite or not a number.
    """
    for name, value in dimensions.items():
        if not 0 < value < inf:
            raise ValueError(f"{name} = {value:g} is no length. Give a positive finite {name}.")


def require_below(name: str, value: float, bound: float, *, why: str) -> None:
    """Refuse a dimension that reaches ``bound``.

    Args:
        name: the parameter as the caller knows it.
        value: what was given.
        bound: the first value that is too large, in the same unit.
        why: what goes wrong at the bound, in words that follow "so large that".

    Raises:
        ValueError: ``value`` is ``bound`` or more.
    """
    if not value < bound:
        raise ValueError(f"{name} = {value:g} is so large that {why}. Give {name} < {bound:g}.")


def require_resolved(size: float, *, cells: int, **dimensions: float) -> None:
    """Refuse an edge length that puts fewer than ``cells`` cells across a dimension.

    Args:
        size: edge length of the mesh.
        cells: smallest number of cells that fit across each dimension.
        **dimensions: lengths by name, in the unit of ``size``.

    Raises:
        ValueError: ``size`` is more than a dimension divided by ``cells``.
    """
    name, smallest = min(dimensions.items(), key=lambda item: item[1])
    if size > smallest / cells:
        raise ValueError(
            f"size = {size:g} puts fewer than {cells} cells across {name} = {smallest:g}. "
            f"Give size <= {smallest / cells:g}, or a larger {name}."
        )


def require_within(name: str, value: float, low: float, high: float, *, why: str) -> None:
    """Refuse a dimension outside of a closed interval.

    Args:
        name: the parameter as the caller knows it.
        value: what was given.
        low: the least value that works.
        high: the greatest.
        why: what bounds it, in words that follow "is out of bounds: ".

    Raises:
        ValueError: ``value`` is outside, or nothing fits between ``low`` and ``high``.
    """
    if low > high:
        raise ValueError(f"No {name} is possible: {why} would need {low:g} to {high:g}.")
    if not low <= value <= high:
        raise ValueError(
            f"{name} = {value:g} is out of bounds: {why}. Give {name} from {low:g} to {high:g}."
        )
