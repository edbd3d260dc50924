"""What becomes of a bone: its mass by region over time, and its density at each record.

Of each region: the mass, the share of the first mass that has been lost and gained, and the share
of its volume in which bone has been resorbed and formed. Mass is counted cell by cell, so that

    mass = first mass · (1 + gained − lost)

and a cell is resorbed if its density is lower than at first. The numbers are the same on every
rank; densities are distributed as the mesh is.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from dolfinx import fem

from toolkit.domain import Domain
from toolkit.errors import InputError, together
from toolkit.export import write_vtkhdf

__all__ = ["Prognosis", "Record"]

type Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Prognosis:
    """A bone's course.

    Attributes:
        domain: The mesh.
        times: Of the records, (records,).
        regions: What was counted, "all" first.
        mass: Of each region, g, (records, regions).
        lost: Mass lost, as a share of the first, (records, regions); `gained` likewise.
        resorbed: Share of the volume with less than at first, (records, regions).
        formed: Share of it with more.
        densities: The density at each record, g/cm³, cell-wise.
        tissue: Whether each owned cell remodels, (owned,).
    """

    domain: Domain
    times: Array
    regions: tuple[str, ...]
    mass: Array
    lost: Array
    gained: Array
    resorbed: Array
    formed: Array
    densities: tuple[fem.Function, ...]
    tissue: npt.NDArray[np.bool_]

    def change(self, region: str = "all") -> Array:
        """Mass of a region over its first, less 1, (records,): what densitometry shows.

        Raises:
            InputError: The region was not counted.
        """
        if region not in self.regions:
            raise InputError(
                f"The region '{region}' was not counted. There are: {', '.join(self.regions)}."
            )
        mass = self.mass[:, self.regions.index(region)]
        return np.asarray(mass / mass[0] - 1)

    def write(self, folder: str | Path) -> Path:
        """Write `bone.csv`, a row for each time and region, and `bone.vtkhdf`; collective."""
        folder = Path(folder)
        with together(self.domain.comm):
            if self.domain.comm.rank == 0:
                folder.mkdir(parents=True, exist_ok=True)
                self._write_table(folder / "bone.csv")
        first = self.densities[0]
        fields = []
        for density in self.densities:
            change = fem.Function(self.domain.cellwise)
            change.x.array[:] = density.x.array - first.x.array
            fields.append({"density": density, "change": change})
        write_vtkhdf(folder / "bone.vtkhdf", self.domain, fields, times=self.times.tolist())
        return folder

    def _write_table(self, path: Path) -> None:
        columns = {
            "mass [g]": self.mass,
            "lost": self.lost,
            "gained": self.gained,
            "resorbed volume": self.resorbed,
            "formed volume": self.formed,
        }
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["time", "region", *columns])
            for i, time in enumerate(self.times):
                for j, region in enumerate(self.regions):
                    values = [f"{column[i, j]:.8g}" for column in columns.values()]
                    table.writerow([f"{time:g}", region, *values])


class Record:
    """A prognosis in the making."""

    def __init__(
        self, domain: Domain, regions: Mapping[str, npt.NDArray[np.bool_]], *, start: Array
    ) -> None:
        """Count from a density.

        Args:
            domain: The mesh.
            regions: Whether each owned cell belongs to a region, by its name, (owned,).
            start: First density of owned cells, g/cm³, (owned,).

        Raises:
            InputError: A region without tissue.
        """
        self._domain, self._start, self._regions = domain, start, regions
        self._weights = np.array([own * domain.cell_volumes for own in regions.values()])
        self._volume = domain.comm.allreduce(self._weights.sum(axis=1))
        for name, volume in zip(regions, self._volume, strict=True):
            if volume == 0:
                raise InputError(f"No tissue that remodels is in '{name}'.")
        self._first = self._sums(start)
        self._times: list[float] = []
        self._rows: list[list[Array]] = []
        self._densities: list[fem.Function] = []

    def add(self, time: float, density: fem.Function) -> None:
        """Record a density at a time; collective."""
        kept = fem.Function(self._domain.cellwise, name="density")
        kept.x.array[:] = density.x.array
        change = kept.x.array[self._domain.cell_dofs[: len(self._start)]] - self._start
        lost, gained = self._sums(np.maximum(-change, 0.0)), self._sums(np.maximum(change, 0.0))
        resorbed, formed = (self._sums((sign * change > 0).astype(float)) for sign in (-1, 1))
        mass = 1e-3 * (self._first + gained - lost)  # mm³ g/cm³ are mg
        self._rows.append(
            [
                mass,
                lost / self._first,
                gained / self._first,
                resorbed / self._volume,
                formed / self._volume,
            ]
        )
        self._times.append(time)
        self._densities.append(kept)

    def prognosis(self) -> Prognosis:
        """What has been recorded."""
        mass, lost, gained, resorbed, formed = np.moveaxis(np.array(self._rows), 1, 0)
        return Prognosis(
            domain=self._domain,
            times=np.array(self._times),
            regions=tuple(self._regions),
            mass=mass,
            lost=lost,
            gained=gained,
            resorbed=resorbed,
            formed=formed,
            densities=tuple(self._densities),
            tissue=self._regions["all"],
        )

    def _sums(self, owned: Array) -> Array:
        """Integrals over each region; collective."""
        return np.asarray(self._domain.comm.allreduce(self._weights @ owned))
