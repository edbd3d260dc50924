"""Bone: from a CT image to a mesh with moduli, materials, and what an implant does to the bone.

    image = read("ct")                                              DICOM, NIfTI, NRRD
    mask = threshold(image, 250).cleaned()
    domain = voxel_domain(mask)                                     or, with tetrahedra,
    domain = Domain.build(partial(tetrahedra, mask, size=2.0))
    bone = map_modulus(domain, image, calibration=line, law=law("Morgan, femoral neck"))
    u = elasticity(domain, modulus=bone.modulus, poisson=0.3, ...)

    intact = IntactBone(strain_energy(u0, modulus=E0, poisson=0.3))           before the operation
    zones = shielding(strain_energy(u, modulus=E, poisson=0.3), intact, over=GRUEN)

Units are those of `toolkit.bone.units`: mm, N, MPa, s, and g/cm³ for densities. Coordinates are the
patient's, as DICOM has them: x to the left, y to the back, z to the head.
"""

from toolkit.bone.calibration import Calibration as Calibration
from toolkit.bone.contour import Surface as Surface
from toolkit.bone.contour import contour as contour
from toolkit.bone.course_charts import bone_mass_chart as bone_mass_chart
from toolkit.bone.course_charts import density_change_map as density_change_map
from toolkit.bone.cranial_patch import cranial_patch as cranial_patch
from toolkit.bone.image import Image as Image
from toolkit.bone.intact import IntactBone as IntactBone
from toolkit.bone.laws import LAWS as LAWS
from toolkit.bone.laws import Law as Law
from toolkit.bone.laws import carter_hayes as carter_hayes
from toolkit.bone.laws import convert as convert
from toolkit.bone.laws import law as law
from toolkit.bone.load_share import load_share as load_share
from toolkit.bone.load_share import section_load as section_load
from toolkit.bone.mapping import Mapping as Mapping
from toolkit.bone.mapping import map_modulus as map_modulus
from toolkit.bone.mapping_report import MappingReport as MappingReport
from toolkit.bone.mask import Mask as Mask
from toolkit.bone.mask import threshold as threshold
from toolkit.bone.materials import FLUIDS as FLUIDS
from toolkit.bone.materials import SOLIDS as SOLIDS
from toolkit.bone.materials import Fluid as Fluid
from toolkit.bone.materials import Property as Property
from toolkit.bone.materials import Solid as Solid
from toolkit.bone.materials import solid as solid
from toolkit.bone.mirror_plane import MirrorPlane as MirrorPlane
from toolkit.bone.mirror_plane import mirror_plane as mirror_plane
from toolkit.bone.patch import Patch as Patch
from toolkit.bone.prognosis import Prognosis as Prognosis
from toolkit.bone.readers import read as read
from toolkit.bone.readers import read_raw as read_raw
from toolkit.bone.remodelling import Remodelling as Remodelling
from toolkit.bone.shielding import GRUEN as GRUEN
from toolkit.bone.shielding import shielded_volume as shielded_volume
from toolkit.bone.shielding import shielding as shielding
from toolkit.bone.shielding import strain_energy as strain_energy
from toolkit.bone.shielding_charts import gruen_chart as gruen_chart
from toolkit.bone.shielding_charts import load_chart as load_chart
from toolkit.bone.shielding_charts import shielded_cells as shielded_cells
from toolkit.bone.shielding_charts import shielding_map as shielding_map
from toolkit.bone.slip import interface_slip as interface_slip
from toolkit.bone.synthetic_head import craniectomy as craniectomy
from toolkit.bone.synthetic_head import synthetic_head as synthetic_head
from toolkit.bone.tetrahedra import tetrahedra as tetrahedra
from toolkit.bone.voxels import voxel_domain as voxel_domain
from toolkit.bone.zygomatic_patch import zygomatic_patch as zygomatic_patch
