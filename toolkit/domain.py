"""A mesh whose regions and surfaces have names: dx("bone"), ds("head"), dl("edge"), dP("point").

Cells keep the position they have in the mesh file, on any number of ranks: `Domain.cells` says
where each owned cell stands, and `gather_cells` and `scatter_cells` go between a whole vector in
that order and the cells of this rank. Regions may overlap.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self
from weakref import WeakValueDictionary

import basix.ufl
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import cpp, fem, graph, mesh
from dolfinx.io import utils as io_utils
from mpi4py import MPI
from ufl.algorithms.apply_algebra_lowering import apply_algebra_lowering
from ufl.algorithms.estimate_degrees import estimate_total_polynomial_degree
from ufl.domain import extract_domains

from toolkit import meshfile
from toolkit.errors import InputError, agree, together
from toolkit.exchange import share

__all__ = ["Domain", "Lattice", "Measure", "completed"]

Shape = Literal["triangle", "quadrilateral", "tetrahedron", "hexahedron"]
_WORD = {0: "point", 1: "curve", 2: "surface", 3: "volume"}


class Measure(ufl.Measure):
    """A UFL measure that is called with names: `ds("head")`, `dx("cage", "screw")`.

    Several names stand for the union of their regions. `dx(degree=4)` asks for a quadrature degree.
    """

    def __init__(
        self,
        kind: str,
        domain: "Domain",
        codimension: int,
        region: int | str = "everywhere",
        **metadata: int,
    ) -> None:
        super().__init__(
            kind,
            domain=domain.mesh,
            subdomain_id=region,
            subdomain_data=domain.integration_domains(kind),
            metadata=metadata,
        )
        self._of, self._codimension = domain, codimension

    def __call__(self, *names: str, degree: int | None = None) -> "Measure":
        """The measure restricted to the union of the named regions."""
        kind, codimension = self.integral_type(), self._codimension
        region = self._of.integral_id(kind, codimension, names) if names else "everywhere"
        if degree is not None and degree < 2:
            raise InputError(
                f"degree={degree} is a rule of one point, which the form compiler confuses with "
                "the other rules of a form. Ask for 2 or more."
            )
        metadata = {} if degree is None else {"quadrature_degree": degree}
        return Measure(kind, self._of, codimension, region, **metadata)


def completed(form: ufl.Form) -> ufl.Form:
    """A form whose integrals all have their domain's regions and a quadrature degree of their own.

    The degree is settled before the form is differentiated, so that a derivative is integrated by
    the rule of what it is the derivative of. It is exact for polynomial integrands on affine cells
    and parallelepipeds (8 points for the stiffness of a trilinear hexahedron); `dx(degree=4)` asks
    for another. Rules of one point are for constants on affine cells alone: the form compiler gives
    what it finds at that point to the other rules of a form (FFCx issue 394).
    """
    integrals = []
    for integral in form.integrals():
        metadata, data = dict(integral.metadata()), integral.subdomain_data()
        if "quadrature_degree" not in metadata:
            geometry = integral.ufl_domain().ufl_coordinate_element().embedded_superdegree
            degree = estimate_total_polynomial_degree(apply_algebra_lowering(integral.integrand()))
            curved = integral.ufl_domain().topological_dimension * (geometry - 1)
            affine = integral.ufl_domain().is_piecewise_linear_simplex_domain()
            metadata["quadrature_degree"] = 0 if affine and not degree else max(degree + curved, 2)
        domain = Domain.of_mesh.get(integral.ufl_domain().ufl_id())
        if data is None and domain is not None:
            data = domain.integration_domains(integral.integral_type())
        integrals.append(integral.reconstruct(metadata=metadata, subdomain_data=data))
    return ufl.Form(integrals)


class Lattice(NamedTuple):
    """The grid of a box of quadrilaterals or hexahedra, from the origin.

    Attributes:
        lengths: Edge lengths, (d,).
        resolution: Cells along each axis, (d,).
        periodic: Whether the two ends of an axis are one, (d,).
    """

    lengths: tuple[float, ...]
    resolution: tuple[int, ...]
    periodic: tuple[bool, ...]


class Domain:
    """A distributed mesh and the names of its parts.

    Attributes:
        mesh: The DOLFINx mesh; neighbours across rank boundaries are present as ghosts.
        comm: Its communicator.
        dimension: 2 or 3.
        num_cells: Number of cells of all ranks.
        tensor_cells: Whether the cells are quadrilaterals or hexahedra.
        cells: Position in the mesh file of each cell that this rank owns, (owned,).
        source: What it was made from, for messages.
        fingerprint: Hash of coordinates, cells and names; does not depend on the ranks.
        of_mesh: The domains alive, by the number of their UFL mesh.
        lattice: The grid, of a box of quadrilaterals or hexahedra; else None.
    """

    lattice: Lattice | None = None
    of_mesh: ClassVar["WeakValueDictionary[int, Domain]"] = WeakValueDictionary()

    def __init__(
        self,
        mesh_: mesh.Mesh,
        named: dict[tuple[int, str], npt.NDArray[np.int32]],
        *,
        source: str,
        fingerprint: str,
    ) -> None:
        """Usually called through `read`, `build` or `box`.

        Args:
            mesh_: DOLFINx mesh with ghosts shared by facets.
            named: Local entities of each (dimension, name).
            source: How messages call the mesh.
            fingerprint: Hash that identifies it.
        """
        self.mesh, self.comm = mesh_, mesh_.comm
        Domain.of_mesh[mesh_.ufl_domain().ufl_id()] = self
        self.dimension = mesh_.topology.dim
        self.source, self.fingerprint = source, fingerprint
        self._named = named
        self._domains: dict[str, list[tuple[int, npt.NDArray[np.int32]]]] = {}
        self._ids: dict[tuple[str, str], int] = {}
        topology = mesh_.topology
        for dim in range(self.dimension + 1):
            topology.create_entities(dim)
            topology.create_connectivity(dim, self.dimension)
            topology.create_connectivity(self.dimension, dim)
        owned = topology.index_map(self.dimension)
        self.num_cells = owned.size_global
        self.tensor_cells = mesh_.topology.cell_name() in ("quadrilateral", "hexahedron")
        self.cells = np.asarray(topology.original_cell_index[: owned.size_local], dtype=np.int64)
        self._check_volumes()

    # ---- making one -------------------------------------------------------------------------

    @classmethod
    def read(cls, path: str | Path, *, comm: MPI.Comm = MPI.COMM_WORLD) -> Self:
        """Read a gmsh .msh with physical names on rank 0, or its converted .h5 in parallel.

        Raises:
            InputError: No such file, no physical groups, mixed cells, cells without volume.
        """
        return cls._distribute(meshfile.read_slices(Path(path), comm), comm, str(path))

    @classmethod
    def build(cls, geometry: Callable[..., Any], *, comm: MPI.Comm = MPI.COMM_WORLD) -> Self:
        """Mesh a gmsh model on rank 0 and distribute it.

        Args:
            geometry: Called on rank 0 without arguments, with gmsh initialised and an empty
                model; builds the geometry, names its parts and generates the mesh.
            comm: Communicator of the mesh.
        """
        arrays, source = cls._model(geometry, comm)
        return cls._distribute(arrays, comm, source)

    @classmethod
    def of(cls, expression: Any) -> "Domain":
        """The domain that a UFL expression lives on.

        Raises:
            InputError: It lives on none, as a number does, or on a mesh without names.
        """
        meshes = extract_domains(ufl.as_ufl(expression))
        found = [cls.of_mesh[m.ufl_id()] for m in meshes if m.ufl_id() in cls.of_mesh]
        if len(found) != 1 or len(meshes) != 1:
            raise InputError(
                f"{str(expression)[:60]} lives on {len(found)} domains, where one is needed. Give "
                "UFL of functions of one Domain."
            )
        return found[0]

    @staticmethod
    def _model(geometry: Callable[..., Any], comm: MPI.Comm) -> tuple[meshfile.MeshArrays, str]:
        """Each rank's slice of the mesh of a gmsh model, and what to call it; collective."""
        inner = geometry.func if isinstance(geometry, partial) else geometry
        source = getattr(inner, "__name__", "gmsh model")
        arrays = meshfile._EMPTY
        with together(comm):
            if comm.rank == 0:
                arrays = meshfile.build(lambda _: geometry(), source=source)
        return meshfile.dealt(arrays, comm), source

    @classmethod
    def box(
        cls,
        lengths: Sequence[float],
        resolution: Sequence[int],
        *,
        shape: Shape | None = None,
        comm: MPI.Comm = MPI.COMM_WORLD,
    ) -> Self:
        """A rectangle or box from the origin; faces are named xmin, xmax, ymin, ymax, zmin, zmax.

        Args:
            lengths: Two or three edge lengths.
            resolution: Number of cells along each.
            shape: Cell shape; quadrilaterals and hexahedra unless given.
            comm: Communicator of the mesh.
        """
        d = len(lengths)
        shapes: dict[int, tuple[Shape, Shape]] = {
            2: ("quadrilateral", "triangle"),
            3: ("hexahedron", "tetrahedron"),
        }
        if d not in shapes or len(resolution) != d:
            raise InputError(
                f"Domain.box: lengths {tuple(lengths)} and resolution {tuple(resolution)} must "
                "both have two or three entries."
            )
        if min(lengths) <= 0 or min(resolution) < 1:
            raise InputError(
                f"Domain.box: lengths {tuple(lengths)} must be positive and resolution "
                f"{tuple(resolution)} at least 1."
            )
        shape = shape or shapes[d][0]
        if shape not in shapes[d]:
            raise InputError(f"Domain.box: shape '{shape}' is none of {', '.join(shapes[d])}.")
        if d == 2:
            box = _rectangle(comm, (lengths[0], lengths[1]), (resolution[0], resolution[1]), shape)
        else:  # DOLFINx makes each rank's slice there
            ends = [np.zeros(d), np.asarray(lengths, dtype=float)]
            box = mesh.create_box(
                comm,
                ends,
                list(resolution),
                mesh.CellType[shape],
                ghost_mode=mesh.GhostMode.shared_facet,
            )
        text = f"box {[float(v) for v in lengths]} {[int(v) for v in resolution]} {shape}"
        domain = cls(
            box, {}, source=text, fingerprint=hashlib.sha256(text.encode()).hexdigest()[:16]
        )
        if shape == shapes[d][0]:
            domain.lattice = Lattice(
                tuple(float(v) for v in lengths), tuple(int(n) for n in resolution), (False,) * d
            )
        for axis, letter in enumerate("xyz"[:d]):
            for side, at in (("min", 0.0), ("max", float(lengths[axis]))):
                domain.name(letter + side, d - 1, _on_plane(axis, at, 1e-9 * max(lengths)))
        return domain

    @classmethod
    def _distribute(cls, arrays: meshfile.MeshArrays, comm: MPI.Comm, source: str) -> Self:
        mesh_, named, fingerprint = cls._create(arrays, comm)
        return cls(mesh_, named, source=source, fingerprint=fingerprint)

    @staticmethod
    def _create(
        arrays: meshfile.MeshArrays, comm: MPI.Comm
    ) -> tuple[mesh.Mesh, dict[tuple[int, str], npt.NDArray[np.int32]], str]:
        """The mesh from each rank's slice, its named entities and its hash; collective."""
        shape, degree = arrays.cell
        d = arrays.points.shape[1]
        element = basix.ufl.element(
            "Lagrange", shape, degree, basix.LagrangeVariant.equispaced, shape=(d,)
        )
        mesh_ = _mesh(comm, arrays.cells, element, arrays.points)
        named = {key: _find(mesh_, key[0], nodes) for key, nodes in sorted(arrays.named.items())}
        return mesh_, named, arrays.fingerprint

    # ---- names ------------------------------------------------------------------------------

    def names(self, dim: int) -> list[str]:
        """Names of the regions of a dimension."""
        return sorted(name for key, name in self._named if key == dim)

    def entities(self, dim: int, name: str) -> npt.NDArray[np.int32]:
        """Local entities of a named region (owned, and ghosts where known).

        Raises:
            InputError: No region of that dimension has this name; lists those there are.
        """
        if (dim, name) not in self._named:
            known = ", ".join(self.names(dim)) or "none"
            others = [_WORD[k] for k, n in self._named if n == name]
            hint = f" There is a {others[0]} of that name." if others else ""
            raise InputError(
                f"The mesh '{self.source}' has no {_WORD[dim]} named '{name}'. "
                f"It has: {known}.{hint}"
            )
        return self._named[dim, name]

    def name(
        self,
        name: str,
        dim: int,
        where: Callable[[npt.NDArray[np.float64]], Any],
        *,
        midpoint: bool = False,
    ) -> None:
        """Name a region by a predicate on coordinates; collective.

        Args:
            name: Its name; must be new in its dimension.
            dim: Dimension of its entities; those one less than the domain's are boundary facets.
            where: Called with x, (3, n), returns n booleans; an entity belongs to the region if
                all its vertices satisfy it.
            midpoint: Whether it is asked of the midpoint instead, so that regions by predicates of
                which one holds at each point share no entity.

        Raises:
            InputError: The name is taken, or nothing satisfies the predicate.
        """
        if dim not in range(self.dimension + 1):
            raise InputError(f"'{name}': a dimension of {dim} is not in a {self.dimension}D mesh.")
        if (dim, name) in self._named:
            raise InputError(f"'{self.source}' has a {_WORD[dim]} named '{name}' already.")

        def predicate(x: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
            return np.broadcast_to(np.asarray(where(x), dtype=bool), x.shape[1:]).copy()

        found = self._located(dim, (lambda x: np.full(x.shape[1], True)) if midpoint else predicate)
        if midpoint:
            found = found[predicate(mesh.compute_midpoints(self.mesh, dim, found).T)]
        if self.comm.allreduce(len(found)) == 0:
            raise InputError(
                f"No {_WORD[dim]} of '{self.source}' satisfies the predicate given for '{name}'."
            )
        self._named[dim, name] = np.sort(found).astype(np.int32)

    def _located(self, dim: int, where: Callable[[npt.NDArray[np.float64]], Any]) -> Any:
        """Local entities whose vertices all satisfy `where`; facets of the boundary alone."""
        facets = dim == self.dimension - 1
        locate = mesh.locate_entities_boundary if facets else mesh.locate_entities
        return locate(self.mesh, dim, where)

    # ---- measures ---------------------------------------------------------------------------

    @cached_property
    def dx(self) -> Measure:
        """Integral over cells; `dx("bone")` over a named volume (area in 2D)."""
        return Measure("dx", self, 0)

    @cached_property
    def ds(self) -> Measure:
        """Integral over boundary facets; `ds("head")` over a named boundary."""
        return Measure("ds", self, 1)

    @cached_property
    def dS(self) -> Measure:
        """Integral over interior facets; `dS("interface")` over a named interface."""
        return Measure("dS", self, 1)

    @cached_property
    def dl(self) -> Measure:
        """Integral along named gmsh curves of a 3D domain."""
        if self.dimension != 3:
            raise InputError("dl is for curves in 3D; in 2D a curve is a boundary: use ds.")
        return Measure("ridge", self, 2)

    @cached_property
    def dP(self) -> Measure:
        """Sum over named points."""
        return Measure("vertex", self, self.dimension)

    def integration_domains(self, kind: str) -> list[tuple[int, npt.NDArray[np.int32]]]:
        """The list that all measures of a kind share; grows as names are used."""
        return self._domains.setdefault(ufl.Measure(kind).integral_type(), [])

    def integral_id(self, kind: str, codimension: int, names: tuple[str, ...]) -> int:
        """The integral's number of a union of named regions, registered on first use."""
        name = "', '".join(names)
        if (kind, name) not in self._ids:
            dim = self.dimension - codimension
            entities = np.unique(np.concatenate([self.entities(dim, each) for each in names]))
            owned = entities[entities < self.mesh.topology.index_map(dim).size_local]
            owned = self._sided(kind, owned, name)
            local = fem.compute_integration_domains(
                fem.IntegralType[kind], self.mesh.topology, owned
            )
            domains = self.integration_domains(kind)
            self._ids[kind, name] = len(domains) + 1
            domains.append((len(domains) + 1, np.asarray(local, dtype=np.int32)))
        return self._ids[kind, name]

    def _sided(self, kind: str, facets: npt.NDArray[np.int32], name: str) -> Any:
        """Those facets that lie on the boundary (ds) or inside (dS); an error if there are none."""
        if not kind.endswith("_facet"):
            return facets
        outer = np.isin(facets, mesh.exterior_facet_indices(self.mesh.topology))
        chosen = facets[outer if kind == "exterior_facet" else ~outer]
        if self.comm.allreduce(len(chosen)) == 0:
            inside = (
                "inside the domain: use dS"
                if kind == "exterior_facet"
                else "on its boundary: use ds"
            )
            raise InputError(f"'{name}' of '{self.source}' has facets only {inside}.")
        return chosen

    def integrate(self, form: ufl.Form) -> float:
        """The integral's value, summed over all ranks; collective."""
        return float(self.comm.allreduce(fem.assemble_scalar(fem.form(completed(form)))))

    @cached_property
    def volume(self) -> float:
        """Volume of the domain (area in 2D)."""
        return float(self.comm.allreduce(self.cell_volumes.sum()))

    def area(self, name: str) -> float:
        """Area of a named boundary (length in 2D); collective."""
        return self.integrate(fem.Constant(self.mesh, 1.0) * self.ds(name))

    def between(
        self, start: npt.NDArray[np.float64], end: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Vector from points to points, (n, 3)."""
        return np.asarray(end - start)

    # ---- one number a cell ------------------------------------------------------------------

    @cached_property
    def cellwise(self) -> fem.FunctionSpace:
        """The space of functions that are constant on each cell (DG0)."""
        return fem.functionspace(self.mesh, ("DG", 0))

    @cached_property
    def cell_dofs(self) -> npt.NDArray[np.int32]:
        """Position in a cell-wise function's array of each local cell, ghosts at the end."""
        return np.asarray(self.cellwise.dofmap.list[:, 0])

    @cached_property
    def cell_volumes(self) -> npt.NDArray[np.float64]:
        """Volume of each owned cell, (owned,)."""
        test = ufl.TestFunction(self.cellwise)
        volumes = fem.assemble_vector(fem.form(test * ufl.dx)).array
        return volumes[self.cell_dofs[: len(self.cells)]].copy()

    def by_region(self, values: Mapping[str, float]) -> fem.Function:
        """A cell-wise function from a number for each named volume (area in 2D); collective.

        Args:
            values: Name → value, for example Young's moduli of bone and metal. Where regions
                overlap, the later one counts.

        Raises:
            InputError: No region has this name, or cells are in none of the regions.
        """
        function = fem.Function(self.cellwise, name="by_region")
        numbers = np.full(len(self.cell_dofs), np.nan)
        for name, value in values.items():
            numbers[self.entities(self.dimension, name)] = value
        function.x.array[self.cell_dofs] = numbers
        function.x.scatter_forward()
        if bare := self.comm.allreduce(int(np.isnan(numbers[: len(self.cells)]).sum())):
            raise InputError(
                f"by_region: {bare} of {self.num_cells} cells of '{self.source}' are in none of "
                f"{', '.join(values) or 'no region'}. It has: "
                f"{', '.join(self.names(self.dimension)) or 'none'}."
            )
        return function

    def gather_cells(self, owned: npt.NDArray[Any] | fem.Function) -> npt.NDArray[np.float64]:
        """Values of all cells in mesh-file order, on every rank; collective.

        Args:
            owned: those of this rank's cells, or a cell-wise function.
        """
        if isinstance(owned, fem.Function):
            owned = owned.x.array[self.cell_dofs[: len(self.cells)]]
        counts, order = self._layout
        every = np.empty(self.num_cells)
        send = np.ascontiguousarray(owned, dtype=np.float64)
        self.comm.Allgatherv(send, [every, counts])
        whole = np.empty_like(every)
        whole[order] = every
        return whole

    def scatter_cells(self, whole: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """This rank's owned values of a vector in mesh-file order."""
        return whole[self.cells]

    @cached_property
    def _layout(self) -> tuple[list[int], npt.NDArray[np.int64]]:
        counts, order = self.comm.allgather(len(self.cells)), np.empty(self.num_cells, np.int64)
        self.comm.Allgatherv(self.cells, [order, counts])
        return counts, order

    def _check_volumes(self) -> None:
        """Refuse cells without volume: less than 1e-10 of their diameter's power; collective."""
        size = self.mesh.h(self.dimension, np.arange(len(self.cells), dtype=np.int32))
        bad = np.flatnonzero(~(self.cell_volumes > 1e-10 * size**self.dimension))
        error = None
        if len(bad):
            position = int(self.cells[bad[0]])
            error = InputError(
                f"The mesh '{self.source}' has cells without volume, the first at position "
                f"{position} of the file ({len(bad)} on this rank). Remove duplicate nodes or mesh "
                "it again."
            )
        agree(self.comm, error)


def _find(mesh_: mesh.Mesh, dim: int, nodes: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Local entities whose nodes (of the file, maybe on another rank) are given; collective."""
    mesh_.topology.create_entities(dim)
    mesh_.topology.create_connectivity(dim, 0)
    mesh_.topology.create_connectivity(dim, mesh_.topology.dim)
    entities, values = io_utils.distribute_entity_data(
        mesh_, dim, nodes, np.ones(len(nodes), dtype=np.int32)
    )
    tags = mesh.meshtags_from_entities(mesh_, dim, graph.adjacencylist(entities), values)
    return np.unique(tags.indices).astype(np.int32)


def _rectangle(
    comm: MPI.Comm, lengths: tuple[float, float], n: tuple[int, int], shape: Shape
) -> mesh.Mesh:
    """What `dolfinx.mesh.create_rectangle` makes on rank 0, each rank its own slice; collective.

    A triangle's nodes and cells run fastest along x and a quadrilateral's along y, as there.
    """
    along = (1, 0) if shape == "triangle" else (0, 1)  # slow and fast axis
    slow, fast = (int(n[axis]) for axis in along)
    step = np.array([lengths[axis] / n[axis] for axis in along])
    nodes = np.arange(*share((slow + 1) * (fast + 1), comm.rank, comm.size))
    points = np.stack(np.divmod(nodes, fast + 1), axis=1) * step
    i, j = np.divmod(np.arange(*share(slow * fast, comm.rank, comm.size)), fast)
    low = i * (fast + 1) + j
    corners = [[0, 1, fast + 1, fast + 2]]
    if shape == "triangle":
        corners = [[0, 1, fast + 2], [0, fast + 1, fast + 2]]
    cells = (low[:, None, None] + np.array(corners)).reshape(-1, len(corners[0]))
    element = basix.ufl.element(
        "Lagrange", shape, 1, lagrange_variant=basix.LagrangeVariant.unset, shape=(2,)
    )
    return _mesh(comm, cells, element, np.ascontiguousarray(points[:, list(along)]))


def _mesh(
    comm: MPI.Comm,
    cells: npt.NDArray[np.int64],
    element: Any,
    points: npt.NDArray[np.float64],
) -> mesh.Mesh:
    """`dolfinx.mesh.create_mesh` of each rank's slice, neighbours by facets as ghosts; collective.

    That function makes a Python object of every cell before it begins, unless its C++ twin is
    called by keywords (DOLFINx issue 4542): on a million cells 2 s and 200 MB.
    """
    partitioner = mesh.create_cell_partitioner(mesh.GhostMode.shared_facet, 2)
    made = cpp.mesh.create_mesh(
        comm,
        cells=np.ascontiguousarray(cells, dtype=np.int64),
        element=fem.coordinate_element(element.basix_element)._cpp_object,
        x=np.ascontiguousarray(points, dtype=np.float64),
        partitioner=partitioner if comm.size > 1 else None,
        max_facet_to_cell_links=2,
    )
    return mesh.Mesh(made, ufl.Mesh(element))


def _on_plane(axis: int, at: float, tolerance: float) -> Callable[[npt.NDArray[np.float64]], Any]:
    return lambda x: np.abs(x[axis] - at) < tolerance
