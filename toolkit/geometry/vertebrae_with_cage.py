"""Two lumbar vertebral bodies with a cage between them, or the blocks of a test in their place.

The cage is that of `toolkit.geometry.spinal_cage` in tetrahedra; it stands upright on the endplates
of the bodies, `toolkit.geometry.vertebra`, and bone graft fills its window. Lordosis and the rest
of the disc are left out.

Sizes: a body of 48 × 34 mm, 27 mm high, about that of L4 (Panjabi et al. 1992, Spine 17, 299–306).
Shell and endplates are 1 mm here; on sections they measure about 0.35 mm, and at least twice that
in CT (Silva, Wang, Keaveny & Hayes 1994, J. Orthop. Res. 12, 409–414), so their modulus may have to
be lowered in proportion.

With ``blocks`` the cage stands between two rectangular blocks, in the manner of ASTM F2077, which
compresses cages between blocks of steel (static) or polyacetal (fatigue); the window is empty then.
The model runs on one rank.
"""

from __future__ import annotations

import gmsh

from toolkit.geometry.dimensions import require_positive, require_resolved, require_within
from toolkit.geometry.pieces import (
    boundary,
    carved,
    centres,
    fragment,
    generate,
    interface,
    name,
    sheet,
)
from toolkit.geometry.spinal_cage import check_cage, contour
from toolkit.geometry.vertebra import Vertebra, wire

__all__ = ["vertebrae_with_cage"]

type Pieces = dict[str, set[int]]

MARGIN = 2.0  # between the rims of cage and endplate [mm]
SIDES = ("upper", "lower")


def vertebrae_with_cage(
    *,
    size: float,
    blocks: bool = False,
    width: float = 48.0,
    depth: float = 34.0,
    body_height: float = 27.0,
    waist: float = 3.0,
    shell: float = 1.0,
    endplate: float = 1.0,
    cage_length: float = 38.1,
    cage_width: float = 25.4,
    cage_height: float = 9.9,
    cage_wall: float = 6.0,
) -> None:
    """Build and mesh the segment in the current gmsh model: tetrahedra, millimetres.

    The cage stands on z = 0; x runs from one side to the other, y from posterior to anterior.
    Physical names: volumes ``upper vertebra`` and ``lower vertebra``, all bone of each;
    ``endplates``, ``cortical`` and ``cancellous``, the same bone by tissue; ``cage`` and
    ``graft window``. With blocks ``upper block``, ``lower block`` and ``cage`` alone. Surfaces
    ``superior`` and ``inferior``, the outermost ends, and ``interface``, between cage and
    vertebrae or blocks.

    Args:
        size: edge length; shell and endplates have one cell across.
        blocks: test blocks instead of vertebrae, without waist, shell and endplates.
        width: of bodies or blocks, along x.
        depth: of bodies or blocks, along y.
        body_height: of each body or block.
        waist: what the bodies are drawn in by at half their height, on each side.
        shell: thickness of the cortical shell.
        endplate: thickness of the endplates.
        cage_length: length of `spinal_cage`, along x.
        cage_width: its width, along y.
        cage_height: its height.
        cage_wall: its wall.

    Raises:
        ValueError: a dimension is not positive, the cage does not stand on the endplates, the
            bodies are out of proportion, or ``size`` puts fewer than two cells across the wall,
            the window or the height of the cage.
    """
    ring = {"length": cage_length, "width": cage_width, "height": cage_height, "wall": cage_wall}
    check_cage(size=size, **ring)
    body = Vertebra(width, depth, body_height, waist, shell, endplate)
    _check(body, size=size, length=cage_length, across=cage_width)
    solids = _cage(**ring)
    if blocks:
        gmsh.model.occ.remove([(3, tag) for tag in solids.pop("graft window")], recursive=True)
        parts = _blocks(solids, body, cage_height)
    else:
        parts = _vertebrae(solids, body, cage_height)
    word = "block" if blocks else "vertebra"
    bodies = {side: parts[f"{side} {word}"] for side in SIDES}
    name(3, parts)
    surfaces = {
        "superior": _level(bodies["upper"], cage_height + body_height),
        "inferior": _level(bodies["lower"], -body_height),
        "interface": interface(parts["cage"], bodies["upper"] | bodies["lower"]),
    }
    name(2, surfaces)
    generate(size)


def _check(body: Vertebra, *, size: float, length: float, across: float) -> None:
    require_positive(**body._asdict())
    require_within("width", body.width, length + 2 * MARGIN, 90, why="the cage stands on it")
    require_within("depth", body.depth, across + 2 * MARGIN, 70, why="the cage stands on it")
    require_within("body_height", body.height, 10, 60, why="so high are lumbar bodies")
    require_within("waist", body.waist, 0.5, 0.15 * body.depth, why="bodies are slightly waisted")
    require_within("shell", body.shell, 0.3, 0.1 * body.depth, why="it is a shell")
    require_within("endplate", body.endplate, 0.3, 0.15 * body.height, why="it is a plate")
    require_resolved(size, cells=2, body_height=body.height)


def _cage(*, length: float, width: float, height: float, wall: float) -> dict[str, list[int]]:
    """The ring and what fills its window, on z = 0."""
    outer, window = (_prism(length / 2 - inset, width / 2 - inset, height) for inset in (0.0, wall))
    return {"cage": carved([outer], [window]), "graft window": [window]}


def _prism(a: float, b: float, height: float) -> int:
    """A right prism over a contour."""
    occ = gmsh.model.occ
    face = occ.addPlaneSurface([wire(contour(a, b), 0.0)])
    return int(next(tag for dim, tag in occ.extrude([(2, face)], 0, 0, height) if dim == 3))


def _blocks(solids: dict[str, list[int]], body: Vertebra, height: float) -> Pieces:
    """The pieces of cage and blocks."""
    for side, z in zip(SIDES, (height, -body.height), strict=True):
        corner = (-body.width / 2, -body.depth / 2, z)
        box = gmsh.model.occ.addBox(*corner, body.width, body.depth, body.height)
        solids[f"{side} block"] = [box]
    return fragment(solids, [])


def _vertebrae(solids: dict[str, list[int]], body: Vertebra, height: float) -> Pieces:
    """The pieces of cage, graft and bodies, and of the bodies by tissue."""
    sheets = []
    for side, z in zip(SIDES, (height, -body.height), strict=True):
        solids[f"{side} vertebra"] = [body.outer(z)]
        solids[f"{side} inside"] = [body.inner(z)]
        x, y = body.width, body.depth
        for level in (z + body.endplate, z + body.height - body.endplate):
            sheets.append(sheet((-x, -y, level), (x, -y, level), (x, y, level), (-x, y, level)))
    parts = fragment(solids, sheets)
    cancellous = parts.pop("upper inside") | parts.pop("lower inside")
    rest = (parts["upper vertebra"] | parts["lower vertebra"]) - cancellous
    middle = {"upper": height + body.height / 2, "lower": -body.height / 2}
    depth = body.height / 2 - body.endplate
    plates = {
        tag
        for tag, x in centres(rest).items()
        if min(abs(x[2] - z) for z in middle.values()) > depth
    }
    tissues = {"endplates": plates, "cortical": rest - plates, "cancellous": cancellous}
    return parts | tissues


def _level(pieces: set[int], z: float) -> set[int]:
    """The surfaces at a height that bound some pieces."""
    at = gmsh.model.occ.getCenterOfMass
    return {face for face in boundary(pieces) if abs(at(2, face)[2] - z) < 1e-6}
