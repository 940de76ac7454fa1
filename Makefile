# Words of the house. Every word works from a clean clone: the venv is made on first use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Machines without an NVIDIA driver take the CPU build of torch (constraints.txt); elsewhere any torch >= 2.6.
CONSTRAINTS := $(shell nvidia-smi >/dev/null 2>&1 || echo "-c constraints.txt")
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-long lint format types layers bench bench-compare sanitize fuzz check gpu-check

$(INSTALLED): pyproject.toml setup.py CMakeLists.txt constraints.txt $(wildcard csrc/*)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q $(CONSTRAINTS) torch
	$(BIN)/python -m pip install -q $(CONSTRAINTS) -e '.[dev]'
	touch $@

demo: $(INSTALLED)  ## a synthetic archive, labeled end to end, into demo-out/
	$(BIN)/radfast demo demo-out

test: $(INSTALLED)  ## all tests but the slow suites
	$(BIN)/python -m pytest -n auto

test-long: $(INSTALLED)  ## the slow suites: real folders end to end, kill and resume at every stage
	$(BIN)/python -m pytest -m long --timeout=3000

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files 'csrc/*.cpp' 'csrc/*.h' 'csrc/*.cu' 'csrc/*.cuh' 'tests/native/*.cpp' 'tests/native/*.h')

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(git ls-files 'csrc/*.cpp' 'csrc/*.h' 'csrc/*.cu' 'csrc/*.cuh' 'tests/native/*.cpp' 'tests/native/*.h')

types: $(INSTALLED)
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.13 --cache-dir .mypy_cache/newest

layers: $(INSTALLED)  ## floors, stages apart, backends behind their dispatcher
	$(BIN)/lint-imports

bench: $(INSTALLED)  ## every case, absolute figures in work per second
	$(BIN)/python -m pytest bench/test_cases.py -m '' -p no:xdist --benchmark-only --benchmark-columns=median,iqr,rounds

bench-compare: $(INSTALLED)  ## BASE=rev: two revisions take turns in two processes
	$(BIN)/python -m bench.compare --base $(BASE)

CMAKE := $(shell command -v cmake || echo $(BIN)/cmake)

$(BIN)/cmake:
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q cmake

sanitize: $(filter $(BIN)/cmake,$(CMAKE))  ## tests/native/drive_*.cpp under ASan + UBSan, then under TSan
	for kind in address,undefined thread; do \
		$(CMAKE) -S tests/native -B build/sanitize-$$kind -DRADFAST_SANITIZE=$$kind && \
		$(CMAKE) --build build/sanitize-$$kind -j 2 && \
		(cd build/sanitize-$$kind && ctest --output-on-failure) || exit 1; \
	done

gpu-check: $(INSTALLED)  ## on a machine with a GPU: its tests, times against its rooflines, bench/results/gpu.json
	! nvidia-smi >/dev/null 2>&1 || $(BIN)/python -c 'import cupy' || $(BIN)/python -m pip install -q -e '.[cuda]'
	$(BIN)/python -m bench.gpu_check

FUZZ_SECONDS ?= 60

fuzz: $(filter $(BIN)/cmake,$(CMAKE))  ## tests/native/fuzz_*.cpp, FUZZ_SECONDS each
	@command -v clang++ >/dev/null || { echo "make fuzz needs clang++ with libFuzzer:" \
		"apt-get install clang libclang-rt-14-dev (14: the version of your clang)"; exit 1; }
	$(CMAKE) -S tests/native -B build/fuzz -DCMAKE_CXX_COMPILER=clang++ -DRADFAST_FUZZ=ON \
		-DRADFAST_SANITIZE=address,undefined
	$(CMAKE) --build build/fuzz -j 2
	for target in $(basename $(notdir $(wildcard tests/native/fuzz_*.cpp))); do \
		mkdir -p build/fuzz/corpus/$$target && \
		build/fuzz/$$target -max_total_time=$(FUZZ_SECONDS) -max_len=2048 -len_control=0 -timeout=20 -print_final_stats=1 \
			-artifact_prefix=build/fuzz/ -dict=tests/native/$$target.dict build/fuzz/corpus/$$target || exit 1; \
	done

check: lint types layers test
