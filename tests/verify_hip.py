"""The table of docs/verification.md about hip stems, beside those of Naghavi et al."""

from functools import partial

import toolkit  # noqa: F401  # first: MPI and PETSc's options  # isort: skip
import numpy as np
import ufl

from tests.table import Row, Rows
from toolkit import Domain, Functional, elasticity
from toolkit.bone import GRUEN, IntactBone, shielding, strain_energy
from toolkit.geometry import femur_with_stem, iso_7206_4, potted_stem

TITANIUM, PEEK, RIGID = 110e3, 3.7e3, 1e7  # MPa
BONE = {"cortical": 17e3, "cancellous": 500.0, "marrow": 1.0}
GAIT = {"head": (-54.0, -32.8, -229.2), "abductor": (58.0, 4.3, 86.5)}
NAGHAVI = "Naghavi et al. 2023"


def hip_stems() -> Rows:
    """Stems in the pot of ISO 7206-4 (quadratic) and in the femur (linear), cells of 5 mm.

    The published stems have another shape, and cement held in another way. Published porous stems
    keep 78 % of the stiffness at 70 % less shielding. Here a body of one density has the one at
    0.83 and the other at 0.5, since a stem of 10 mm bends where the cement ends, and the bone
    beside its upper third does not feel that place.

    A stem of PEEK is published to have a tenth of titanium's stiffness and has a twentieth here.
    The compliance 1/K is concave and homogeneous in the compliances of stem and cement, so the
    part b/E of it that goes with the stem is at least that in a rigid pot and at most the stem's
    share of the energy. This bounds the ratio, which is the reference of its row; a tenth would
    take a stem whose own part is 31 % of titanium's compliance, or less.
    """
    K, energy = potted({"Ti": TITANIUM, "PEEK": PEEK, "83 %": 0.83**2 * TITANIUM}, cement=3e3)
    rigid, _ = potted({"Ti": TITANIUM, "PEEK": PEEK}, cement=RIGID)
    parts = np.array([energy["Ti"], K["Ti"] / rigid["Ti"]])  # that are the stem's, most and least
    low, high = 1 / (1 + parts * (TITANIUM / PEEK - 1))
    width, bounds = (high - low) / (high + low), f"within {low:.4f} to {high:.4f}; 0.1 published"
    s = {name: float(np.sqrt(np.mean(zones**2))) for name, zones in shielded().items()}
    moduli = PEEK / TITANIUM
    return [
        Row("solid Ti in cement [kN/mm]", K["Ti"], 2.76, 0.15, NAGHAVI),
        Row("body of density 0.83, over solid", K["83 %"] / K["Ti"], 2.15 / 2.76, 0.05, NAGHAVI),
        Row("PEEK over Ti, rigid pot", rigid["PEEK"] / rigid["Ti"], moduli, 0.05, "moduli"),
        Row("PEEK over Ti, cement", K["PEEK"] / K["Ti"], (low + high) / 2, width, bounds),
        Row("density 0.5: shielding less by", 1 - s["half"] / s["Ti"], 0.7, 0.1, NAGHAVI),
    ]


def tractions(domain: Domain, forces: dict[str, np.ndarray]) -> dict[str, ufl.core.expr.Expr]:
    return {name: ufl.as_vector(force / domain.area(name)) for name, force in forces.items()}


def potted(moduli: dict[str, float], *, cement: float) -> tuple[dict[str, float], ...]:
    """Stiffness along the force [kN/mm] and the stem's share of the energy, by bodies' moduli."""
    domain = Domain.build(partial(potted_stem, size=5))
    force = np.array(iso_7206_4(2300))
    t = tractions(domain, {"head": force})
    E = domain.by_region({"cement": cement, "stem": 1.0, "ball": TITANIUM})
    u = elasticity(
        domain, modulus=E, poisson=0.3, displacement=["pot"], traction=t, degree=2, name="potted"
    )
    sunk = Functional(ufl.inner(t["head"], u) * domain.ds("head")) / 2300
    U = strain_energy(u, modulus=E, poisson=0.3)
    metal = Functional(U * domain.dx("stem", "ball")) / Functional(U * domain.dx)
    stiffness, energy = {}, {}
    for name, modulus in moduli.items():
        neck = PEEK if name == "PEEK" else TITANIUM
        regions = {"cement": cement, "stem": modulus, "neck": neck, "ball": neck}
        E.x.array[:] = domain.by_region(regions).x.array
        stiffness[name], energy[name] = 2.3 / float(sunk), float(metal)
    return stiffness, energy


def shielded() -> dict[str, np.ndarray]:
    """Shielding by Gruen's zones, (7,), of a solid stem and of one of half density."""
    forces = {k: 2300 / np.linalg.norm(GAIT["head"]) * np.array(f) for k, f in GAIT.items()}
    held = partial(elasticity, poisson=0.3, displacement=["distal"])
    before = Domain.build(partial(femur_with_stem, size=5, stem=False))
    E0 = before.by_region(BONE)
    u0 = held(before, modulus=E0, traction=tractions(before, forces), name="intact")
    intact = IntactBone(strain_energy(u0, modulus=E0, poisson=0.3))
    domain = Domain.build(partial(femur_with_stem, size=5, coat=2.0))
    E = domain.by_region({**BONE, "stem": 1.0, "coat": 1.0, "ball": TITANIUM})
    u = held(domain, modulus=E, traction=tractions(domain, forces))
    zones = shielding(strain_energy(u, modulus=E, poisson=0.3), intact, over=GRUEN)
    found = {}
    for name, modulus in (("Ti", TITANIUM), ("half", 0.25 * TITANIUM)):
        regions = {"stem": modulus, "coat": modulus, "neck": TITANIUM, "ball": TITANIUM}
        E.x.array[:] = domain.by_region(BONE | regions).x.array
        found[name] = zones.value
    return found
