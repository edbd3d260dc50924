"""A bone as a gmsh model: its surface meshed anew with a given edge length, and tetrahedra inside.

The triangles of `toolkit.bone.contour` are split into patches along edges sharper than an angle,
each patch is parametrized and remeshed by gmsh, and the volume filled. Flat cuts stay flat. The
model runs on one rank: ``Domain.build(partial(tetrahedra, mask, size=2))`` calls it on rank 0.

Source: Remacle et al. 2010, doi:10.1002/nme.2824 (remeshing by harmonic maps).
"""

import numpy as np

from toolkit.bone.contour import Surface, contour
from toolkit.bone.mask import Mask
from toolkit.errors import InputError

__all__ = ["tetrahedra"]

SHARP = 40.0  # degrees: edges that stay
TRIANGLE = 2  # gmsh's element type


def tetrahedra(
    body: Mask | Surface, *, size: float, smoothing: int = 20, sharp: float = SHARP
) -> None:
    """Build and mesh a bone in the current gmsh model: tetrahedra, mm.

    Physical names: the volume ``bone`` and its boundary ``surface``, as `voxel_domain` has them.

    Args:
        body: A mask, of which the largest body is meshed, or its surface.
        size: Edge length of the tetrahedra, mm.
        smoothing: Of the mask's surface, see `contour`.
        sharp: Angle in degrees between triangles, beyond which an edge is kept.

    Raises:
        InputError: A size that is not positive or leaves fewer than two edges across, an angle
            not between 0 and 180, a surface that gmsh cannot parametrize, and what `contour`
            refuses.
    """
    if not 0 < sharp <= 180:
        raise InputError(f"tetrahedra: sharp = {sharp:g} must be an angle of up to 180°.")
    surface = contour(body, smoothing=smoothing) if isinstance(body, Mask) else body
    across = float(np.ptp(surface.points, axis=0).min())
    if not 0 < size <= across / 2:
        raise InputError(
            f"tetrahedra: size = {size:g} mm does not fit a bone of {across:.3g} mm. Give "
            f"0 < size <= {across / 2:.3g}."
        )
    import gmsh  # loads the X11 and GL libraries, so only on the rank that meshes

    model, mesh = gmsh.model, gmsh.model.mesh
    entity = model.addDiscreteEntity(2)
    numbers = np.arange(1, len(surface.points) + 1)
    mesh.addNodes(2, entity, numbers, surface.points.ravel())
    mesh.addElementsByType(entity, TRIANGLE, [], surface.triangles.ravel() + 1)
    try:
        mesh.classifySurfaces(np.radians(sharp), True, True, np.pi)
        mesh.createGeometry()
        patches = [tag for _, tag in model.getEntities(2)]
        volume = model.geo.addVolume([model.geo.addSurfaceLoop(patches)])
        model.geo.synchronize()
        model.addPhysicalGroup(2, patches, name="surface")
        model.addPhysicalGroup(3, [volume], name="bone")
        for option in ("Mesh.MeshSizeMin", "Mesh.MeshSizeMax"):
            gmsh.option.setNumber(option, size)
        mesh.generate(3)
        mesh.optimize("Netgen")
    except Exception as error:
        raise InputError(
            f"gmsh cannot mesh the bone's surface of {len(surface.triangles)} triangles with "
            f"{surface.holes} holes through it: {error}. Smooth more, clean the mask (opening, "
            "closing), or give another size; voxel_domain meshes any mask."
        ) from error
