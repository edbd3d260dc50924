"""A run's results folder: data, tables, fields, surfaces, pictures, and one page that shows them.

    run.h5          designs, histories, front and provenance (toolkit.checkpoint)
    front.csv       a row for each point
    designs.vtkhdf  density of every point, a step each
    knee.vtkhdf     density and states of the knee point ("design.vtkhdf" of a single minimisation)
    lattice.stl     a graded design as a lattice whose local porosity follows the density, or
    solid.stl       the solid part of a 0/1 design (3D only)
    *.png           front, designs, convergence, the part to print
    report.html     all of it on one page, which loads nothing from elsewhere

Rank 0 writes; fields are gathered and states solved on all ranks, so both functions here are
collective and what fails on rank 0 is raised on every rank. The design is put back at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from toolkit import pictures
from toolkit.checkpoint import from_front, from_result, write_run
from toolkit.errors import InputError, ToolkitError, agree, together
from toolkit.export import Grid, gather_mesh, write_csv, write_vtkhdf
from toolkit.functional import Functional
from toolkit.page import Page, Printable, document
from toolkit.surface import (
    lattice_surface,
    part_of,
    smallest_cell,
    solid_surface,
    within,
    write_stl,
)

if TYPE_CHECKING:
    from toolkit.density import Density
    from toolkit.functional import Constraint
    from toolkit.optimize import Result
    from toolkit.pareto import Front

type Array = NDArray[np.float64]

FILES = (  # of an earlier run, which must not stand beside this one's; run.h5 is replaced at once
    *("front.csv", "designs.vtkhdf", "knee.vtkhdf", "design.vtkhdf", "lattice.stl", "solid.stl"),
    *("front.png", "design.png", "convergence.png", "lattice.png", "solid.png", "report.html"),
)
GREY = 0.5  # a design whose greyness exceeds this is a graded lattice, not a blurred 0/1 design


def write(
    front: Front,
    folder: str | Path,
    *,
    cell: float | None = None,
    part: str | Sequence[str] | None = None,
    figures: Mapping[str, str] | None = None,
) -> Path:
    """Write a front's results; collective.

    Args:
        front: the front.
        folder: made if it is not there; files of earlier results in it are replaced.
        cell: period of the lattice that the design is written as, in the mesh's unit of length;
            without, a graded one has twice the filter's radius, so that the density varies little
            in it.
        part: the named volume or volumes that are written to print; else all of the domain.
        figures: pictures that the script has drawn into the folder, shown in the report: caption
            by the name of the PNG file.

    Returns:
        the folder.

    Raises:
        InputError: the folder cannot be made or written, or a figure is not in it.
    """
    over = front.over
    page = Page(
        _prepare(folder, over.domain.comm),
        over,
        from_front(front),
        chosen=front.knee,
        constraints=tuple(front.constraints),
        cell=cell,
        part=part,
        figures=dict(figures or {}),
    )
    _check_figures(page)
    write_run(page.file("run.h5"), page.run, comm=over.domain.comm)
    functionals = [*front.functionals, *(c.functional for c in front.constraints)]
    densities = _write_fields(page, functionals, chosen_file="knee.vtkhdf")
    write_csv(page.file("front.csv"), front, fractions=page.fractions)
    page.marks = pictures.Marks(page.run.dominated, front.knee, getattr(front, "baseline", None))
    _write_rest(page, densities)
    return page.folder


def write_result(
    result: Result,
    over: Density,
    folder: str | Path,
    *,
    name: str = "objective",
    functionals: Functional | Sequence[Functional] = (),
    constraints: Sequence[Constraint] = (),
    part: str | Sequence[str] | None = None,
    figures: Mapping[str, str] | None = None,
) -> Path:
    """Write the results of a single minimisation; collective.

    Args:
        result: what `minimize` returned.
        over: the density that it was minimised over.
        folder: made if it is not there.
        name: what the objective is called.
        functionals: functionals whose states are written with the density.
        constraints: the constraints, to say of each whether it holds.
        part: the named volume or volumes that are written to print; else all of the domain.
        figures: pictures that the script has drawn into the folder, shown in the report: caption
            by the name of the PNG file.

    Returns:
        the folder.

    Raises:
        InputError: the folder cannot be made or written, or a figure is not in it.
    """
    page = Page(
        _prepare(folder, over.domain.comm),
        over,
        from_result(result, over, name=name),
        constraints=tuple(constraints),
        part=part,
        figures=dict(figures or {}),
    )
    _check_figures(page)
    write_run(page.file("run.h5"), page.run, comm=over.domain.comm)
    given = [functionals] if isinstance(functionals, Functional) else functionals
    every = [*given, *(c.functional for c in constraints)]
    densities = _write_fields(page, every, chosen_file="design.vtkhdf")
    _write_rest(page, densities)
    return page.folder


def _prepare(folder: str | Path, comm: MPI.Comm) -> Path:
    """Make the folder and try to write into it; collective."""
    folder = Path(folder)
    error: Exception | None = None
    if comm.rank == 0:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / ".probe"
            probe.write_bytes(b"")
            probe.unlink()
            for name in FILES:
                (folder / name).unlink(missing_ok=True)
        except OSError as failure:
            error = InputError(
                f"Results cannot be written to the folder {folder}: {failure}. Give another folder."
            )
    agree(comm, error)
    return folder


def _check_figures(page: Page) -> None:
    """Refuse figures that are not in the folder; collective."""
    with together(page.over.domain.comm):
        for name in page.figures if page.over.domain.comm.rank == 0 else ():
            if not (page.folder / name).is_file():
                raise InputError(
                    f"The figure '{name}' is not in the folder {page.folder}. Draw it there before "
                    "the results are written."
                )
    for name in page.figures:
        page.file(name)


def _write_fields(
    page: Page, functionals: Iterable[Functional], *, chosen_file: str
) -> list[Array]:
    """Write densities and the chosen point's states; the physical density of every point."""
    over, domain = page.over, page.over.domain
    before = over.vector
    densities, designs = [], []
    for variables in page.run.design:
        over.update(variables)
        designs.append(_cells(over, over.value))
        densities.append(_cells(over, over.physical))
        page.fractions.append(_mean(over, densities[-1]))
    if len(densities) > 1:
        steps = [
            {"density": density, "design": design}
            for density, design in zip(densities, designs, strict=True)
        ]
        times = [float(i + 1) for i in range(len(steps))]
        write_vtkhdf(page.file("designs.vtkhdf"), domain, steps, times=times)
    over.update(page.run.design[page.chosen])
    page.grey = page.cell is not None or over.greyness() > GREY
    fields: dict[str, Array | fem.Function] = {
        "density": densities[page.chosen],
        "design": designs[page.chosen],
    }
    fields |= _states(page, functionals)
    write_vtkhdf(page.file(chosen_file), domain, fields)
    over.update(before)
    return densities


def _states(page: Page, functionals: Iterable[Functional]) -> dict[str, fem.Function]:
    """The solved states of some functionals by name; a note for each that cannot be solved."""
    states = {state.name: state for functional in functionals for state in functional.states}
    solved = {}
    for name, state in states.items():
        try:
            state.solve()
        except ToolkitError as failure:
            page.notes.append(f"The state {name} is missing from the fields: {failure}")
        else:
            solved[name] = state
    return solved


def _cells(over: Density, function: fem.Function) -> Array:
    """Values of a cell-wise Function in mesh-file order, on every rank; collective."""
    domain = over.domain
    return domain.gather_cells(function.x.array[domain.cell_dofs[: len(domain.cells)]])


def _mean(over: Density, density: Array) -> float:
    """Mean of a density over the domain; collective."""
    domain = over.domain
    local = float(domain.cell_volumes @ density[domain.cells])
    return float(domain.comm.allreduce(local)) / domain.volume


def _write_rest(page: Page, densities: list[Array]) -> None:
    """Surface, pictures and page; collective."""
    domain = page.over.domain
    if domain.dimension == 3:
        try:
            page.printable = _write_surface(page, densities[page.chosen])
        except ToolkitError as failure:
            page.notes.append(f"No surface to print was written: {failure}")
    grid = gather_mesh(domain)
    inside = None if page.part is None else within(domain, page.part)
    with together(domain.comm):
        if grid is not None:
            try:
                _write_pictures(page, grid, densities, inside)
                text = document(page, grid)
                (page.folder / "report.html").write_text(text, encoding="utf-8")
            except OSError as failure:
                raise InputError(
                    f"The report cannot be written to {page.folder}: {failure}"
                ) from failure


def _write_surface(page: Page, density: Array) -> Printable:
    """The lattice or the solid of the chosen design as STL; collective."""
    over, domain = page.over, page.over.domain
    if page.grey:
        cell = page.cell or max(_default_cell(over), 1.01 * smallest_cell(domain))
        surface = lattice_surface(domain, density, cell=cell, region=page.part)
        file = "lattice.stl"
        words = f"gyroid sheets of period {cell:.3g} whose local volume fraction is the density"
    else:
        surface, file = solid_surface(domain, density, region=page.part), "solid.stl"
        words = "the cells of density 0.5 and more, smoothed at equal volume"
    write_stl(page.file(file), surface, domain)
    if not surface.watertight:
        page.notes.append(f"{file} is not watertight: repair it before printing.")
    return Printable(surface, file, words)


def _default_cell(over: Density) -> float:
    """Twice the filter's radius; without a filter four mean cell sizes."""
    domain = over.domain
    return 2 * over.radius if over.radius else 4 * float(np.cbrt(domain.volume / domain.num_cells))


def _write_pictures(
    page: Page, grid: Grid, densities: list[Array], inside: NDArray[np.bool_] | None
) -> None:
    """All pictures, on rank 0; designs without what is not inside the part to print."""
    run = page.run
    if inside is not None:
        grid, densities = part_of(grid, inside), [density[inside] for density in densities]
    if page.marks is not None:
        pictures.front_figure(page.file("front.png"), run.objectives, run.values, page.marks)
    names = [f"point {i + 1}" for i in range(len(densities))] if page.marks else ["objective"]
    pictures.convergence_figure(page.file("convergence.png"), run.history, names)
    missing = pictures.missing_renderer() if page.over.domain.dimension == 3 else None
    if missing is not None:
        page.notes.append(missing)
        return
    shown = _points_to_show(page)
    pictures.design_figure(
        page.file("design.png"),
        grid,
        [densities[i] for i in shown],
        [page.names[i] + (" (knee)" if page.marks and i == run.knee else "") for i in shown],
        grey=page.grey,
    )
    if page.printable is not None:
        picture = Path(page.printable.file).with_suffix(".png").name
        pictures.surface_figure(page.file(picture), page.printable.surface)


def _points_to_show(page: Page) -> list[int]:
    """The best point for each objective and the knee, along the first objective."""
    if page.marks is None:
        return [0]
    good = np.flatnonzero(~page.run.dominated)
    good = good if len(good) else np.arange(len(page.run.values))
    ends = good[np.argmin(page.run.values[good], axis=0)]
    return sorted({*map(int, ends), page.run.knee}, key=lambda i: float(page.run.values[i, 0]))
