"""Stiffness of a 50 % sheet gyroid by FFT, six load cases: numpy and scipy alone.

An independent script that shares no code with the toolkit. Strains by conjugate gradients on the
projected Lippmann–Schwinger equation (Zeman, Vondřejc, Novák & Marek 2010,
doi:10.1016/j.jcp.2010.07.010), with the rotated scheme's wave vectors (Willot 2015,
doi:10.1016/j.crme.2014.12.005).

Run:  python benchmarks/peers/fft_homog.py N TOLERANCE
"""

import sys
import time

import numpy as np
import scipy.fft

VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
NU, VOID = 0.3, 1e-9


def sheet_gyroid(n, fraction=0.5):
    """Voxels of 0 and 1 whose solid is this fraction, by the level at their centres."""
    x = (np.arange(n) + 0.5) / n * 2 * np.pi
    X, Y, Z = np.meshgrid(x, x, x, indexing="ij")
    g = np.abs(np.sin(X) * np.cos(Y) + np.sin(Y) * np.cos(Z) + np.sin(Z) * np.cos(X))
    return g < np.quantile(g, fraction)


def homogenise(solid, tolerance):
    """The stiffness, 6×6, for E = 1 in the solid, and the iterations of each case."""
    n = solid.shape[0]
    E = np.where(solid, 1.0, VOID)
    λ, μ2 = E * NU / (1 + NU) / (1 - 2 * NU), E / (1 + NU)
    full, half = np.fft.fftfreq(n) * 2 * np.pi, np.fft.rfftfreq(n) * 2 * np.pi
    K = np.meshgrid(full, full, half, indexing="ij")
    c, s = [np.cos(k / 2) for k in K], [np.sin(k / 2) for k in K]
    q = np.stack([s[0] * c[1] * c[2], c[0] * s[1] * c[2], c[0] * c[1] * s[2]])
    q2 = (q**2).sum(0)
    q2[q2 < 1e-28] = np.inf
    weight = np.array([1, 1, 1, 2, 2, 2.0])[:, None, None, None]

    def stress(ε):
        σ = μ2 * ε
        σ[:3] += λ * (ε[0] + ε[1] + ε[2])
        return σ

    def project(σ):
        h = scipy.fft.rfftn(σ, axes=(1, 2, 3), workers=1)
        t = [sum(h[VOIGT.index((min(i, j), max(i, j)))] * q[j] for j in range(3)) for i in range(3)]
        tt = sum(t[i] * q[i] for i in range(3))
        u = [(2 * t[i] - q[i] * tt / q2) / q2 for i in range(3)]
        for a, (i, j) in enumerate(VOIGT):
            h[a] = 0.5 * (q[i] * u[j] + q[j] * u[i])
        return scipy.fft.irfftn(h, s=σ.shape[1:], axes=(1, 2, 3), workers=1)

    C, iterations = np.zeros((6, 6)), []
    for case in range(6):
        mean = np.zeros((6, 1, 1, 1))
        mean[case] = 1.0 if case < 3 else 0.5
        ε = np.broadcast_to(mean, (6, *solid.shape)).copy()
        r = -project(stress(ε))
        p, rr, d = r.copy(), (weight * r * r).sum(), np.zeros_like(ε)
        first = rr
        count, new = 0, first
        while new >= tolerance**2 * first:
            count += 1
            Ap = project(stress(p))
            step = rr / (weight * p * Ap).sum()
            d += step * p
            r -= step * Ap
            new = (weight * r * r).sum()
            p = r + (new / rr) * p
            rr = new
        iterations.append(count)
        C[:, case] = stress(ε + d).mean((1, 2, 3))
    return C, iterations


if __name__ == "__main__":
    solid = sheet_gyroid(int(sys.argv[1]))
    began = time.process_time()
    C, iterations = homogenise(solid, float(sys.argv[2]))
    seconds = time.process_time() - began
    print(f"cpu {seconds:.2f} C11 {C[0, 0]:.6f} C12 {C[0, 1]:.6f} C44 {C[3, 3]:.6f} {iterations}")
