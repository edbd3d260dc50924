"""A fractured tibial shaft with a locking plate on its medial side.

    bone     { (x/a)² + (y/b)² < 1 }  without  { (x/(a − c))² + (y/(b − c))² < 1 },  |z| > g/2
    callus   { (x/a)² + (y/b)² < 1,  |z| < g/2 }

A straight tube of elliptic section, of cortical thickness c, is broken across in the middle; callus
fills the gap g, also where the canal runs. The plate is flat, has round ends and stands off the
bone, as locking plates may; its screws are threaded into the plate, pass both cortices and are
round cylinders of their core diameter, flush with the plate's face. Holes without screws are left
out.

Sizes are typical ones: a shaft of 24 × 28 mm with a cortex of 5 mm, and a narrow plate for large
fragments with locking screws of 5 mm, whose core is 4.4 mm. The shaft of a tibia is nearer to a
triangle than to an ellipse. The model runs on one rank.
"""

from __future__ import annotations

import gmsh

from toolkit.geometry.dimensions import require_positive, require_resolved, require_within
from toolkit.geometry.pieces import boundary, carved, fragment, generate, interface, name

__all__ = ["tibia_with_plate"]

LAST = "the last screws are in the shaft"
TIP = 1.5  # what a screw's tip stands out of the far cortex [mm]


def tibia_with_plate(
    *,
    size: float,
    plate_size: float | None = None,
    length: float = 180.0,
    width: float = 24.0,
    depth: float = 28.0,
    cortex: float = 5.0,
    gap: float = 3.0,
    plate_width: float = 14.0,
    plate_thickness: float = 4.5,
    standoff: float = 2.0,
    screws: int = 3,
    spacing: float = 18.0,
    working_length: float = 36.0,
    screw_diameter: float = 4.4,
) -> None:
    """Build and mesh the shaft in the current gmsh model: tetrahedra, millimetres.

    The gap's middle is the origin; x is medial, where the plate is, y anterior, z up the shaft.
    Physical names: volumes ``bone``, ``marrow``, ``callus``, ``plate`` and ``screws``; surfaces
    ``proximal`` and ``distal``, the ends of the bone, and ``interface``, between screws and bone.

    Args:
        size: edge length; in the screws at most half their diameter, so about octagons.
        plate_size: edge length in the plate, where it is to be finer.
        length: of the shaft.
        width: of the bone along x.
        depth: of the bone along y.
        cortex: thickness of the bone's wall.
        gap: of the fracture.
        plate_width: of the plate, along y.
        plate_thickness: along x.
        standoff: between bone and plate, where they are nearest.
        screws: number of screws in each fragment.
        spacing: between screws of a fragment.
        working_length: between the two screws next to the gap.
        screw_diameter: of the screws' core.

    Raises:
        ValueError: a dimension is not positive, there is no screw, the parts do not fit each other,
            or ``size`` puts fewer than one cell across the cortex or the plate.
    """
    fine = size if plate_size is None else min(size, plate_size)
    _check(
        size=size,
        plate_size=fine,
        length=length,
        width=width,
        depth=depth,
        cortex=cortex,
        gap=gap,
        plate_width=plate_width,
        plate_thickness=plate_thickness,
        standoff=standoff,
        spacing=spacing,
        working_length=working_length,
        screw_diameter=screw_diameter,
    )
    if screws < 1:
        raise ValueError(f"screws = {screws} hold no plate. Give at least 1 in each fragment.")
    reach = working_length / 2 + (screws - 1) * spacing
    require_within("length", length, 2 * reach + 3 * screw_diameter, 500, why=LAST)
    places = [side * (working_length / 2 + i * spacing) for side in (-1, 1) for i in range(screws)]
    face = width / 2 + standoff + plate_thickness
    pins = [_screw(face, z, face + width / 2 + TIP, screw_diameter / 2) for z in places]
    ends = ((-length / 2, -gap / 2), (gap / 2, length / 2))
    canal = (width - 2 * cortex, depth - 2 * cortex)
    plate = _plate(face, plate_thickness, plate_width, reach + plate_width / 2)
    solids = {
        "shaft": carved([_cylinder(width, depth, *z) for z in ends], pins),
        "marrow": carved([_cylinder(*canal, *z) for z in ends], pins),
        "callus": [_cylinder(width, depth, -gap / 2, gap / 2)],
        "plate": carved([plate], pins),
        "screws": pins,
    }
    parts = fragment(solids, [])
    parts["bone"] = parts.pop("shaft") - parts["marrow"]
    name(3, parts)
    name(2, _surfaces(parts, length / 2))
    generate(size, (screw_diameter / 2, parts["screws"]), (fine, parts["plate"]))


def _check(**given: float) -> None:
    require_positive(**given)
    narrow = min(given["width"], given["depth"])
    fits = {
        "cortex": (1, 0.4 * narrow, "there is a wall and a canal"),
        "plate_width": (2 * given["screw_diameter"], given["depth"], "holes and bone are wider"),
        "screw_diameter": (1.5, 0.3 * narrow, "a screw does not burst the bone"),
        "spacing": (1.5 * given["screw_diameter"], given["length"], "screws stand apart"),
        "gap": (0.5, given["working_length"] - 2 * given["screw_diameter"], "screws are in bone"),
    }
    for word, (low, high, why) in fits.items():
        require_within(word, given[word], low, high, why=why)
    thin = {word: given[word] for word in ("cortex", "plate_thickness")}
    require_resolved(given["size"], cells=1, **thin)


def _cylinder(width: float, depth: float, bottom: float, top: float) -> int:
    """An elliptic cylinder along z."""
    occ = gmsh.model.occ
    wide = width >= depth
    axes = (width / 2, depth / 2) if wide else (depth / 2, width / 2)
    along = [1.0, 0, 0] if wide else [0, 1.0, 0]
    disc = occ.addDisk(0, 0, bottom, *axes, zAxis=[0, 0, 1], xAxis=along)
    solid = occ.extrude([(2, disc)], 0, 0, top - bottom)
    return int(next(tag for dim, tag in solid if dim == 3))


def _screw(face: float, z: float, length: float, radius: float) -> int:
    """A round cylinder from the plate's face against x."""
    return int(gmsh.model.occ.addCylinder(face, 0, z, -length, 0, 0, radius))


def _plate(face: float, thickness: float, width: float, half: float) -> int:
    """A flat plate with round ends, of half-length `half`, behind its outer face."""
    occ, straight = gmsh.model.occ, half - width / 2
    box = occ.addBox(face - thickness, -width / 2, -straight, thickness, width, 2 * straight)
    ends = [
        (3, occ.addCylinder(face, 0, z, -thickness, 0, 0, width / 2)) for z in (-straight, straight)
    ]
    ((_, tag),), _ = occ.fuse([(3, box)], ends)
    return int(tag)


def _surfaces(parts: dict[str, set[int]], end: float) -> dict[str, set[int]]:
    """The bone's ends, and where the screws meet it."""
    height = {face: gmsh.model.occ.getCenterOfMass(2, face)[2] for face in boundary(parts["bone"])}
    return {
        "proximal": {face for face, z in height.items() if z > end - 1e-6},
        "distal": {face for face, z in height.items() if z < 1e-6 - end},
        "interface": interface(parts["screws"], parts["bone"]),
    }
