"""Each problem script runs as it stands, on one rank and on two, small and short."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
SMALL = {
    "bone_matched_cell": [
        "--resolution",
        "8",
        "--iterations",
        "2",
        "--seeds",
        "1",
        "--corrections",
        "0",
    ],
    "cantilever": ["--resolution", "8", "--iterations", "4"],
    "cranial_implant": ["--size", "2.5", "--iterations", "4"],
    "diffuser": ["--resolution", "12", "--iterations", "4"],
    "double_pipe": ["--resolution", "12", "--iterations", "4"],
    "hip_stem": ["--points", "2", "--iterations", "1"],
    "pipe_bend": ["--resolution", "10", "--iterations", "4"],
    "remodelling": ["--size", "5", "--months", "2", "--stems", "1"],
    "stiff_permeable_cell": ["--resolution", "8", "--iterations", "2"],
    "stiff_cell": [
        *("--objective", "shear", "--resolution", "16", "--starts", "2", "--iterations", "3"),
    ],
    "stiff_channel": ["--resolution", "4", "--iterations", "2"],
    "spinal_segment": ["--size", "3", "--iterations", "3"],
    "tibia_plate": ["--plate-size", "3", "--iterations", "1"],
    "tpms_catalogue": ["--resolution", "6", "--families", "2"],
}
ALONE = {"hip_stem", "remodelling", "tibia_plate", "tpms_catalogue", "stiff_permeable_cell"}
DESIGNS = sorted(SMALL.keys() - ALONE)  # which minimise or take a front
LIMIT = 480  # seconds for one script on a busy machine


def run(name: str, ranks: int, folder: Path, *more: str) -> str:
    """What the script prints; it runs in the folder."""
    command = [sys.executable, str(ROOT / "problems" / f"{name}.py"), *SMALL[name], *more]
    if ranks > 1:
        command = [str(Path(sys.executable).parent / "mpirun"), "-n", str(ranks), *command]
    folder.mkdir()
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def iterations(name: str, printed: str) -> list[float]:
    """The objective of each accepted point."""
    start = r"(?:start \S+)?"
    lines = re.findall(rf"^{start} *\d+ \( *\d+\)  \S+ (\S+)", printed, flags=re.MULTILINE)
    assert lines, f"{name} printed no iteration:\n{printed}"
    return [float(word) for word in lines]


@pytest.mark.parametrize("name", DESIGNS)
def test_a_script_gives_the_same_on_one_rank_and_on_two(name: str, tmp_path: Path) -> None:
    alone = run(name, 1, tmp_path / "alone")
    both = run(name, 2, tmp_path / "both")
    first, second = (iterations(name, printed) for printed in (alone, both))
    assert first == pytest.approx(second, rel=1e-4)  # printed to five or six digits
    assert min(first) < first[0]
    for folder in ("alone", "both"):
        results = tmp_path / folder / "results" / name
        assert (results / "run.h5").is_file()
        assert (results / "report.html").is_file()


def test_starts_in_groups_give_the_same(tmp_path: Path) -> None:
    results = []
    for folder, more in ("one", []), ("two", ["--groups", "2"]):
        printed = run("stiff_cell", 2, tmp_path / folder, *more)
        assert "start 1/2" in printed and "start 2/2" in printed
        told = printed.split("start by start: ")[1]
        results.append([float(number) for number in re.findall(r"\d+\.\d+", told)])
        assert (tmp_path / folder / "results" / "stiff_cell" / "report.html").is_file()
    assert len(results[0]) == 6  # two starts, the surface, its volume, and the bound
    assert results[0] == pytest.approx(results[1], rel=1e-3)


def test_groups_that_ranks_do_not_suffice_for(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"InputError: Groups\(3\) on 2 ranks"):
        run("stiff_cell", 2, tmp_path / "run", "--groups", "3")


def test_the_catalogue_is_the_same_on_one_rank_and_on_two(tmp_path: Path) -> None:
    rows = []
    for ranks in (1, 2):
        folder = tmp_path / str(ranks)
        run("tpms_catalogue", ranks, folder)
        results = folder / "results" / "tpms_catalogue"
        assert (results / "catalogue.png").is_file()
        with (results / "catalogue.csv").open(encoding="utf-8") as file:
            rows.append(list(csv.DictReader(file)))
    alone, both = rows
    assert [row["family"] for row in alone] == ["P network"] * 3 + ["gyroid network"] * 3
    for one, two in zip(alone, both, strict=True):
        for column in one.keys() - {"family", "printable", "misses"}:
            assert float(one[column]) == pytest.approx(float(two[column]), rel=1e-4)
    for family in (alone[:3], alone[3:]):
        modulus, flow = ([float(row[name]) for row in family] for name in ("E/Es", "k/L2"))
        assert modulus == sorted(modulus)  # by falling porosity
        assert flow == sorted(flow, reverse=True)


def test_the_stiff_permeable_cell_is_computed_again_on_its_surface(tmp_path: Path) -> None:
    printed = run("stiff_permeable_cell", 2, tmp_path / "run")
    results = tmp_path / "run" / "results" / "stiff_permeable_cell"
    cells = np.loadtxt(results / "cells.csv", delimiter=",", skiprows=1)
    assert cells.shape == (8, 4)
    assert (cells > 0).all()
    assert (results / "cells.png").is_file()
    assert "of the bound" in printed


def test_bone_beside_a_stiff_stem_resorbs_above(tmp_path: Path) -> None:
    printed = run("remodelling", 2, tmp_path / "run")
    results = tmp_path / "run" / "results" / "remodelling"
    assert (results / "bone_mass.png").is_file()
    assert (results / "density_change.png").is_file()
    assert (results / "solid_titanium" / "bone.vtkhdf").is_file()
    row = re.search(r"^solid titanium +(.*)$", printed, flags=re.MULTILINE)
    assert row
    zones = [float(word) for word in row[1].split()][:7]
    assert min(zones) == zones[6] < 0


def test_bone_is_stressed_the_more_the_less_is_left_of_its_plate(tmp_path: Path) -> None:
    tables = []
    for ranks in (1, 2):
        folder = tmp_path / str(ranks)
        run("tibia_plate", ranks, folder)
        results = folder / "results" / "tibia_plate"
        with (results / "plates.csv").open(encoding="utf-8") as file:
            rows = [{k: v for k, v in row.items() if k != "plate"} for row in csv.DictReader(file)]
        tables.append([{name: float(word) for name, word in row.items()} for row in rows])
        assert (results / "25" / "solid.stl").is_file()
    for one, two in zip(*tables, strict=True):
        assert one == pytest.approx(two, rel=1e-3)
    for name in tables[0][0]:
        falls = name == "volume" or name.startswith(("N/mm", "plate's share"))
        numbers = [row[name] for row in tables[0]]
        assert numbers == sorted(numbers, reverse=falls), name
    for row, most in zip(tables[0], (1, 0.75, 0.5, 0.25), strict=True):
        assert row["volume"] <= most * (1 + 1e-6)


def test_a_graded_cage_spares_the_endplates_at_equal_stiffness(tmp_path: Path) -> None:
    run("spinal_segment", 2, tmp_path / "run")
    with (tmp_path / "run/results/spinal_segment/cages.csv").open(encoding="utf-8") as file:
        rows = [
            {key: float(word) for key, word in row.items() if key != "cage"}
            for row in csv.DictReader(file)
        ]
    solid, uniform, graded, peek, matched = rows
    assert graded["endplates, MPa"] < uniform["endplates, MPa"]
    assert graded["kN/mm"] > uniform["kN/mm"] * (1 - 1e-5)
    assert abs(matched["graft shielded"]) < 1e-4  # it is bone's modulus
    for stiff, soft in ((solid, uniform), (uniform, peek), (peek, matched)):
        assert stiff["kN/mm"] > soft["kN/mm"]
        assert stiff["graft shielded"] > soft["graft shielded"]
        assert stiff["graft's share"] < soft["graft's share"]


def test_the_hip_stem_shields_as_it_is_stiff(tmp_path: Path) -> None:
    """On two ranks: the order of materials, of densities, what statics fix, and what dominates."""
    run("hip_stem", 2, tmp_path / "run")
    results = tmp_path / "run" / "results" / "hip_stem"
    with (results / "stems.csv").open(encoding="utf-8") as file:
        rows = {
            row.pop("stem"): {k: float(v) for k, v in row.items()} for row in csv.DictReader(file)
        }
    titanium, peek, core = (rows[name] for name in ("solid", "PEEK", "solid core"))
    uniform = [rows[f"uniform {x}"] for x in (0.5, 0.45, 0.4)]
    works = [row["N mm"] for row in (titanium, core, *uniform, peek)]
    assert works == sorted(works)  # no stem is stiffer than the solid one
    assert core["fluid"] == pytest.approx(1, rel=1e-5)
    assert titanium["fluid"] < 1e-4  # nothing flows through a solid coat
    for zone in ("gruen 1", "gruen 7"):
        assert titanium[zone] > 0.3 > uniform[0][zone] > peek[zone]
    assert 2.0 < titanium["kN/mm"] < 3.5  # Naghavi et al. 2.76
    assert peek["kN/mm"] < 0.12 * titanium["kN/mm"]
    # the neck is statically determinate
    assert peek["neck, MPa"] == pytest.approx(titanium["neck, MPa"], rel=0.02)
    ends = [rows["point 1"], rows["point 2"]]
    feasible = [core, *(row for row in uniform if row["fluid"] >= 1)]
    assert ends[0]["shielding"] <= min(row["shielding"] for row in feasible) * (1 + 1e-5)
    assert ends[1]["N mm"] <= core["N mm"] * (1 + 1e-5)
    for picture in ("bone.png", "zones.png", "front.png", "design.png"):
        assert (results / picture).is_file()


def test_every_script_is_tried() -> None:
    """All but the spinal cage, which is the demo."""
    scripts = {path.stem for path in (ROOT / "problems").glob("*.py")}
    assert scripts - {"spinal_cage"} == set(SMALL)
