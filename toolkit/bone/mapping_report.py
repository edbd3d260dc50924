"""Every setting and result of a mapping from an image to moduli, to be printed with the results.

Knowles et al. 2016 (doi:10.1186/s40634-016-0072-2) find that most studies leave out some of these,
so that none can be repeated.
"""

from dataclasses import asdict, dataclass

__all__ = ["MappingReport"]


@dataclass(frozen=True)
class MappingReport:
    """What was mapped, how, and what came out; the same on every rank.

    Attributes:
        image: Source of the image.
        voxels: Its shape.
        spacing: mm along its axes.
        shear: Degrees by which its axes miss a right angle.
        image_notes: What was found and done on reading it.
        mesh: The domain's source, its shape of cells and their number.
        calibration: Line from HU to a density, and how it was found.
        conversion: Between the calibration's density and the law's.
        law: Name, source, valid range and DOI.
        interpolation: How values between voxels are found.
        average: What is averaged over a cell.
        points: Fewest and most quadrature points of a cell.
        outside: What is done outside the law's range: "warn" or "clamp".
        below: Share of the volume below the range.
        above: Share of the volume above it.
        clamped: Share of the volume whose density was clamped.
        minimum: Least modulus, MPa; 0 for none.
        raised: Share of the volume raised to it.
        beyond: Share of the volume outside the image, where its border's value was taken.
        volume: Of the domain, mm³.
        distinct: Number of distinct moduli, to six digits.
        modulus: Least, mean over the volume and largest modulus of a cell, MPa.
        density: The same of the density that the law takes, before clamping, g/cm³.
        hounsfield: The same of the image's values.
    """

    image: str
    voxels: tuple[int, int, int]
    spacing: tuple[float, float, float]
    shear: float
    image_notes: tuple[str, ...]
    mesh: str
    calibration: str
    conversion: str
    law: str
    interpolation: str
    average: str
    points: tuple[int, int]
    outside: str
    below: float
    above: float
    clamped: float
    minimum: float
    raised: float
    beyond: float
    volume: float
    distinct: int
    modulus: tuple[float, float, float]
    density: tuple[float, float, float]
    hounsfield: tuple[float, float, float]

    def as_dict(self) -> dict[str, object]:
        """All of it, for JSON or a table."""
        return asdict(self)

    def text(self) -> str:
        """A line for each item, as for a methods section."""
        triple = "{:.5g} / {:.5g} / {:.5g}".format
        lines = {
            "image": f"{self.image}, {' x '.join(map(str, self.voxels))} voxels",
            "spacing": f"{' x '.join(f'{h:.4g}' for h in self.spacing)} mm, "
            f"axes {self.shear:.2f}° off right angles",
            "image notes": "; ".join(self.image_notes) or "none",
            "mesh": f"{self.mesh}, {self.volume:.6g} mm³",
            "calibration": self.calibration,
            "conversion": self.conversion,
            "law": self.law,
            "interpolation": self.interpolation,
            "average": f"{self.average}, {self.points[0]} to {self.points[1]} points a cell",
            "outside the law's range": f"{self.below:.2%} below, {self.above:.2%} above; "
            f"{self.outside}, {self.clamped:.2%} clamped",
            "least modulus": f"{self.minimum:g} MPa, {self.raised:.2%} raised to it",
            "outside the image": f"{self.beyond:.2%}",
            "distinct moduli": str(self.distinct),
            "modulus min / mean / max": f"{triple(*self.modulus)} MPa",
            "density min / mean / max": f"{triple(*self.density)} g/cm³",
            "HU min / mean / max": triple(*self.hounsfield),
        }
        return "\n".join(f"{name:<26}{value}" for name, value in lines.items())
