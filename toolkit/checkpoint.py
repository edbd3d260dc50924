"""One HDF5 file a run: `run.h5` holds the designs, the histories, the front and where it is from.

    /design                   (points, cells), mesh-file order, double precision
    /front/values             (points, objectives); beside it names, labels, dominated, knee,
                              reference, ideal, nadir, hypervolume
    /points/<i>/constraints   values by name, with feasible, reason, iterations, evaluations
    /history/<i>/objective …  one array for each quantity of the point's history
    attributes                mesh fingerprint, versions, command line, ranks, date, options

The design vector is in mesh-file order and whole, so a run written on eight ranks is read on one.
Rank 0 writes; there is always one whole file (`sealed`). Nothing in it is executed when it is read.
`write_memory` puts what an optimizer needs to go on into a file of its own: order, vectors/… in
that order, numbers/….
"""

from __future__ import annotations

import sys
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

from toolkit.errors import InputError, agree, together
from toolkit.memory import Memory
from toolkit.sealed import opened, sealed
from toolkit.slices import Slices

if TYPE_CHECKING:
    from toolkit.density import Density
    from toolkit.optimize import Result
    from toolkit.pareto import Front

type Array = NDArray[np.float64]

FORMAT = "implant-toolkit run"
BLOCK = 1 << 20  # variables that are read at a time
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
        minima: what each point's minimisation has reached, (points,).
        dominated: whether another point is better in every objective, (points,).
        knee: the knee point's number, -1 where there is none.
        hypervolume: with respect to `reference`, NaN for a single minimisation.
        reference, ideal, nadir: points in the space of objectives, (objectives,).
        constraints: for each point the constraints' values by name.
        feasible: whether each point meets its constraints, (points,).
        reasons, messages: why each point's minimisation ended, in a word and in a sentence.
        iterations, evaluations: counts for each point, (points,).
        seconds: wall time of each point, (points,).
        history: for each point its history, arrays by name.
        provenance: mesh fingerprint, versions, command line, ranks, date and options, by name.
    """

    design: Array
    objectives: tuple[str, ...]
    values: Array
    labels: tuple[str, ...]
    minima: Array
    dominated: NDArray[np.bool_]
    knee: int
    hypervolume: float
    reference: Array
    ideal: Array
    nadir: Array
    constraints: tuple[dict[str, float], ...]
    feasible: NDArray[np.bool_]
    reasons: tuple[str, ...]
    messages: tuple[str, ...]
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


def from_points(
    results: Sequence[Result],
    over: Density,
    objectives: Sequence[str],
    values: Sequence[Array],
    labels: Sequence[str],
) -> Run:
    """The points of a front that is not done: nothing is known of the front as a whole."""
    nothing = np.full(len(objectives), np.nan)
    return _record(
        results,
        over,
        objectives=tuple(objectives),
        values=np.array(values, dtype=float),
        labels=tuple(labels),
        dominated=np.zeros(len(results), dtype=bool),
        knee=-1,
        hypervolume=float("nan"),
        reference=nothing,
        ideal=nothing,
        nadir=nothing,
        provenance=provenance(
            over, options={"seconds": f"{sum(result.seconds for result in results):.1f}"}
        ),
    )


def _settings(front: Front) -> dict[str, object]:
    """How a front was computed: seconds, and all ranks where it was in groups."""
    found: dict[str, object] = {"seconds": f"{front.seconds:.1f}"}
    if front.groups is not None:
        found |= {"ranks": front.groups.world.size, "groups": front.groups.number}
    return found


def from_result(result: Result, over: Density, *, name: str = "objective") -> Run:
    """A single minimisation as a front of one point."""
    return from_points([result], over, [name], [np.array([result.objective])], ["minimum"])


def _record(results: Sequence[Result], over: Density, **rest: Any) -> Run:
    """The part of the record that comes from the points' results."""
    design = np.array([result.design for result in results], dtype=float)
    if design.shape != (len(results), over.size):
        raise InputError(f"A design has {design.shape[1:]} entries; the mesh has {over.size} cells")
    return Run(
        design=design,
        minima=np.array([result.objective for result in results], dtype=float),
        constraints=tuple(
            {name: float(value) for name, value in result.constraints.items()} for result in results
        ),
        feasible=np.array([result.feasible for result in results], dtype=bool),
        reasons=tuple(result.reason for result in results),
        messages=tuple(result.message for result in results),
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
            with sealed(path) as file:
                _fill(file, run)
        except OSError as failure:
            error = InputError(f"The run cannot be written to {path}: {failure}")
    agree(comm, error)
    return path


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
        point.attrs["message"] = run.messages[i]
        point.attrs["minimum"] = float(run.minima[i])
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
    with opened(path) as file:
        if file.attrs.get("format") != FORMAT:
            raise InputError(f"{path} is an HDF5 file, but not one that a run wrote.")
        return _read(file)


def write_memory(path: str | Path, memory: Memory) -> Path:
    """Put a memory into a file, whole or not at all; collective.

    Rank 0 writes the ranks' slices as they come, one at a time, with the numbers of their
    variables; no rank has more than its own and one other.

    Raises:
        InputError: the file cannot be written; an older file of that name is then left as it was.
    """
    path, slices = Path(path), memory.slices
    arrays: dict[str, NDArray[Any]] = {"order": slices.owned}
    arrays |= {f"vectors/{name}": own for name, own in memory.vectors.items()}
    counts = slices.comm.allgather(len(slices.owned))
    error: Exception | None = None
    if slices.comm.rank == 0:
        try:
            with sealed(path) as file:
                for name, value in memory.numbers.items():
                    file[f"numbers/{name}"] = value
                for name, own in arrays.items():
                    data = file.create_dataset(name, (slices.size,), own.dtype)
                    data[: counts[0]] = own
                    _collect(slices.comm, name, counts, data)
        except OSError as failure:
            error = InputError(f"The memory cannot be written to {path}: {failure}")
        finally:
            for rank in range(1, slices.comm.size):
                slices.comm.send(None, dest=rank)
    else:
        while (asked := slices.comm.recv(source=0)) is not None:
            slices.comm.Send(np.ascontiguousarray(arrays[asked]), dest=0)
    agree(slices.comm, error)
    return path


def _collect(comm: MPI.Comm, name: str, counts: list[int], data: h5py.Dataset) -> None:
    """Ask the other ranks for their slices, one after the other, and write them; on rank 0."""
    for rank, end in enumerate(np.cumsum(counts)[1:], start=1):
        comm.send(name, dest=rank)
        part = np.empty(counts[rank], data.dtype)
        comm.Recv(part, source=rank)
        data[end - counts[rank] : end] = part


def read_memory(path: str | Path, slices: Slices) -> Memory:
    """The memory in a file, on any number of ranks; collective.

    Each rank reads through the file and keeps its own variables.

    Args:
        path: what `write_memory` wrote.
        slices: who holds which variable now, `density.slices`.

    Raises:
        InputError: no such file, one without a memory, or one of another number of variables.
    """
    with together(slices.comm), opened(Path(path)) as file:
        return _recall(file, slices)


def _recall(group: h5py.Group, slices: Slices) -> Memory:
    size = len(group["order"])
    if size != slices.size:
        raise InputError(f"The memory has {size} variables and the design {slices.size}.")
    vectors = {name: np.empty(len(slices.owned)) for name in group["vectors"]}
    sorting = np.argsort(slices.owned)
    known = slices.owned[sorting]
    for begin in range(0, size, BLOCK):
        block = slice(begin, begin + BLOCK)
        order = group["order"][block]
        place = np.searchsorted(known, order)
        mine = place < len(known)
        mine[mine] = known[place[mine]] == order[mine]
        for name, own in vectors.items():
            own[sorting[place[mine]]] = group["vectors"][name][block][mine]
    numbers = {name: np.array(value) for name, value in group["numbers"].items()}
    return Memory(slices, vectors, numbers)


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
        minima=np.array([point.attrs["minimum"] for point in points], dtype=float),
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
        messages=tuple(str(point.attrs["message"]) for point in points),
        iterations=np.array([point.attrs["iterations"] for point in points], dtype=np.int64),
        evaluations=np.array([point.attrs["evaluations"] for point in points], dtype=np.int64),
        seconds=np.array([point.attrs["seconds"] for point in points], dtype=float),
        history=tuple(
            {name: file[f"history/{i}/{name}"][:] for name in HISTORY} for i in range(len(points))
        ),
        provenance={name: str(value) for name, value in file.attrs.items() if name != "format"},
    )
