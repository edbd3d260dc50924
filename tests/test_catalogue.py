"""Catalogues: rows of known tensors, plates beside exact means, the files that are written."""

import csv
from dataclasses import dataclass

import numpy as np
import pytest

from toolkit.catalogue import Entry, catalogue, stiffness_permeability_figure, table, write_table
from toolkit.errors import InputError


@dataclass
class Plates:
    """Solid plates across z, in a box of two periods by one."""

    porosity: float
    name: str = "plates"
    lengths: tuple[float, ...] = (1.0, 1.0, 2.0)

    def voxels(self, resolution):
        z = (np.arange(resolution[2]) + 0.5) / resolution[2]
        return np.broadcast_to(z > self.porosity, resolution).astype(float)


def isotropic(E: float, ν: float) -> np.ndarray:
    λ, μ = E * ν / ((1 + ν) * (1 - 2 * ν)), E / (2 * (1 + ν))
    return np.diag([2.0 * μ] * 3 + [μ] * 3) + λ * np.outer([1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0])


def entry(E: float, k: float) -> Entry:
    return Entry("foam", 0.7, isotropic(E, 0.25), np.diag([2 * k, k, k]), 0.6 * np.eye(3), None)


def test_a_row_of_an_isotropic_cell():
    row = entry(0.2, 0.01).row()
    expected = {"E/Es": 0.2, "G/Es": 0.08, "nu": 0.25, "Zener": 1, "D/D0": 0.6}
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert (row["k/L2"], row["k/L2 across"]) == (0.01, 0.02)


@pytest.mark.parallel
def test_plates_are_dealt_measured_and_homogenised(comm):
    families = {"plates": (Plates, [0.75, 0.5])}
    entries = catalogue(
        families,
        measure=lambda f, lengths: (1 - f.mean(), lengths),
        resolution=8,
        poisson=0.0,
        comm=comm,
    )
    assert [each.porosity for each in entries] == [0.75, 0.5]
    for each in entries:
        assert each.measures == (each.porosity, (1.0, 1.0, 2.0))
        C, D = each.stiffness, each.diffusivity
        assert C[0, 0] == pytest.approx(1 - each.porosity, rel=1e-4)  # ν = 0: the mean of E
        assert C[2, 2] < 1e-4
        assert D[0, 0] == pytest.approx(each.porosity, rel=1e-4)
    assert entries[0].permeability[0, 0] > entries[1].permeability[0, 0]


@pytest.mark.parallel
def test_a_body_that_cannot_be_is_named(comm):
    def family(*, porosity):
        raise ValueError("the struts fall apart")

    with pytest.raises(InputError, match=r"foam at a porosity of 0.[89]: the struts fall apart"):
        catalogue({"foam": (family, [0.9, 0.8])}, measure=lambda f, L: None, comm=comm)


def test_the_table_is_aligned():
    lines = table([{"family": "P", "E": 0.123456}, {"family": "gyroid", "E": 12.0}]).split("\n")
    assert lines == ["family      E", "P       0.123", "gyroid     12"]


@pytest.mark.parallel
def test_the_files(comm, tmp_path):
    path = comm.bcast(tmp_path) / "made" / "table.csv"
    rows = [{"family": "P", "E": 1 / 3}]
    write_table(path, rows, comm=comm)
    with path.open(encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert read[0]["family"] == "P" and float(read[0]["E"]) == 1 / 3
    picture = path.with_suffix(".png")
    entries = [entry(0.2, 0.01), entry(0.1, 0.02), entry(1e-6, 0.1)]
    stiffness_permeability_figure(picture, entries, comm=comm)
    assert picture.stat().st_size > 10_000
    with pytest.raises(InputError, match="cannot be written"):
        write_table(path.parent, rows, comm=comm)
