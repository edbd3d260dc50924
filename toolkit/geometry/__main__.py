"""Write every mesh of the folder ``meshes``: ``python -m toolkit.geometry [folder [model …]]``.

Without names the models of `MESHES`, whose files are kept; those of `IMPLANTS` are written when
they are named.

One rank, the same bytes at every run of one gmsh release: each mesh is made by a fresh gmsh, which
starts its pseudo-random perturbations from the same seed.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import gmsh

from toolkit.geometry import (
    beam,
    composite_rod,
    femur_with_stem,
    pipe,
    plate_with_hole,
    potted_stem,
    spinal_cage,
    tibia_with_plate,
    vertebrae_with_cage,
)

MESHES: dict[str, partial[None]] = {
    "spinal_cage": partial(spinal_cage, size=0.78),
    "plate_with_hole": partial(plate_with_hole, size=4.0),
    "pipe": partial(pipe, size=1.2),
    "beam": partial(beam, size=2.5),
}
IMPLANTS: dict[str, partial[None]] = {
    "femur": partial(femur_with_stem, size=4.0, stem=False),
    "femur_with_stem": partial(femur_with_stem, size=4.0, coat=1.5),
    "potted_stem": partial(potted_stem, size=4.0, coat=1.5),
    "tibia_with_plate": partial(tibia_with_plate, size=4.0),
    "vertebrae_with_cage": partial(vertebrae_with_cage, size=3.0),
    "blocks_with_cage": partial(vertebrae_with_cage, size=3.0, blocks=True),
    "composite_rod": partial(composite_rod, size=7.0),
}


def write(name: str, folder: Path) -> Path:
    """Build one of `MESHES` or `IMPLANTS`, write ``folder/name.msh``, format 4.1, binary."""
    path = folder / f"{name}.msh"
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        gmsh.option.setNumber("Mesh.Binary", 1)
        gmsh.model.add(name)
        (MESHES | IMPLANTS)[name]()
        gmsh.write(str(path))
    finally:
        gmsh.finalize()
    return path


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "meshes")
    target.mkdir(parents=True, exist_ok=True)
    for model in sys.argv[2:] or MESHES:
        print(write(model, target))
