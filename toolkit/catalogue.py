"""Families of cells side by side: their effective properties, their measures, one table.

    C/E,  k/L²,  D/D₀   by `sample`,   pores, walls, surface, connection by a measure of the voxels

The bodies are made into voxels and measured once, dealt to the ranks in turn; the cells are then
homogenised one after the other on all ranks together. The result is the same on every rank.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from toolkit import moduli
from toolkit.bounds import hashin_shtrikman, plate_channel, schwarz_p
from toolkit.errors import InputError, together
from toolkit.pictures import property_figure
from toolkit.properties import Family, sample

__all__ = ["Entry", "catalogue", "stiffness_permeability_figure", "table", "write_table"]

type Array = NDArray[np.float64]
type Row = Mapping[str, str | float]

LOOSE = 1e-4  # E of a cell that hangs together by the void between its voxels
CLOSED = 1e-5  # k that is the stabilisation's


class Entry(NamedTuple):
    """One cell of a catalogue.

    Attributes:
        family: name of its family.
        porosity: that of its voxels.
        stiffness: over the solid's Young's modulus, (6, 6), in 2D (3, 3).
        permeability: over the square of the first period, (d, d).
        diffusivity: over that of the free fluid, per total area, (d, d).
        measures: what `measure` found.
    """

    family: str
    porosity: float
    stiffness: Array
    permeability: Array
    diffusivity: Array
    measures: Any

    def row(self) -> dict[str, str | float]:
        """Name, porosity and properties, those with a direction along the last axis."""
        C, n, across = self.stiffness, *np.eye(len(self.permeability))[[-1, 0]]
        return {
            "family": self.family,
            "porosity": self.porosity,
            "E/Es": float(moduli.young(C, n)),
            "G/Es": float(moduli.shear(C)),
            "nu": float(moduli.poisson(C, n, across)),
            "Zener": float(moduli.zener(C)),
            "k/L2": float(n @ self.permeability @ n),
            "k/L2 across": float(across @ self.permeability @ across),
            "D/D0": float(n @ self.diffusivity @ n),
        }


@dataclass(frozen=True)
class _Voxels:
    """A body that is voxels already."""

    name: str
    lengths: tuple[float, ...]
    fractions: Array

    def voxels(self, resolution: Sequence[int], /) -> Array:
        """The solid fractions; the resolution is theirs."""
        assert tuple(resolution) == self.fractions.shape
        return self.fractions


def catalogue(
    families: Mapping[str, tuple[Family, Sequence[float]]],
    *,
    measure: Callable[[Array, tuple[float, ...]], Any],
    resolution: int = 32,
    poisson: float = 0.3,
    comm: MPI.Comm = MPI.COMM_WORLD,
) -> list[Entry]:
    """Homogenise and measure families of periodic bodies; collective.

    Args:
        families: by name, what `sample` takes: a family and its porosities, two or more.
        measure: called with the solid fractions of a cell's voxels and its periods, on one rank.
        resolution: voxels along the longest period, nearly cubes.
        poisson: Poisson's ratio of the solid.
        comm: Communicator of the cells.

    Returns:
        The cells, family by family, by falling porosity.

    Raises:
        InputError: a body that the family cannot have, and what `sample` refuses.
    """
    jobs = [(name, p) for name, (_, porosities) in families.items() for p in porosities]
    mine: dict[tuple[str, float], tuple[_Voxels, Any]] = {}
    with together(comm):
        for name, p in jobs[comm.rank :: comm.size]:
            mine[name, p] = _measured(name, families[name][0], p, resolution, measure)
    found = {job: value for part in comm.allgather(mine) for job, value in part.items()}
    entries = []
    for name, (_, porosities) in families.items():
        bodies = {float(p): found[name, p][0] for p in porosities}
        cells = sample(
            lambda porosity, bodies=bodies: bodies[porosity],
            porosities,
            resolution=resolution,
            poisson=poisson,
            comm=comm,
        )
        tensors = (cells.stiffness, cells.permeability_tensor, cells.diffusivity_tensor)
        for i, p in enumerate(sorted(porosities, reverse=True)):
            C, k, D = (each[i] for each in tensors)
            entries.append(Entry(name, 1 - float(cells.density[i]), C, k, D, found[name, p][1]))
    return entries


def _measured(
    name: str,
    family: Family,
    porosity: float,
    resolution: int,
    measure: Callable[[Array, tuple[float, ...]], Any],
) -> tuple[_Voxels, Any]:
    try:
        body = family(porosity=porosity)
    except ValueError as refusal:
        raise InputError(f"{name} at a porosity of {porosity:g}: {refusal}") from refusal
    lengths = tuple(float(L) for L in body.lengths)
    shape = tuple(max(3, round(resolution * L / max(lengths))) for L in lengths)
    voxels = _Voxels(name, lengths, body.voxels(shape))
    return voxels, measure(voxels.fractions, lengths)


def stiffness_permeability_figure(
    path: str | Path,
    entries: Sequence[Entry],
    *,
    poisson: float = 0.3,
    comm: MPI.Comm = MPI.COMM_WORLD,
) -> Path:
    """Draw permeability against Young's modulus, a line a family, on rank 0; collective.

    The dark curves are bounds of E: Voigt's for any structure, Hashin and Shtrikman's for an
    isotropic one, drawn at the permeability of parallel plates of that porosity, along the plates.
    That and Schwarz's P surface are references: porosity does not bound permeability. Cells that
    fall to pieces or are closed are left out.

    Args:
        path: the PNG file; its folder is made if need be.
        entries: what `catalogue` returned, of 3D cells.
        poisson: Poisson's ratio of the solid.
        comm: of all ranks.
    """
    path = Path(path)
    with together(comm):
        if comm.rank == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = [entry.row() for entry in entries]
            points: dict[str, list[list[float]]] = {}
            for row in rows:
                E, k = float(row["E/Es"]), float(row["k/L2"])
                if E > LOOSE and k > CLOSED:
                    points.setdefault(str(row["family"]), []).append([E, k])
            labels = ("Young's modulus along z, over the solid's", "permeability along z, over L²")
            series = {name: np.array(xy) for name, xy in points.items()}
            property_figure(path, labels, series, _references(poisson))
    return path


def _references(poisson: float) -> dict[str, Array]:
    φ = np.linspace(0.25, 0.9)
    plates, P = plate_channel(φ), schwarz_p()
    E = hashin_shtrikman(1 - φ, modulus=1, poisson=poisson).young.upper
    return {
        f"bound of E (Voigt), {plates.name}": np.stack([1 - φ, plates.value], axis=1),
        "bound of isotropic E (Hashin–Shtrikman), same": np.stack([E, plates.value], axis=1),
        P.name: np.array([[E[-1], P.value], [1 - φ[0], P.value]]),
    }


def table(rows: Sequence[Row], *, digits: int = 3) -> str:
    """Rows of the same columns in plain text, numbers to so many digits."""
    words = [[_word(value, digits) for value in row.values()] for row in rows]
    columns = list(zip(rows[0], *words, strict=True))
    widths = [max(map(len, column)) for column in columns]
    return "\n".join(
        "  ".join(word.rjust(w) if i else word.ljust(w) for i, (word, w) in enumerate(line))
        for line in (list(zip(cells, widths, strict=True)) for cells in zip(*columns, strict=True))
    )


def _word(value: str | float, digits: int) -> str:
    return value if isinstance(value, str) else f"{value:.{digits}g}"


def write_table(path: str | Path, rows: Sequence[Row], *, comm: MPI.Comm = MPI.COMM_WORLD) -> Path:
    """Write rows of the same columns as CSV, on rank 0, into a folder made if need be; collective.

    Raises:
        InputError: a file that cannot be written.
    """
    path = Path(path)
    with together(comm):
        if comm.rank == 0:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("w", newline="", encoding="utf-8") as file:
                    writer = csv.DictWriter(file, fieldnames=list(rows[0]))
                    writer.writeheader()
                    writer.writerows(rows)
            except OSError as failure:
                raise InputError(f"The table cannot be written to {path}: {failure}") from failure
    return path
