# What people and continuous integration run; `make` alone prints the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The first of these that runs and is new enough: a version manager's shim may exist and still not run.
PYTHON ?= $(shell for p in python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

# Constraints for what is installed, and for what builds it.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# What an analysis needs and no more; the limit is in MB.
CORE := .venv
CORE_LIMIT := 400
RADIOGRAPHS := .demo-data/data_store/data
# What training, evaluation and the tests need on top.
TEST := .venv-test
# What is inside 3D Slicer 5.12, for the tests of slicer_extension/.
SLICER := .venv-slicer
# The MONAI Deploy App SDK, which pins other versions, for the tests of deploy_app/.
DEPLOY := .venv-deploy

# The viewer that reports are opened in, by versions: the npm package @ohif/app, of the MIT licence.
OHIF := 3.13.2 3.11.1

# Processes that run the tests side by side, each on one core; each takes up to 3 GB of memory.
WORKERS ?= 2

SOURCES := $(shell find monai_bone_ssl bundle/models -type f -not -name '*.pyc' 2>/dev/null)

.PHONY: help demo test test-slow test-pacs coverage mutation bench lint docs core deploy ohif slicer map debian-tools wheel clean

help:  ## print this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
		printf 'make %-13s %s\n' "$$name" "$$text"; done

demo: $(CORE)/.installed $(RADIOGRAPHS)  ## analyse real radiographs with the model shipped
	@tools/demo.sh $(CORE)/bin $(RADIOGRAPHS) demo_out

test: debian-tools lint core demo deploy slicer  ## everything but the slow tests: lint, types, demo, all tiers
	OMP_NUM_THREADS=1 $(TEST)/bin/python -m pytest -m 'not slow' --ignore tests/pacs \
		-n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-slow: $(TEST)/.installed deploy debian-tools  ## the tests that take minutes each
	$(TEST)/bin/python -m pytest -m slow

test-pacs: $(TEST)/.installed ohif  ## the DICOM node with a real archive (Orthanc, PostgreSQL) and viewer (OHIF)
	@tools/debian_tools.sh tools/debian/test.txt tools/debian/pacs.txt
	$(TEST)/bin/python -m pytest -m 'not slow' tests/pacs

coverage: $(TEST)/.installed debian-tools  ## which lines of the package the tests run, the DICOM node's too (an hour)
	@tools/debian_tools.sh tools/debian/pacs.txt
	$(TEST)/bin/coverage run -m pytest -m 'not slow' -k 'not full_disk'  # coverage needs room for its own file
	$(TEST)/bin/coverage combine --quiet
	$(TEST)/bin/coverage report --skip-covered

mutation: $(TEST)/.installed  ## put small faults into the clinical modules and see whether a test notices
	PATH="$(CURDIR)/$(TEST)/bin:$$PATH" OMP_NUM_THREADS=1 mutmut run --max-children 1
	$(TEST)/bin/mutmut results

# BENCH_DATA and BENCH_WEIGHTS, FracAtlas and the backbone, add the row of accuracy.
bench: core $(TEST)/.installed  ## measure the speed: benchmarks/results.json and a table (an hour)
	$(TEST)/bin/python -m benchmarks.speed $(if $(BENCH_DATA),--accuracy $(BENCH_DATA) $(BENCH_WEIGHTS))

lint: $(TEST)/.installed  ## style and types
	$(TEST)/bin/ruff check
	$(TEST)/bin/ruff format --check
	$(TEST)/bin/mypy

docs: $(TEST)/.installed  ## the reference pages from the code, and the site: site/index.html
	PYTHONPATH=. $(TEST)/bin/python tools/make_reference.py
	PYTHONPATH=. $(TEST)/bin/python tools/draw_architecture.py
	NO_MKDOCS_2_WARNING=1 $(TEST)/bin/mkdocs build --strict --quiet
	@echo 'Site: site/index.html'

core: $(CORE)/.installed  ## the environment of an analysis, and its size
	@size=$$(du -sm $(CORE) | cut -f1); echo "$(CORE) takes $$size MB, the limit is $(CORE_LIMIT)"; \
		test "$$size" -lt $(CORE_LIMIT)

deploy: $(DEPLOY)/.installed  ## the environment of the MONAI Deploy application, for its tests

ohif: $(OHIF:%=.ohif/%/dist/index.html)  ## the OHIF viewer, for the tests that open reports in it (npm fetches it)

slicer: $(SLICER)/.installed  ## the environment of 3D Slicer's libraries, for the tests of the extension

map: $(CORE)/.installed  ## build the MONAI application package (docker, podman or buildah)
	@tools/map.sh $(CORE)/bin/python

debian-tools:  ## Debian's packages that tests use (installed when run as root)
	@tools/debian_tools.sh tools/debian/test.txt

wheel: $(CORE)/.installed  ## build dist/*.whl, model included
	$(CORE)/bin/pip wheel -qq --no-deps --wheel-dir dist .
	@ls -lh dist/*.whl

clean:  ## remove environments, builds, results and caches
	rm -rf $(CORE) $(TEST) $(DEPLOY) $(SLICER) .demo-data .ohif build dist site demo_out .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(CORE)/bin/pip $(TEST)/bin/pip $(DEPLOY)/bin/pip $(SLICER)/bin/pip:
	@tools/new_venv.sh "$(PYTHON)" $(@D)/..

# The wheel is built and installed, not the checkout: that proves that it has all an analysis needs.
$(CORE)/.installed: pyproject.toml constraints.txt $(SOURCES) | $(CORE)/bin/pip
	@echo 'Installing monai-bone-ssl in $(CORE)'
	@$(CORE)/bin/pip install -qq .
	@touch $@

# The demo's radiographs come as a Python package; beside the environment, because they are no part of it.
$(RADIOGRAPHS): constraints.txt | $(CORE)/bin/pip
	@$(CORE)/bin/pip install -qq --no-compile --upgrade --target .demo-data pydicom-data
	@touch $@

$(TEST)/.installed: pyproject.toml constraints.txt | $(TEST)/bin/pip
	@echo 'Installing the test environment in $(TEST): 8 GB with torch, several minutes'
	@$(TEST)/bin/pip install -qq --editable '.[dev,docs,evaluate,serve,train]'
	@touch $@

# The application's own lock file holds every version; the constraints above are for other environments.
$(DEPLOY)/.installed: deploy_app/requirements.txt | $(DEPLOY)/bin/pip
	@echo 'Installing the MONAI Deploy App SDK in $(DEPLOY)'
	@env -u PIP_CONSTRAINT $(DEPLOY)/bin/pip install -qq --no-deps --requirement $<
	@$(DEPLOY)/bin/pip check
	@touch $@

.ohif/%/dist/index.html:
	@echo 'Fetching OHIF $* (MIT licence) into .ohif/$*'
	@mkdir -p .ohif/$*
	@cd .ohif/$* && npm pack --silent @ohif/app@$* > /dev/null && tar xzf ohif-app-$*.tgz --strip-components=1
	@rm .ohif/$*/ohif-app-$*.tgz

# Slicer's own versions, whole; the package comes from the checkout.
$(SLICER)/.installed: tests/slicer/requirements.txt | $(SLICER)/bin/pip
	@echo 'Installing what is inside 3D Slicer in $(SLICER)'
	@env -u PIP_CONSTRAINT $(SLICER)/bin/pip install -qq --no-deps --requirement $<
	@touch $@
