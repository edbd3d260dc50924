"""Each problem script runs as it stands, on one rank and on two, small and short."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SMALL = {
    "cantilever": ["--resolution", "8", "--iterations", "4"],
    "diffuser": ["--resolution", "12", "--iterations", "4"],
    "double_pipe": ["--resolution", "12", "--iterations", "4"],
    "pipe_bend": ["--resolution", "10", "--iterations", "4"],
    "stiff_channel": ["--resolution", "4", "--iterations", "2"],
}
LIMIT = 120  # seconds for one script


def run(name: str, ranks: int, folder: Path) -> str:
    """What the script prints; it runs in the folder."""
    command = [sys.executable, str(ROOT / "problems" / f"{name}.py"), *SMALL[name]]
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
    lines = re.findall(r"^ *\d+ \( *\d+\)  \S+ (\S+)", printed, flags=re.MULTILINE)
    assert lines, f"{name} printed no iteration:\n{printed}"
    return [float(word) for word in lines]


@pytest.mark.parametrize("name", SMALL)
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


def test_every_script_is_tried() -> None:
    """All but the spinal cage, which is the demo."""
    scripts = {path.stem for path in (ROOT / "problems").glob("*.py")}
    assert scripts - {"spinal_cage"} == set(SMALL)
