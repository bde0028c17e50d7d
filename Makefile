# cpuprobe's front door. CI runs only these targets.
PYTHON ?= python3
VENV ?= .venv
CC ?= cc
OBJCOPY ?= objcopy
BIN := $(VENV)/bin

# Two processes share the test files: guests and measured children have to keep a CPU for themselves.
# The order is that of tests/conftest.py, the longest file first.
SPREAD := -n 2 --dist loadfile --no-loadscope-reorder

# This machine's, if the core knows it: a directory of native/isa.
ISA := $(or $(notdir $(wildcard native/isa/$(shell uname -m))),x86_64)
CROSS ?= aarch64-linux-gnu-gcc
# What only the executable has: its entry and its command line.
MAIN := native/main.c native/isa/$(ISA)/start.c native/isa/$(ISA)/screen.c $(wildcard native/command/*.c)
# What judges without Python, for which aarch64 lacks the tables.
UNUSED_aarch64 := native/verdict.c native/flags.c native/survey.c $(wildcard native/command/*.c native/library/*.c)
SOURCES := $(filter-out $(UNUSED_$(ISA)),$(wildcard native/*.c native/command/*.c native/isa/$(ISA)/*.c \
    native/isa/$(ISA)/candidates/*.c))
HEADERS := $(wildcard native/*.h native/command/*.h native/isa/$(ISA)/*.h native/isa/$(ISA)/candidates/*.h)
CORE := $(filter-out $(MAIN),$(SOURCES))
# What only the extension has.
SCANNER := $(wildcard native/scan/*.c)
SCANNER_HEADERS := $(wildcard native/scan/*.h)
# What only libcpuprobe has.
EMBEDDED := $(filter-out $(UNUSED_$(ISA)),$(wildcard native/library/*.c))
EMBEDDED_HEADERS := $(wildcard native/library/*.h)
# Laid out by hand or by its generator, not by clang-format.
GENERATED := native/scan/tables.c native/words.h native/command/sentences.h \
    $(wildcard native/isa/*/facts.h native/isa/*/candidates/*.h)
LAID_OUT := $(filter-out $(GENERATED),$(wildcard native/*.[ch] native/*/*.[ch] native/isa/*/*.[ch] \
    native/isa/*/candidates/*.c))
# -march comes last so that no CFLAGS can raise it: the core has to run on every CPU there is. On
# aarch64 no compiler may choose atomics by what the kernel claims.
NATIVE_FLAGS = -std=gnu11 -Os -Wall -Wextra -Werror -ffreestanding -fno-builtin -fno-stack-protector \
    -fno-pic -fno-lto -fno-asynchronous-unwind-tables -ffunction-sections -fdata-sections \
    -Inative/isa/$(ISA) $(TARGET_$(ISA))
TARGET_x86_64 := -march=x86-64 -mtune=generic
TARGET_aarch64 := -march=armv8-a -mgeneral-regs-only -mno-outline-atomics -mbranch-protection=bti
NATIVE_LINK := -static -nostdlib -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-z,noseparate-code -Wl,--gc-sections

.DEFAULT_GOAL := help
.PHONY: help run test quick lint lint-python lint-native lint-c bench fleet-bench lab fuzz wheel wheel-aarch64 native native-aarch64 lib golden gen gen-check goldens format docs clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 12

# Two stamps: to run it takes the plain dependencies, seconds and under 100 MB; the tests take hundreds.
PARTS := pyproject.toml setup.py native/binding.py $(CORE) $(HEADERS) $(SCANNER) $(SCANNER_HEADERS)
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

$(BIN)/.runs: $(PARTS)
	@echo 'setting up $(VENV)' >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@CPUPROBE_REQUIRE_NATIVE=1 $(PIP) --editable '.$(EXTRA)'
	@# pip compiles what it installs; an editable package is left to the first import, which may not write
	@$(BIN)/python -m compileall -q probe/cpuprobe profiles
	@echo 'the command is $(BIN)/cpuprobe; `. $(BIN)/activate` makes it cpuprobe' >&2
	@touch $@

# All at once, for each time that pip is asked it compiles the extension.
$(BIN)/.installed: $(PARTS)
	@echo 'fetching what the tests need, too' >&2
	@rm -f $(BIN)/.runs
	@$(MAKE) --no-print-directory EXTRA='[test]' $(BIN)/.runs
	@touch $@

run: $(BIN)/.runs ## set up and probe this machine (ARGS="--json")
	@$(BIN)/cpuprobe $(ARGS)

# Python is started many hundred times: what it imports is compiled once, whatever the caller's way.
test quick: export PYTHONDONTWRITEBYTECODE =

test: $(BIN)/.installed ## set up and run every test (ARGS="-k name")
	$(BIN)/python -m pytest $(SPREAD) $(ARGS)

quick: $(BIN)/.installed ## the tests that take under a minute in all
	$(BIN)/python -m pytest $(SPREAD) -m "not lab and not slow" --hypothesis-profile=quick $(ARGS)

lint: lint-python lint-native ## ruff, mypy --strict, and the C code under -Werror with gcc and clang

lint-python: $(BIN)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lint-native:
	$(MAKE) --no-print-directory lint-c ISA=x86_64 COMPILERS="gcc clang"
	$(MAKE) --no-print-directory lint-c ISA=aarch64 COMPILERS="$(CROSS) clang,--target=aarch64-linux-gnu"
	if command -v clang-format >/dev/null; then \
	    clang-format --dry-run --Werror $(LAID_OUT); \
	else echo "lint: no clang-format here"; fi

# COMPILERS: their options behind commas.
lint-c:
	for compiler in $(COMPILERS); do \
	    if command -v $${compiler%%,*} >/dev/null; then \
	        printf '%s\n' $(SOURCES) $(SCANNER) $(EMBEDDED) | xargs -P 2 -n 1 \
	            $$(echo $$compiler | tr , ' ') $(NATIVE_FLAGS) -c -o /dev/null || exit 1; \
	    else echo "lint: no $${compiler%%,*} here"; fi; done

format: $(BIN)/.installed ## lay out the Python and C code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	clang-format -i $(LAID_OUT)

native: build/cpuprobe-native ## leave the static executable at build/cpuprobe-native

native-aarch64: ## the same for aarch64 at build/cpuprobe-native-aarch64 (CROSS=aarch64-linux-gnu-gcc)
	$(MAKE) ISA=aarch64 CC="$(CROSS)" EXECUTABLE=build/cpuprobe-$@ build/cpuprobe-$@

EXECUTABLE := build/cpuprobe-native
STRIP = $(shell $(CC) -print-prog-name=strip)

$(EXECUTABLE): $(SOURCES) $(HEADERS)
	@mkdir -p build
	$(CC) $(NATIVE_FLAGS) $(NATIVE_LINK) -o $@.new $(SOURCES)
	@$(STRIP) $@.new 2>/dev/null || true
	mv $@.new $@

# For programs that embed a runtime: one object whose only names are those of cpuprobe.h.
LIBRARY := $(CORE) $(EMBEDDED)
LIBRARY_OBJECTS := $(patsubst native/%.c,build/objects/%.o,$(LIBRARY))
LIBRARY_FLAGS := $(filter-out -fno-pic,$(NATIVE_FLAGS)) -fPIC -fvisibility=hidden
LIBRARY_FILES := build/lib/libcpuprobe.a build/include/cpuprobe.h build/lib/pkgconfig/cpuprobe.pc \
    build/lib/cmake/cpuprobe/cpuprobe-config.cmake build/lib/cmake/cpuprobe/cpuprobe-config-version.cmake

lib: $(LIBRARY_FILES) ## leave libcpuprobe.a, cpuprobe.h, pkg-config's and CMake's files in build/

build/objects/%.o: native/%.c $(HEADERS) $(EMBEDDED_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(LIBRARY_FLAGS) -c -o $@ $<

build/lib/libcpuprobe.a: $(LIBRARY_OBJECTS)
	@$(if $(EMBEDDED),,echo "libcpuprobe: not for $(ISA), whose verdict is Python's" >&2; exit 1)
	@mkdir -p $(@D)
	$(LD) -r -o build/objects/libcpuprobe.o $(LIBRARY_OBJECTS)
	$(OBJCOPY) --localize-hidden --strip-unneeded build/objects/libcpuprobe.o
	rm -f $@
	$(AR) rcsD $@ build/objects/libcpuprobe.o

build/include/cpuprobe.h: native/library/cpuprobe.h
	@mkdir -p $(@D)
	cp $< $@

# The version is words.h's, which `make gen` takes from pyproject.toml.
VERSION = $(shell sed -n 's/^.define CPUPROBE_VERSION "\(.*\)"/\1/p' native/words.h)

build/lib/pkgconfig/%: native/library/%.in native/words.h
	@mkdir -p $(@D)
	sed 's/@VERSION@/$(VERSION)/' $< > $@

build/lib/cmake/cpuprobe/%: native/library/%.in native/words.h
	@mkdir -p $(@D)
	sed 's/@VERSION@/$(VERSION)/' $< > $@

wheel: $(BIN)/.installed ## wheels for glibc and musl and the source in dist/, checked by auditwheel
	rm -rf dist
	CPUPROBE_REQUIRE_NATIVE=1 $(BIN)/python -m build --outdir dist .
	$(BIN)/python -m tests.tools.wheels dist

wheel-aarch64: $(BIN)/.installed ## the same for aarch64, by a cross compiler (CROSS=aarch64-linux-gnu-gcc)
	rm -f dist/*aarch64.whl
	CPUPROBE_ISA=aarch64 CC="$(CROSS)" CPUPROBE_REQUIRE_NATIVE=1 $(BIN)/python -m build --wheel --outdir dist .
	$(BIN)/python -m tests.tools.wheels dist

bench: $(BIN)/.installed native ## speed, as ratios measured side by side
	@$(BIN)/python -m compileall -q probe/cpuprobe profiles
	$(BIN)/python -m tests.tools.bench

fleet-bench: $(BIN)/.installed ## 100,000 reports and 20,000 texts: rates and memory (REPORTS=100000 TEXTS=20000)
	$(BIN)/python -m tests.tools.fleet_bench --reports $(or $(REPORTS),100000) --texts $(or $(TEXTS),20000)

lab: $(BIN)/.installed ## real kernels and emulated CPUs: world, expected, seen, time
	$(BIN)/python -m tests.lab $(ARGS)

fuzz: $(BIN)/.installed ## fuzz the readers of captures and files, and the scanner, ten minutes each (SECONDS=600)
	@mkdir -p build
	$(BIN)/python -m tests.fuzz.fuzz_captures -max_total_time=$(or $(SECONDS),600) -artifact_prefix=build/
	$(BIN)/python -m tests.fuzz.fuzz_containers -max_total_time=$(or $(SECONDS),600) -artifact_prefix=build/
	$(BIN)/python -m tests.fuzz.fuzz_fleets -max_total_time=$(or $(SECONDS),600) -artifact_prefix=build/
	clang -std=gnu11 -g -O1 -DWITH_LIBFUZZER -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
	    -D_GNU_SOURCE -DSWEEP_LANE=64 -Inative/scan -o build/fuzz_scan tests/native/fuzz_scan.c $(SCANNER)
	build/fuzz_scan -max_total_time=$(or $(SECONDS),600) -max_len=4096 -artifact_prefix=build/

golden: $(BIN)/.installed ## recompute the expected outputs of all candidates and cross-check them
	$(BIN)/python -m tests.golden.regenerate
	$(BIN)/python -m tests.golden.aarch64.regenerate
	$(MAKE) native
	$(BIN)/python -m tests.golden.crosscheck build/cpuprobe-native

gen: $(BIN)/.installed ## remake what is generated and committed
	$(BIN)/python -m tests.golden.regenerate
	$(BIN)/python -m tests.golden.aarch64.regenerate
	$(BIN)/python -m tests.tools.share
	$(BIN)/python -m tests.tools.tables
	$(BIN)/python -m tests.tools.native_words
	$(BIN)/python -m tests.tools.native_facts
	$(BIN)/python -m tests.tools.native_facts_aarch64
	$(BIN)/python -m tests.tools.forms
	$(BIN)/python -m tests.tools.scanner
	$(BIN)/python -m tests.tools.documents

gen-check: gen ## fail if anything generated is not current
	git diff --exit-code -- native profiles/tables.json profiles/share.toml profiles/forms.json docs probe/cpuprobe/completions

docs: $(BIN)/.installed ## build the documentation as a site, build/site/index.html
	$(PIP) 'mkdocs-material>=9.5'
	$(BIN)/python -m tests.tools.site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

clean: ## remove what make made
	rm -rf build dist $(VENV) probe/cpuprobe/bin probe/cpuprobe/_native*.so *.egg-info probe/*.egg-info
