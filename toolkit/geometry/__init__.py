"""Parametric gmsh models and scaffold families by name.

A model is a function that takes dimensions, builds the geometry in the current gmsh model, gives
its parts physical names, meshes them and returns None. It runs where gmsh is initialised, on one
rank; `Domain.build` and `Cell.build` call it there and distribute the mesh:
``Domain.build(partial(spinal_cage, size=0.8), comm=comm)``. ``python -m toolkit.geometry`` writes
the meshes of the folder ``meshes``.

A scaffold family is a function that returns a periodic `Implicit` body, which gives voxels and, by
`body_fitted`, meshes; `morphology` measures it.
"""

from toolkit.geometry.beam import beam as beam
from toolkit.geometry.body_fitted import body_fitted as body_fitted
from toolkit.geometry.channels import lotus_root as lotus_root
from toolkit.geometry.classic_cells import hole_cell as hole_cell
from toolkit.geometry.classic_cells import laminate_cell as laminate_cell
from toolkit.geometry.classic_cells import sphere_cell as sphere_cell
from toolkit.geometry.composite_rod import composite_rod as composite_rod
from toolkit.geometry.connectivity import remove_islands as remove_islands
from toolkit.geometry.femur_with_stem import femur_with_stem as femur_with_stem
from toolkit.geometry.implicit import Implicit as Implicit
from toolkit.geometry.lattices import bcc as bcc
from toolkit.geometry.lattices import cubic as cubic
from toolkit.geometry.lattices import kelvin as kelvin
from toolkit.geometry.lattices import octet as octet
from toolkit.geometry.morphology import Limits as Limits
from toolkit.geometry.morphology import Morphology as Morphology
from toolkit.geometry.morphology import morphology as morphology
from toolkit.geometry.morphology import printable as printable
from toolkit.geometry.packings import sphere_packing as sphere_packing
from toolkit.geometry.pipe import pipe as pipe
from toolkit.geometry.plate_with_hole import plate_with_hole as plate_with_hole
from toolkit.geometry.potted_stem import iso_7206_4 as iso_7206_4
from toolkit.geometry.potted_stem import potted_stem as potted_stem
from toolkit.geometry.spinal_cage import spinal_cage as spinal_cage
from toolkit.geometry.tibia_with_plate import tibia_with_plate as tibia_with_plate
from toolkit.geometry.tpms import diamond as diamond
from toolkit.geometry.tpms import gyroid as gyroid
from toolkit.geometry.tpms import iwp as iwp
from toolkit.geometry.tpms import neovius as neovius
from toolkit.geometry.tpms import schwarz_p as schwarz_p
from toolkit.geometry.trabecular import mixed_porosity as mixed_porosity
from toolkit.geometry.trabecular import random_field as random_field
from toolkit.geometry.trabecular import voronoi_struts as voronoi_struts
from toolkit.geometry.vertebrae_with_cage import vertebrae_with_cage as vertebrae_with_cage
from toolkit.geometry.voxel_body import voxel_body as voxel_body
