"""SiMPL: inside the bounds, downhill, and as many iterations on a finer mesh."""

import numpy as np
import pytest
from test_reference import half_mbb

from toolkit import Functional, minimize
from toolkit.errors import InputError


def beam(k, sharpen=()):
    """Half an MBB beam of 30k × 10k cells under one filter, and the designs on the way."""
    design, compliance = half_mbb(30 * k, 10 * k, 1.5 * k)
    volume = Functional(design.physical * design.domain.dx) / design.domain.volume
    seen = []
    result = minimize(
        compliance,
        over=design,
        subject_to=volume <= 0.5,
        sharpen=sharpen,
        iterations=150,
        optimizer="simpl",
        tolerance=3e-4,
        watch=(seen.append,),
    )
    return result, seen


@pytest.mark.parallel
@pytest.mark.short
def test_designs_are_inside_the_bounds_and_better_each_time():
    result, seen = beam(2)
    for iteration in seen:
        assert np.all((iteration.design > 0) & (iteration.design < 1))
        assert iteration.infeasibility <= 1e-6
    assert np.all(np.diff(result.history.objective) < 0)
    assert result.reason == "converged" and result.objective < 245


def test_iterations_do_not_depend_on_the_mesh():
    """h, h/2 and h/4, to a tolerance of 3e-4 of the objective."""
    counts = [beam(k)[0].iterations for k in (1, 2, 4)]
    assert max(counts) < 1.3 * min(counts)


def test_a_volume_after_projection_is_refused():
    with pytest.raises(InputError, match="as a volume does without projection"):
        beam(1, sharpen=(0, 4))
