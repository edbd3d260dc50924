"""The cantilever of TopOpt in PETSc: a line load at the lower edge of its free end.

    min over ρ   ∫ q·u dl                                  compliance, twice the strain energy
    where        −∇·σ(u; E(ρ̃)) = 0     u = 0 on x = 0,     q on the line x = 2, z = 0
                 E(ρ̃) = 10⁻⁹ + ρ̃³ (1 − 10⁻⁹),  ν = 0.3
    subject to   ∫ ρ̃ dx ≤ 0.12 |Ω|,    0 ≤ ρ ≤ 1           ρ̃ is the filtered ρ

on the box 2 × 1 × 1 (Aage, Andreassen & Lazarov 2015, doi:10.1007/s00158-014-1157-0). Each node of
the line carries −0.001, half as much at its two ends: for trilinear elements of size h that is the
constant line load q = (0, 0, −0.001/h), whatever the mesh. At 64 × 32 × 32 cells the compliance of
the uniform start is 26.0918. The filter has the second moment of their cone of radius 0.08.

Run:  mpirun -n 2 python problems/cantilever.py            (--resolution 16 is eight times smaller)
"""

from argparse import ArgumentParser

from ufl import as_vector, inner

from toolkit import Density, Domain, Functional, elasticity, minimize, simp, write_result

parser = ArgumentParser()
parser.add_argument("--resolution", type=int, default=32, help="cells per unit of length")
parser.add_argument("--iterations", type=int, default=60)
parser.add_argument("--optimizer", default="mma", help="mma, ccsa, mma-distributed, oc, simpl")
options, _ = parser.parse_known_args()  # the rest is PETSc's
n = options.resolution

domain = Domain.box((2, 1, 1), (2 * n, n, n))
domain.name("edge", 1, lambda x: (x[0] > 2 - 1e-9) & (x[2] < 1e-9))

design = Density(domain, radius=0.08, start=0.12)
ρ = design.physical

E = simp(ρ, full=1, empty=1e-9, power=3)
q = as_vector((0, 0, -0.001 * n))

u = elasticity(domain, modulus=E, poisson=0.3, displacement=["xmin"], line={"edge": q})

compliance = Functional(inner(q, u) * domain.dl("edge"))
volume = Functional(ρ * domain.dx) / domain.volume

result = minimize(
    compliance,
    over=design,
    subject_to=[volume <= 0.12],
    iterations=options.iterations,
    optimizer=options.optimizer,
)
folder = write_result(
    result, design, "results/cantilever", name="compliance", functionals=[compliance]
)
if domain.comm.rank == 0:
    print(
        f"compliance {result.history.objective[0]:.6f} at the start, {result.objective:.6f} after "
        f"{result.iterations} iterations: {result.message}\n\nResults in {folder}"
    )
