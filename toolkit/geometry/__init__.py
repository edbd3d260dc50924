"""Parametric gmsh models by name, each a function that fills the current gmsh model.

A model takes dimensions, builds the geometry, gives its parts physical names, meshes them and
returns None. It runs where gmsh is initialised, on one rank; `toolkit.domain.Domain.build` calls it
there and distributes the mesh: ``Domain.build(partial(spinal_cage, size=0.8), comm=comm)``.
``python -m toolkit.geometry`` writes the meshes of the folder ``meshes``.
"""

from toolkit.geometry.beam import beam as beam
from toolkit.geometry.pipe import pipe as pipe
from toolkit.geometry.plate_with_hole import plate_with_hole as plate_with_hole
from toolkit.geometry.spinal_cage import spinal_cage as spinal_cage
