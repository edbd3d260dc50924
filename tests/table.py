"""The rows of the tables of docs/verification.md, and runs of a sample on so many ranks."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent


class Row(NamedTuple):
    """One line of a table."""

    quantity: str
    ours: float
    reference: float
    tolerance: float
    source: str
    absolute: bool = False

    @property
    def difference(self) -> float:
        """ours − reference, over the reference unless absolute."""
        gap = self.ours - self.reference
        return gap if self.absolute else gap / abs(self.reference)

    def __str__(self) -> str:
        difference = f"{self.difference:+.1e}" if self.absolute else f"{self.difference:+.2%}"
        if not self.absolute and abs(self.difference) < 1e-4:
            difference = f"{self.difference:+.1e}"
        verdict = "PASS" if abs(self.difference) <= self.tolerance else "**MISS**"
        numbers = f"{self.ours:.7g} | {self.reference:.7g} | {difference} | {self.tolerance:.0e}"
        return f"| {self.quantity} | {numbers} | {verdict} | {self.source} |"


Rows = list[Row]


def on_ranks(count: int, module: str) -> dict[str, Any]:
    """What the function `sample` of a module prints on so many ranks, as JSON."""
    launcher = [str(Path(sys.executable).parent / "mpirun"), "-n", str(count)] if count > 1 else []
    command = [*launcher, sys.executable, "-c", f"from {module} import sample; sample()"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found
