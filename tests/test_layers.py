"""The rooms of the house: arrows point down only, and each foreign package has its rooms."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "toolkit"
STOREYS = [  # each room imports from storeys below it and, not in circles, from its own
    ["errors"],
    ["start", "meshfile", "exchange", "bounds", "moduli", "kernels", "slices"],
    ["sealed", "interruption"],
    ["domain", "material", "memory"],
    ["cell", "symmetry", "levels"],
    ["solver", "auxiliary", "grids"],
    ["density", "state", "saddle", "multigrid"],
    ["elementwise"],
    ["conditions", "equal_order"],
    ["elasticity", "darcy", "stokes"],
    ["functional"],
    ["energy", "total"],
    ["groups"],
    ["responses", "adjoint", "homogenize"],
    ["checkpoint", "export", "surface", "progress", "pictures", "page", "program", "identity"],
    ["journal"],
    ["evaluator"],
    ["accuracy", "share", "asymptotes"],
    ["stage"],
    ["separable", "volume"],
    ["callbacks", "mma", "criteria", "mirror"],
    ["optimize"],
    ["properties"],
    ["report", "catalogue"],
    ["pareto"],
    ["__init__", "__main__"],
]
STOREY = {room: level for level, rooms in enumerate(STOREYS) for room in rooms}
FOREIGN = {
    "nlopt": {"callbacks"},
    "petsc4py": {"solver", "saddle", "equal_order", "elementwise", "start"},
    "h5py": {"meshfile", "sealed", "checkpoint", "export", "properties"},
    "gmsh": {"meshfile"},
    "scipy": {
        *("cell", "criteria", "elementwise", "grids", "multigrid", "symmetry", "properties"),
    },
}
BONE_STOREYS = [  # the same of toolkit/bone, which builds on the rooms that BONE_GROUND names
    ["units", "calibration", "materials", "image", "quadrature", "mapping_report", "prognosis"],
    ["laws", "dicom", "mask", "remodelling", "course_charts"],
    ["readers", "contour", "voxels", "mapping", "mirror_plane", "synthetic_head"],
    ["tetrahedra", "carry", "defect"],
    ["intact", "patch"],
    ["shielding", "load_share", "slip", "cranial_patch", "zygomatic_patch", "shielding_charts"],
    ["__init__"],
]
BONE_STOREY = {room: level for level, rooms in enumerate(BONE_STOREYS) for room in rooms}
BONE_GROUND = {
    *("errors", "domain", "meshfile", "solver", "density", "state", "elasticity", "functional"),
    *("export", "pictures"),
}
BONE_FOREIGN = {
    "pydicom": {"dicom"},
    "nibabel": {"readers"},
    "nrrd": {"readers"},
    "gmsh": {"tetrahedra"},
    "pyvista": {"contour"},
    "matplotlib": {"course_charts", "shielding_charts"},
    "manifold3d": {"contour"},
    "scipy": {
        "image",
        "mask",
        "mirror_plane",
        "defect",
        "patch",
        "cranial_patch",
        "zygomatic_patch",
        "carry",
    },
    "dolfinx": {
        *("mapping", "carry", "intact", "shielding", "load_share", "slip"),
        *("remodelling", "prognosis", "shielding_charts"),
    },
    "petsc4py": set(),
    "h5py": set(),
}
ROOMS = {path.stem: path for path in PACKAGE.glob("*.py")}
BONE = {path.stem: path for path in (PACKAGE / "bone").glob("*.py")}


def imports(path: Path) -> set[str]:
    """Modules that a file imports, also inside functions, dotted; those for types only are none."""
    found: set[str] = set()
    for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            found.add(node.module or "")
            if node.module == "toolkit":
                found |= {f"toolkit.{alias.name}" for alias in node.names}
    return found


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING`."""
    yield node
    typing_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    for child in [] if typing_only else ast.iter_child_nodes(node):
        yield from statements(child)


def rooms_used(path: Path) -> set[str]:
    used = {name.split(".")[1] for name in imports(path) if name.startswith("toolkit.")}
    return used & (set(ROOMS) | {"geometry", "bone"})


def bone_rooms_used(path: Path) -> set[str]:
    dotted = [name.split(".") for name in imports(path) if name.startswith("toolkit.bone.")]
    return {parts[2] for parts in dotted} & set(BONE)


def test_every_room_has_a_storey():
    assert set(ROOMS) == set(STOREY)


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_point_down(room):
    for other in rooms_used(ROOMS[room]):
        assert STOREY[other] <= STOREY[room], f"{room} imports {other}"


def test_no_circles():
    """Rooms of one storey do not import each other in a circle."""
    above: dict[str, set[str]] = {room: rooms_used(path) for room, path in ROOMS.items()}
    while leaves := [room for room, used in above.items() if not used]:
        above = {r: used - set(leaves) for r, used in above.items() if r not in leaves}
    assert not above


@pytest.mark.parametrize("package", FOREIGN)
def test_foreign_packages_have_their_rooms(package):
    using = {
        room
        for room, path in ROOMS.items()
        if any(name.split(".")[0] == package for name in imports(path))
    }
    assert using <= FOREIGN[package]


def test_laws_are_ufl_only():
    assert {name.split(".")[0] for name in imports(ROOMS["material"])} <= {
        "numbers",
        "typing",
        "ufl",
        "toolkit",
    }


def test_geometry_stands_apart():
    """The gmsh models import nothing of the rooms but errors, and no room imports them."""
    assert not [room for room, path in ROOMS.items() if "geometry" in rooms_used(path)]
    for path in (PACKAGE / "geometry").glob("*.py"):
        assert rooms_used(path) <= {"geometry", "errors"}


def test_bone_stands_on_named_rooms():
    """No room of the toolkit imports bone, and bone only those rooms that it builds on."""
    assert not [room for room, path in ROOMS.items() if "bone" in rooms_used(path)]
    assert not [path for path in (PACKAGE / "geometry").glob("*.py") if "bone" in rooms_used(path)]
    assert set(BONE) == set(BONE_STOREY)
    for path in BONE.values():
        assert rooms_used(path) <= {"bone", *BONE_GROUND}, path.name


@pytest.mark.parametrize("room", BONE)
def test_arrows_point_down_in_bone(room):
    for other in bone_rooms_used(BONE[room]):
        assert BONE_STOREY[other] < BONE_STOREY[room], f"{room} imports {other}"


@pytest.mark.parametrize("package", BONE_FOREIGN)
def test_foreign_packages_have_their_rooms_in_bone(package):
    using = {
        room
        for room, path in BONE.items()
        if any(name.split(".")[0] == package for name in imports(path))
    }
    assert using == BONE_FOREIGN[package]
