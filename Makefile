# What a person types here. `make` alone lists it; each line's work is a script that also runs by itself.
SHELL := bash
.DEFAULT_GOAL := help
ROOT := $(dir $(abspath $(lastword $(MAKEFILE_LIST))))

.PHONY: help demo test faults planted bench soak matrix fuzz deny package build clean

help: ## this list
	@sed -nE 's/^([a-z]+):.*## (.*)$$/  make \1\t\2/p' "$(ROOT)Makefile" | expand -t 18

# On a terminal in a process group of its own (-m): Ctrl-C reaches the demo, which then ends in order, and not make.
demo: ## watch gunyu copy a Redis that is being written to; until Ctrl-C, or DEMO_SECONDS=n
	@if [ -t 0 ]; then bash -mc '"$(ROOT)scripts/demo.sh"; exit $$?'; else exec "$(ROOT)scripts/demo.sh"; fi

test: ## format, lints, every test; installs what is missing and says so
	@"$(ROOT)scripts/test.sh"

faults: ## every cell of the fault suite; CELL=name for those whose names contain that
	@"$(ROOT)scripts/faults.sh" $(CELL)

planted: ## plant each defect of tests/planted and see its test catch it; hours; DEFECT=name for those whose names contain that
	@"$(ROOT)scripts/planted.sh" $(DEFECT)

bench: ## the benchmarks, beside native replication and redis-cli --pipe, as tables; half an hour
	@"$(ROOT)scripts/bench.sh"

soak: ## faults for MINUTES=n (10), memory measured, a page in target/soak/report; then the other soaks; ALONE=1 without them
	@GUNYU_SOAK_MINUTES="$(or $(MINUTES),10)" GUNYU_SOAK_ALONE="$(ALONE)" "$(ROOT)scripts/test.sh" soak

matrix: ## the version matrix: SERVERS=dir holds LABEL/bin/*-server for each
	@test -d "$(SERVERS)" || { echo "make matrix: SERVERS=dir must name the folder with the servers" >&2; exit 2; }
	@GUNYU_TEST_SERVERS="$$(cd "$(SERVERS)" && pwd)" "$(ROOT)scripts/test.sh" matrix

fuzz: ## the fuzz targets, each for SECONDS=n (60); TARGET=name for one of them
	@"$(ROOT)scripts/fuzz.sh" "$(or $(SECONDS),60)" $(TARGET)

deny: ## known holes, licences and origins of all packages; fetches the database of advisories
	@"$(ROOT)scripts/deny.sh"

package: ## the Debian package, tried in a small Debian; the static program; the manifests. As root
	@"$(ROOT)scripts/package.sh"

build: ## the optimised program, target/release/gunyu
	@cd "$(ROOT)" && cargo build --locked --release

clean: ## remove what was built
	@cd "$(ROOT)" && cargo clean
