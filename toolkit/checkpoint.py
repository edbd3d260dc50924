"""One HDF5 file a run: `run.h5` holds the designs, the histories, the front and where it is from.

    /design                   (points, cells), mesh-file order, double precision
    /front/values             (points, objectives); beside it names, labels, dominated, knee,
                              reference, ideal, nadir, hypervolume
    /points/<i>/constraints   values by name, with feasible, reason, iterations, evaluations
    /history/<i>/objective …  one array for each quantity of the point's history
    attributes                mesh fingerprint, versions, command line, ranks, date, options

The design vector is in mesh-file order and whole, so a run written on eight ranks is read on one.
The file is written by rank 0 under a temporary name, flushed to the disk and moved over the old
one, so that there is always one whole file. Nothing in it is executed when it is read.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from toolkit.errors import InputError, agree

if TYPE_CHECKING:
    from toolkit.density import Density
    from toolkit.optimize import Result
    from toolkit.pareto import Front

type Array = NDArray[np.float64]

FORMAT = "implant-toolkit run"
HISTORY = (
    "objective",
    "constraints",
    "infeasibility",
    "change",
    "greyness",
    "evaluations",
    "beta",
)
PACKAGES = {
    "toolkit": "implant-toolkit",
    "dolfinx": "fenics-dolfinx",
    "petsc": "petsc4py",
    "nlopt": "nlopt",
    "numpy": "numpy",
}


@dataclass(frozen=True)
class Run:
    """What `run.h5` holds.

    Attributes:
        design: design vectors in mesh-file order, (points, cells).
        objectives: names of the objectives.
        values: objectives of each point, (points, objectives).
        labels: how each point was made.
        dominated: whether another point is better in every objective, (points,).
        knee: the knee point's number, -1 where there is none.
        hypervolume: with respect to `reference`, NaN for a single minimisation.
        reference, ideal, nadir: points in the space of objectives, (objectives,).
        constraints: for each point the constraints' values by name.
        feasible: whether each point meets its constraints, (points,).
        reasons: why each point's minimisation ended.
        iterations, evaluations: counts for each point, (points,).
        seconds: wall time of each point, (points,).
        history: for each point its history, arrays by name.
        provenance: mesh fingerprint, versions, command line, ranks, date and options, by name.
    """

    design: Array
    objectives: tuple[str, ...]
    values: Array
    labels: tuple[str, ...]
    dominated: NDArray[np.bool_]
    knee: int
    hypervolume: float
    reference: Array
    ideal: Array
    nadir: Array
    constraints: tuple[dict[str, float], ...]
    feasible: NDArray[np.bool_]
    reasons: tuple[str, ...]
    iterations: NDArray[np.int64]
    evaluations: NDArray[np.int64]
    seconds: Array
    history: tuple[dict[str, Array], ...]
    provenance: dict[str, str]


def provenance(over: Density, *, options: Mapping[str, object] | None = None) -> dict[str, str]:
    """Where a run comes from: mesh, versions, command line, ranks and date, as text by name."""
    domain = over.domain
    found = {
        "command line": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "ranks": str(domain.comm.size),
        "mesh": Path(domain.source).name,
        "mesh fingerprint": domain.fingerprint,
        "cells": str(domain.num_cells),
        "filter radius": str(over.radius),
        "projection steepness": str(over.beta),
        "python": ".".join(map(str, sys.version_info[:3])),
        "mpi": MPI.Get_library_version().split("\n")[0].rstrip("\x00"),
    }
    found |= {name: _version(package) for name, package in PACKAGES.items()}
    return found | {name: str(value) for name, value in (options or {}).items()}


def _version(package: str) -> str:
    """A package's version, also where it came without a Python distribution's record."""
    module = {"fenics-dolfinx": "dolfinx"}.get(package, package)
    loaded = sys.modules.get(module)
    if loaded is not None and hasattr(loaded, "__version__"):
        return str(loaded.__version__)
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def from_front(front: Front) -> Run:
    """The front as the record that a file holds."""
    return _record(
        [point.result for point in front.points],
        front.over,
        objectives=tuple(front.objectives),
        values=np.array([point.values for point in front.points], dtype=float),
        labels=tuple(point.label for point in front.points),
        dominated=np.array([point.dominated for point in front.points], dtype=bool),
        knee=int(front.knee),
        hypervolume=float(front.hypervolume),
        reference=np.asarray(front.reference, dtype=float),
        ideal=np.asarray(front.ideal, dtype=float),
        nadir=np.asarray(front.nadir, dtype=float),
        provenance=provenance(front.over, options=_settings(front)),
    )


def _settings(front: Front) -> dict[str, object]:
    """How a front was computed: seconds, and all ranks where it was in groups."""
    found: dict[str, object] = {"seconds": f"{front.seconds:.1f}"}
    if front.groups is not None:
        found |= {"ranks": front.groups.world.size, "groups": front.groups.number}
    return found


def from_result(result: Result, over: Density, *, name: str = "objective") -> Run:
    """A single minimisation as a front of one point."""
    nothing = np.full(1, np.nan)
    return _record(
        [result],
        over,
        objectives=(name,),
        values=np.array([[result.objective]], dtype=float),
        labels=("minimum",),
        dominated=np.zeros(1, dtype=bool),
        knee=-1,
        hypervolume=float("nan"),
        reference=nothing,
        ideal=nothing,
        nadir=nothing,
        provenance=provenance(over, options={"seconds": f"{result.seconds:.1f}"}),
    )


def _record(results: Sequence[Result], over: Density, **rest: Any) -> Run:
    """The part of the record that comes from the points' results."""
    design = np.array([result.design for result in results], dtype=float)
    if design.shape != (len(results), over.size):
        raise InputError(f"A design has {design.shape[1:]} entries; the mesh has {over.size} cells")
    return Run(
        design=design,
        constraints=tuple(
            {name: float(value) for name, value in result.constraints.items()} for result in results
        ),
        feasible=np.array([result.feasible for result in results], dtype=bool),
        reasons=tuple(result.reason for result in results),
        iterations=np.array([result.iterations for result in results], dtype=np.int64),
        evaluations=np.array([result.evaluations for result in results], dtype=np.int64),
        seconds=np.array([result.seconds for result in results], dtype=float),
        history=tuple(
            {name: np.asarray(getattr(result.history, name), dtype=float) for name in HISTORY}
            for result in results
        ),
        **rest,
    )


def write_run(path: str | Path, run: Run, *, comm: MPI.Comm = MPI.COMM_WORLD) -> Path:
    """Write the record as one file, whole or not at all; collective.

    Raises:
        InputError: the file cannot be written; an older file of that name is then left as it was.
    """
    path = Path(path)
    error: Exception | None = None
    if comm.rank == 0:
        try:
            _replace(path, run)
        except OSError as failure:
            error = InputError(f"The run cannot be written to {path}: {failure}")
    agree(comm, error)
    return path


def _replace(path: Path, run: Run) -> None:
    """Write beside the file, flush to the disk, then move over it."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        with h5py.File(name, "w") as file:
            _fill(file, run)
        with open(name, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def _fill(file: h5py.File, run: Run) -> None:
    """Put the record into an open file."""
    file.attrs["format"] = FORMAT
    for name, value in run.provenance.items():
        file.attrs[name] = value
    file.create_dataset("design", data=run.design, compression="gzip", fletcher32=True)
    front = file.create_group("front")
    for name in ("values", "dominated", "knee", "hypervolume", "reference", "ideal", "nadir"):
        front[name] = getattr(run, name)
    front["names"] = np.array(run.objectives, dtype=h5py.string_dtype())
    front["labels"] = np.array(run.labels, dtype=h5py.string_dtype())
    for i in range(len(run.design)):
        point = file.create_group(f"points/{i}", track_order=True)
        point.attrs["reason"] = run.reasons[i]
        point.attrs["feasible"] = bool(run.feasible[i])
        point.attrs["iterations"] = int(run.iterations[i])
        point.attrs["evaluations"] = int(run.evaluations[i])
        point.attrs["seconds"] = float(run.seconds[i])
        names = np.array(list(run.constraints[i]), dtype=h5py.string_dtype())
        point["names"] = names
        point["constraints"] = np.array(list(run.constraints[i].values()), dtype=float)
        for name, values in run.history[i].items():
            file[f"history/{i}/{name}"] = values


def read_run(path: str | Path) -> Run:
    """Read a file that `write_run` wrote.

    `density.update(read_run(path).design[k])` brings a design back; it belongs to the mesh whose
    `domain.fingerprint` is `provenance["mesh fingerprint"]`.

    Raises:
        InputError: no such file, not a run's file, or a damaged one.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file {path}; a run writes `run.h5` into its results folder.")
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise InputError(f"{path} is an HDF5 file, but not one that a run wrote.")
            return _read(file)
    except (OSError, KeyError, ValueError, RuntimeError) as failure:
        if isinstance(failure, InputError):
            raise
        raise InputError(
            f"{path} is not a whole file of a run ({failure}); take another or run again."
        ) from failure


def _read(file: h5py.File) -> Run:
    """The record in an open file."""
    front = file["front"]
    design = file["design"][:]
    points = [file[f"points/{i}"] for i in range(len(design))]
    return Run(
        design=design,
        objectives=tuple(front["names"].asstr()[:]),
        values=front["values"][:],
        labels=tuple(front["labels"].asstr()[:]),
        dominated=front["dominated"][:],
        knee=int(front["knee"][()]),
        hypervolume=float(front["hypervolume"][()]),
        reference=front["reference"][:],
        ideal=front["ideal"][:],
        nadir=front["nadir"][:],
        constraints=tuple(
            dict(zip(point["names"].asstr()[:], map(float, point["constraints"][:]), strict=True))
            for point in points
        ),
        feasible=np.array([point.attrs["feasible"] for point in points], dtype=bool),
        reasons=tuple(str(point.attrs["reason"]) for point in points),
        iterations=np.array([point.attrs["iterations"] for point in points], dtype=np.int64),
        evaluations=np.array([point.attrs["evaluations"] for point in points], dtype=np.int64),
        seconds=np.array([point.attrs["seconds"] for point in points], dtype=float),
        history=tuple(
            {name: file[f"history/{i}/{name}"][:] for name in HISTORY} for i in range(len(points))
        ),
        provenance={name: str(value) for name, value in file.attrs.items() if name != "format"},
    )
