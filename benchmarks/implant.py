"""CPU seconds of a design iteration of a porous block that carries load and lets fluid seep.

    min over ρ   ∫ t·u ds                                  compliance
    where        −∇·σ(u; ρ) = 0        u = 0 on base,      σn = t on head
                 −∇·κ(ρ) ∇p = 0        p = 1 in the bore,  p = 0 on the sides
    subject to   ∫ κ(ρ) |∇p|² dx ≥ its value at ρ = 0.4,   ∫ ρ dx ≤ 0.45 |Ω|,   0.2 ≤ ρ ≤ 0.8

on a cube of 20 mm with a vertical bore of radius 4 mm, in tetrahedra of a given size from gmsh. The
mean over the iterations 1 to N, all ranks summed. With --dry there is no fluid, and the block is of
solid and void: SIMP from 1e-3, 0 ≤ ρ ≤ 1, ∫ ρ dx ≤ 0.4 |Ω|.

Run:  python benchmarks/implant.py --size 1.5 --iterations 10 --json out.json
"""

from argparse import ArgumentParser
from functools import partial
from pathlib import Path

import gmsh
from ufl import as_vector, grad, inner

from toolkit import (
    Density,
    Domain,
    Functional,
    darcy,
    elasticity,
    gibson_ashby,
    kozeny_carman,
    minimize,
    simp,
)

from benchmarks.clock import Clock  # after the toolkit, which loads MPI  # isort: skip

EDGE, BORE = 20.0, 4.0


def block(size, refined):
    """The cube without its bore, in tetrahedra; faces are base, head, bore and sides."""
    occ = gmsh.model.occ
    cube = (3, occ.addBox(0, 0, 0, EDGE, EDGE, EDGE))
    bore = (3, occ.addCylinder(EDGE / 2, EDGE / 2, 0, 0, 0, EDGE, BORE))
    occ.cut([cube], [bore])
    occ.synchronize()
    named = {"base": [], "head": [], "bore": [], "sides": []}
    for _, face in gmsh.model.getEntities(2):
        x0, y0, z0, x1, y1, z1 = gmsh.model.getBoundingBox(2, face)
        flat, middle = z1 - z0 < 1e-3, min(x0, y0, EDGE - x1, EDGE - y1) > 1e-3
        name = ("head" if z0 > 1 else "base") if flat else ("bore" if middle else "sides")
        named[name].append(face)
    for name, faces in named.items():
        gmsh.model.addPhysicalGroup(2, faces, name=name)
    gmsh.model.addPhysicalGroup(3, [v for _, v in gmsh.model.getEntities(3)], name="block")
    for bound in ("Mesh.MeshSizeMax", "Mesh.MeshSizeMin"):
        gmsh.option.setNumber(bound, 2 * size if refined else size)
    gmsh.model.mesh.generate(3)
    if refined:
        gmsh.model.mesh.refine()


parser = ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--size", type=float, default=1.5, help="edge length of the tetrahedra [mm]")
parser.add_argument("--refined", action="store_true", help="each of eight from a coarser mesh")
parser.add_argument("--dry", action="store_true", help="solid and void, no fluid")
parser.add_argument("--iterations", type=int, default=10)
parser.add_argument("--json", type=Path)
parser.add_argument("--optimizer", default="mma")
given, _ = parser.parse_known_args()  # the rest is PETSc's

domain = Domain.build(partial(block, given.size, given.refined))  # mm
dx, ds = domain.dx, domain.ds
bounds = (0, 1) if given.dry else (0.2, 0.8)
design = Density(domain, radius=2 * given.size, start=0.4, bounds=bounds)
ρ = design.physical
full = 114e3  # of Ti-6Al-4V [MPa]
E = simp(ρ, full=full, empty=1e-3 * full) if given.dry else gibson_ashby(ρ, full=full)
t = as_vector((0, 0, -1000 / domain.area("head")))  # 1 kN [MPa]
u = elasticity(domain, modulus=E, poisson=0.34, displacement=["base"], traction={"head": t})

compliance = Functional(inner(t, u) * ds("head"))
volume = Functional(ρ * dx) / domain.volume
constraints, states = [volume <= (0.4 if given.dry else 0.45)], [u]
if not given.dry:
    κ = kozeny_carman(ρ, surface=2.0) / 4e-5  # [mm² / (kPa s)]
    p = darcy(domain, permeability=κ, pressure={"bore": 1, "sides": 0})
    permeance = Functional(κ * inner(grad(p), grad(p)) * dx)
    constraints, states = [permeance >= float(permeance), *constraints], [u, p]

clock = Clock()
result = minimize(
    compliance,
    over=design,
    subject_to=constraints,
    iterations=given.iterations,
    optimizer=given.optimizer,
    tolerance=0,
    watch=clock.watch,
)
clock.report(
    given.json,
    domain.comm,
    benchmark="implant",
    objective=result.objective,
    evaluations=result.evaluations,
    krylov_iterations=u.operator.solver.iterations,
    krylov_iterations_pressure=[n for s in states[1:] for n in s.operator.solver.iterations],
    cells=domain.num_cells,
    dofs=u.function_space.dofmap.index_map.size_global * 3,
    settings={"optimizer": given.optimizer, "rtol": u.operator.solver.rtol},
)
