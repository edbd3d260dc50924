# Everything runs in .venv, which .ci/setup makes on first use.

export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

BIN := .venv/bin
LIMIT := timeout --foreground --kill-after=20s

# $(call ranks,N,MARK): the tests with that mark on N ranks. Rank 0 reports here, every other rank
# into .ranks/, shown when any rank fails. PETSc reads the command line, so pytest's options are
# kept off it.
define ranks
@echo "Tests marked '$(2)' on $(1) ranks"
@rm -rf .ranks && mkdir .ranks
@$(LIMIT) 30m $(BIN)/mpirun -n $(1) sh -c \
	'[ $$PMI_RANK = 0 ] || exec >.ranks/$$PMI_RANK.txt 2>&1; \
	PYTEST_ADDOPTS="$$PYTEST_ADDOPTS -p no:cacheprovider -m $(2)" \
	exec $(BIN)/python -m pytest' </dev/null \
	|| { code=$$?; tail -n 40 .ranks/*.txt; \
	echo "The tests on $(1) ranks failed (exit $$code; 124 is the time limit)."; exit 1; }
endef

.PHONY: help
help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 18

.PHONY: setup
setup:  ## make .venv with everything in it
	@.ci/setup

.PHONY: demo
demo: setup  ## the Pareto front of the spinal cage, on two ranks
	$(BIN)/mpirun -n 2 $(BIN)/python problems/spinal_cage.py

.PHONY: check
check: setup  ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy toolkit

.PHONY: test
test: setup  ## every test in serial, then those marked for two and three ranks
	$(LIMIT) 45m $(BIN)/python -m pytest </dev/null
	$(call ranks,2,parallel)
	$(call ranks,3,short)

.PHONY: verify
verify: setup  ## the tables of docs/verification.md (long)
	$(BIN)/python -m tests.verify

.PHONY: torture
torture: setup  ## the tables of docs/reliability.md: kills, faults, a soak (ten minutes at most)
	@$(LIMIT) 10m $(BIN)/python -m tests.torture

# make bench PEERS=FOLDER PEER_PYTHON=PYTHON runs pymoto_cantilever.py of a folder beside it
BENCH := results/bench
SIDE := $(if $(PEERS),--peers $(PEERS)) $(if $(PEER_PYTHON),--python $(PEER_PYTHON))
TWO := $(BIN)/mpirun -n 2 $(BIN)/python

.PHONY: bench
bench: setup  ## CPU seconds of design iterations, by phases, into results/bench
	@rm -rf $(BENCH) && mkdir -p $(BENCH)
	$(BIN)/python benchmarks/triad.py --json $(BENCH)/triad_1.json
	$(TWO) benchmarks/triad.py --json $(BENCH)/triad_2.json
	$(BIN)/python benchmarks/cantilever.py --resolution 16 --iterations 10 \
		--json $(BENCH)/cantilever_16.json
	$(BIN)/python benchmarks/cantilever.py --resolution 32 --iterations 10 $(SIDE) \
		--json $(BENCH)/cantilever_32.json
	$(TWO) benchmarks/cantilever.py --resolution 32 --iterations 10 \
		--json $(BENCH)/cantilever_32_2.json
	$(BIN)/python benchmarks/channel.py --resolution 16 --iterations 4 \
		--json $(BENCH)/channel_16.json
	$(BIN)/python benchmarks/implant.py --size 1 --iterations 6 --json $(BENCH)/implant_1.json
	$(BIN)/python -m benchmarks.unit_cell --stiffness 16 --permeability 16
	$(BIN)/python benchmarks/table.py $(BENCH)

.PHONY: clean
clean:  ## remove .venv, caches and results
	rm -rf .venv .ranks .mypy_cache .pytest_cache .ruff_cache .hypothesis results build dist
	find toolkit tests problems -type d -name __pycache__ -prune -exec rm -rf {} +
