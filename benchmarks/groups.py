"""Wall seconds of a front whose points are computed one by one, or side by side in groups of ranks.

    min over ρ   ( compliance, −permeance ),   volume ≤ 0.45,   0.2 ≤ ρ ≤ 0.8

of a block of 2 n × n × n hexahedra that is pressed at one end and leaks across: the problem of
problems/spinal_cage.py without its mesh. Both ways are run on all ranks, in turn, --repeat times;
the first run, which compiles the forms, is not counted.

Run:  OMP_NUM_THREADS=1 mpirun -n 2 python benchmarks/groups.py [--resolution 8 --points 6]
"""

import argparse
import time

from mpi4py import MPI
from ufl import as_vector, grad, inner

from toolkit import (
    Density,
    Domain,
    Functional,
    Groups,
    darcy,
    elasticity,
    gibson_ashby,
    kozeny_carman,
    pareto,
)


def front(number, options):
    """The front in some groups, and the wall seconds from the mesh to the last point."""
    MPI.COMM_WORLD.barrier()
    began, n = time.perf_counter(), options.resolution
    groups = Groups(number)
    domain = Domain.box((2, 1, 1), (2 * n, n, n), comm=groups.comm)
    design = Density(domain, radius=0.3, start=0.4, bounds=(0.2, 0.8))
    ρ, t = design.physical, as_vector((-1, 0, 0))
    κ = kozeny_carman(ρ, surface=10)
    u = elasticity(
        domain,
        modulus=gibson_ashby(ρ, full=1),
        poisson=0.34,
        displacement=["xmin"],
        traction={"xmax": t},
    )
    p = darcy(domain, permeability=κ, pressure={"zmin": 1, "zmax": 0})
    compliance = Functional(inner(t, u) * domain.ds("xmax"), name="compliance")
    permeance = Functional(κ * inner(grad(p), grad(p)) * domain.dx, name="permeance")
    volume = Functional(ρ * domain.dx, name="volume") / domain.volume
    found = pareto(
        compliance,
        -permeance,
        over=design,
        subject_to=[volume <= 0.45],
        points=options.points,
        iterations=options.iterations,
        watch=(),
        groups=groups,
    )
    MPI.COMM_WORLD.barrier()
    return found, time.perf_counter() - began


def main():
    """Both ways in turn, and a line for each run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--resolution", type=int, default=8)
    parser.add_argument("--points", type=int, default=6)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    ranks = MPI.COMM_WORLD.size
    for turn in range(options.repeat + 1):
        for number in (1, ranks):
            found, seconds = front(number, options)
            if MPI.COMM_WORLD.rank == 0 and turn:
                designs = sum(point.result.evaluations for point in found.points)
                print(
                    f"{ranks} ranks, {number} groups: {seconds:.2f} s, {len(found.points)} points, "
                    f"{designs} designs, hypervolume {found.hypervolume:.6g}",
                    flush=True,
                )


main()
