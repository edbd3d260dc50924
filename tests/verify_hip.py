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

    The published stems have another shape, and cement held in another way. Cement gives way by
    what it does under any stem and the stem by b/E, 1/K = a + b/E: in a rigid pot PEEK has 1/30
    of titanium's stiffness, the ratio of the moduli, in cement 1/20, in bone 1/5; the published
    tenth is between pot and bone. Published porous stems keep 78 % of the stiffness at 70 % less
    shielding. Here a body of one density has the one at 0.83 and the other at 0.5, since a stem of
    10 mm bends where the cement ends, and the bone beside its upper third does not feel that place.
    """
    K = potted({"Ti": TITANIUM, "PEEK": PEEK, "83 %": 0.83**2 * TITANIUM}, cement=3e3)
    rigid = potted({"Ti": TITANIUM, "PEEK": PEEK}, cement=RIGID)
    s = {name: float(np.sqrt(np.mean(zones**2))) for name, zones in shielded().items()}
    return [
        Row("solid Ti in cement [kN/mm]", K["Ti"], 2.76, 0.15, NAGHAVI),
        Row("body of density 0.83, over solid", K["83 %"] / K["Ti"], 2.15 / 2.76, 0.05, NAGHAVI),
        Row(
            "PEEK over Ti, rigid pot", rigid["PEEK"] / rigid["Ti"], PEEK / TITANIUM, 0.05, "moduli"
        ),
        Row("PEEK over Ti, cement", K["PEEK"] / K["Ti"], 0.1, 0.1, f"{NAGHAVI[:-4]}2022"),
        Row("density 0.5: shielding less by", 1 - s["half"] / s["Ti"], 0.7, 0.1, NAGHAVI),
    ]


def tractions(domain: Domain, forces: dict[str, np.ndarray]) -> dict[str, ufl.core.expr.Expr]:
    return {name: ufl.as_vector(force / domain.area(name)) for name, force in forces.items()}


def potted(moduli: dict[str, float], *, cement: float) -> dict[str, float]:
    """Stiffness along the force [kN/mm] of stems by the modulus of their bodies."""
    domain = Domain.build(partial(potted_stem, size=5))
    force = np.array(iso_7206_4(2300))
    t = tractions(domain, {"head": force})
    E = domain.by_region({"cement": cement, "stem": 1.0, "ball": TITANIUM})
    u = elasticity(
        domain, modulus=E, poisson=0.3, displacement=["pot"], traction=t, degree=2, name="potted"
    )
    sunk = Functional(ufl.inner(t["head"], u) * domain.ds("head")) / 2300
    found = {}
    for name, modulus in moduli.items():
        neck = PEEK if name == "PEEK" else TITANIUM
        regions = {"cement": cement, "stem": modulus, "neck": neck, "ball": neck}
        E.x.array[:] = domain.by_region(regions).x.array
        found[name] = 2.3 / float(sunk)
    return found


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
