"""The page that shows a run: plain HTML with its style and its pictures inside.

It loads nothing, neither from a network nor from beside it, so it can be mailed and archived; it
is laid out for a phone as for a desk and prints. Every word of the user's is escaped.
"""

from __future__ import annotations

import base64
import html
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit import pictures
from toolkit.checkpoint import Run
from toolkit.export import Grid
from toolkit.surface import Surface

if TYPE_CHECKING:
    from toolkit.density import Density
    from toolkit.functional import Constraint

type Array = NDArray[np.float64]


class Printable(NamedTuple):
    """The surface of the chosen design and how it was made."""

    surface: Surface
    file: str
    words: str


@dataclass
class Page:
    """What the report shows; filled step by step, pictures by file name.

    Attributes:
        folder: where everything is written.
        over: the density.
        run: the record of the run.
        fractions: mean physical density of each point.
        notes: what could not be made, in words.
        written: names of the files written by this run.
        chosen: number of the point whose states and surface are written.
        grey: whether that point's design is a graded lattice rather than 0/1.
        cell: the lattice's period that was asked for, if any.
        part: the named volume or volumes that are printed, None for the whole domain.
        printable: the surface, None for a plane domain.
        constraints: the user's constraints.
        marks: what the front's picture marks, None for a single minimisation.
        figures: captions of the script's own pictures by file name.
    """

    folder: Path
    over: Density
    run: Run
    fractions: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    written: set[str] = field(default_factory=set)
    chosen: int = 0
    grey: bool = False
    cell: float | None = None
    part: str | Sequence[str] | None = None
    printable: Printable | None = None
    constraints: tuple[Constraint, ...] = ()
    marks: pictures.Marks | None = None
    figures: dict[str, str] = field(default_factory=dict)

    def file(self, name: str) -> Path:
        """The path of a file that is about to be written, which the page will mention."""
        self.written.add(name)
        return self.folder / name

    @property
    def names(self) -> list[str]:
        """What the points are called: their number, from 1, and label."""
        if self.marks is None:
            return list(self.run.labels)
        labels = map(pictures.readable, self.run.labels)
        return [f"point {i + 1}: {label}" for i, label in enumerate(labels)]


CSS = """
:root { color-scheme: light; --ink: #22282d; --soft: #5d6870; --line: #dde2e5; --blue: #1f5f8b; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink); font: 16px/1.5 system-ui, -apple-system,
  "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.6rem 0 .7rem; padding-bottom: .3rem;
  border-bottom: 2px solid var(--blue); }
p { margin: .5rem 0; max-width: 46rem; } .soft { color: var(--soft); }
pre { background: #f5f7f8; padding: .9rem 1rem; overflow-x: auto; font-size: .82rem;
  line-height: 1.45; border-left: 3px solid var(--line); }
dl.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.2rem, 1fr));
  gap: .5rem; margin: 1.4rem 0; }
dl.facts div { border: 1px solid var(--line); padding: .5rem .7rem; }
dl.facts dt { color: var(--soft); font-size: .78rem; }
dl.facts dd { margin: 0; font-size: 1.15rem; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .88rem; }
th, td { padding: .36rem .55rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums; }
th { color: var(--soft); font-weight: 600; } .t { text-align: left; }
tr.knee { background: #fdf1ef; } tr.dominated td { color: var(--soft); }
.pass, .fail { font-weight: 700; font-size: .76rem; letter-spacing: .03em; }
.pass { color: #1c7c44; } .fail { color: #c0392b; }
figure { margin: 1rem 0; } .row img { min-width: 40rem; }
img { max-width: 100%; height: auto; display: block; margin: 0 auto; }
figcaption { color: var(--soft); font-size: .85rem; margin-top: .5rem; }
.note { border-left: 3px solid #d9822b; background: #fdf6ee; padding: .6rem .9rem; }
table.plain { width: auto; } table.plain td { white-space: normal; overflow-wrap: anywhere; }
@media print { main { padding: 0; } h2, figure { break-inside: avoid; } }
"""


def document(page: Page, grid: Grid) -> str:
    """The whole page, once every other file is written; on rank 0."""
    title, story = _problem()
    domain = page.over.domain
    shape = {"hexahedron": "hexahedra", "tetrahedron": "tetrahedra"}.get(
        grid.shape, grid.shape + "s"
    )
    kind = "Pareto front" if page.marks is not None else "Single minimisation"
    body = [
        f"<h1>{html.escape(title)}</h1>",
        f'<p class="soft">{kind} · {html.escape(Path(domain.source).name)}, '
        f"{domain.num_cells:,} {shape} · {html.escape(page.run.provenance['date'])}</p>",
        _facts(page),
        *(f'<p class="note">{html.escape(note)}</p>' for note in page.notes),
        f"<pre>{html.escape(story)}</pre>" if story else "",
    ]
    if page.marks is not None:
        body += ["<h2>Front</h2>", _picture(page, "front.png", _front_caption(page))]
    body += [
        f"<h2>{'Designs' if page.marks is not None else 'Design'}</h2>",
        _picture(page, "design.png", _design_caption(page)),
    ]
    body += [_points_table(page), *_constraints_section(page), *_printable_section(page)]
    if page.figures:
        body += ["<h2>Figures</h2>"]
        body += [_picture(page, name, caption) for name, caption in page.figures.items()]
    body += ["<h2>Convergence</h2>", _picture(page, "convergence.png", CONVERGENCE_CAPTION)]
    body += ["<h2>Files</h2>", _files_table(page), "<h2>Provenance</h2>", _provenance_table(page)]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{CSS}</style></head>\n<body><main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main></body></html>\n"
    )


CONVERGENCE_CAPTION = (
    "Left: change of the objective over the modulus of its first value. Right: the largest "
    "violation of a constraint over its scale. Dotted lines: the projection was sharpened."
)


def _problem() -> tuple[str, str]:
    """Title and mathematics of the script that runs: its docstring's first line and the rest."""
    text = (getattr(sys.modules.get("__main__"), "__doc__", None) or "").strip()
    first, _, rest = text.partition("\n")
    return first.strip().rstrip(".") or Path(sys.argv[0]).stem or "Results", textwrap.dedent(
        rest
    ).strip("\n")


def _number(value: float) -> str:
    """Four significant digits, as a table shows them."""
    return "—" if not np.isfinite(value) else f"{value:.4g}"


def _facts(page: Page) -> str:
    """The few numbers that say how the run went."""
    run = page.run
    facts: list[tuple[str, str]] = []
    if page.marks is not None:
        good = int(np.count_nonzero(~run.dominated))
        facts += [("points", f"{len(run.design)}"), ("non-dominated", f"{good}")]
        facts += [("hypervolume", _number(run.hypervolume)), ("knee", f"point {run.knee + 1}")]
    else:
        name, sign = pictures.shown(run.objectives[0])
        facts += [(name, _number(sign * run.values[0, 0])), ("ended", run.reasons[0])]
        facts += [("mean density", _number(page.fractions[0]))]
    seconds = float(run.provenance["seconds"])
    facts += [("evaluations", f"{int(run.evaluations.sum())}")]
    facts += [("time", f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min")]
    facts += [("ranks", run.provenance["ranks"])]
    cells = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"
        for name, value in facts
    )
    return f'<dl class="facts">{cells}</dl>'


def _picture(page: Page, name: str, caption: str) -> str:
    """A picture inside the page, if it was drawn."""
    if name not in page.written:
        return ""
    # Panels side by side keep their width; a phone scrolls them.
    panels = name == "convergence.png" or (name == "design.png" and page.marks is not None)
    data = base64.b64encode((page.folder / name).read_bytes()).decode("ascii")
    return (
        f'<figure><div class="wide{" row" if panels else ""}">'
        f'<img alt="{html.escape(caption.split(".")[0])}" src="data:image/png;base64,{data}"></div>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _front_caption(page: Page) -> str:
    """What the front's picture shows, with the reference of the hypervolume."""
    run = page.run
    reference = ", ".join(
        f"{name} {_number(sign * value)}"
        for (name, sign), value in zip(
            map(pictures.shown, run.objectives), run.reference, strict=True
        )
    )
    return (
        "Each point is one optimised design. The knee is the best compromise. "
        f"Hypervolume {_number(run.hypervolume)} with respect to {reference}."
    )


def _design_caption(page: Page) -> str:
    """What the designs' picture shows."""
    which = "The best design for each objective and the knee" if page.marks else "The design"
    if page.over.domain.dimension == 2:
        return f"{which}, dark where it is solid."
    if page.grey:
        return f"{which}: density by cell; a quarter is cut away to show the inside."
    return f"{which}: cells of density 0.5 and more; lines are the domain's edges."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], kinds: Sequence[str]) -> str:
    """A table whose cells are HTML already; columns headed "<…" hold text, to the left."""
    titles = "".join(
        f'<th class="t">{name[1:]}</th>' if name.startswith("<") else f"<th>{name}</th>"
        for name in head
    )
    left = [name.startswith("<") for name in head]
    lines = "".join(
        f'<tr class="{kind}">'
        + "".join(
            f'<td class="t">{cell}</td>' if text else f"<td>{cell}</td>"
            for cell, text in zip(row, left, strict=True)
        )
        + "</tr>"
        for row, kind in zip(rows, kinds, strict=True)
    )
    return f'<div class="wide"><table><thead><tr>{titles}</tr></thead>{lines}</table></div>'


def _points_table(page: Page) -> str:
    """Objectives and effort of each point."""
    run = page.run
    shown = [pictures.shown(name) for name in run.objectives]
    head = ["<point", *(html.escape(name) for name, _ in shown), "mean density"]
    head += ["<ended", "iterations", "evaluations"]
    rows, kinds = [], []
    for i, name in enumerate(page.names):
        remark = _remark(page, i)
        values = [_number(sign * v) for (_, sign), v in zip(shown, run.values[i], strict=True)]
        rows.append(
            [
                html.escape(name) + (f" <b>({remark})</b>" if remark else ""),
                *values,
                _number(page.fractions[i]),
                html.escape(run.reasons[i]),
                f"{run.iterations[i]}",
                f"{run.evaluations[i]}",
            ]
        )
        kinds.append("knee" if remark == "knee" else "dominated" if remark else "")
    return _table(head, rows, kinds)


def _remark(page: Page, i: int) -> str:
    """What is special about a point."""
    if page.marks is not None and i == page.run.knee:
        return "knee"
    if not page.run.feasible[i]:
        return "infeasible"
    return "dominated" if page.run.dominated[i] else ""


def _constraints_section(page: Page) -> list[str]:
    """For each point every constraint that it was made under, and whether it holds."""
    run = page.run
    rows = []
    known = {constraint.name: constraint for constraint in page.constraints}
    for i, label in enumerate(page.names):
        for k, (name, value) in enumerate(run.constraints[i].items()):
            good = bool(run.feasible[i])
            if name in known:
                good = _holds(known[name], value, run.history[i]["constraints"], k)
            words = pictures.readable(name)
            shown = -value if name.startswith("-") and words != name else value
            mark = '<span class="pass">PASS</span>' if good else '<span class="fail">FAIL</span>'
            first = html.escape(label) if k == 0 else ""
            rows.append([first, html.escape(words), _number(shown), mark])
    if not rows:
        return []
    head = ["<point", "<constraint", "value", "holds"]
    return ["<h2>Constraints</h2>", _table(head, rows, [""] * len(rows))]


def _holds(constraint: Constraint, value: float, history: Array, k: int) -> bool:
    """Whether a value meets its bound to 1e-6 of the constraint's scale."""
    first = abs(float(history[0, k])) if history.ndim == 2 and history.shape[1] > k else 0.0
    scale = max(abs(constraint.bound), first)
    return bool(constraint.sense * (value - constraint.bound) <= 1e-6 * scale)


def _printable_section(page: Page) -> list[str]:
    """The part to print and what was checked on it."""
    if page.printable is None:
        return []
    surface, file, words = page.printable
    deviation = 100 * (surface.volume / surface.expected - 1)
    verdict = (
        '<span class="pass">PASS</span>' if surface.watertight else '<span class="fail">FAIL</span>'
    )
    facts = [
        ("watertight", verdict),
        ("volume", f"{_number(surface.volume)} ({deviation:+.2f} % of what the density asks for)"),
        ("bodies", f"{surface.components}"),
        ("triangles", f"{len(surface.triangles):,}"),
    ]
    rows = "".join(f'<tr><td class="t">{n}</td><td class="t">{v}</td></tr>' for n, v in facts)
    caption = f"{page.names[page.chosen]}: {words}."
    return [
        "<h2>Part to print</h2>",
        _picture(page, Path(file).with_suffix(".png").name, caption),
        f'<table class="plain">{rows}</table>',
        f'<p class="soft">{file}; lengths are in the unit of the mesh.</p>',
    ]


FILES = {
    "run.h5": "designs, histories, front and provenance; toolkit.checkpoint.read_run reads it",
    "front.csv": "the table of points with all digits",
    "designs.vtkhdf": "density of every point, one time step each (ParaView, PyVista)",
    "knee.vtkhdf": "density and states of the knee",
    "design.vtkhdf": "density and states of the design",
    "lattice.stl": "the graded lattice, binary STL",
    "solid.stl": "the solid part, binary STL",
}


def _files_table(page: Page) -> str:
    """The data files of this run."""
    rows = "".join(
        f'<tr><td class="t">{name}</td><td class="t">{words}</td></tr>'
        for name, words in FILES.items()
        if name in page.written
    )
    return f'<table class="plain">{rows}</table>'


def _provenance_table(page: Page) -> str:
    """Where the run comes from."""
    rows = "".join(
        f'<tr><td class="t">{html.escape(name)}</td><td class="t">{html.escape(value)}</td></tr>'
        for name, value in page.run.provenance.items()
    )
    return f'<table class="plain">{rows}</table>'
