# `make` alone lists what there is. The first target that needs Python makes .venv, later ones
# reuse it; it is brought up to date when pyproject.toml or constraints.txt changes.
#
#   make run ARGS="--seed 1"          hands arguments on
#   make test PYTHON=python3.12       names the Python to make .venv with

PYTHON ?= python3
ARGS ?=

VENV := .venv
PY   := $(VENV)/bin/python
PIP  := $(PY) -m pip install --disable-pip-version-check --quiet -c constraints.txt

.PHONY: help run assistant monitor recommender test lint notebooks lesson notebooks-check colab-check browser-check laboratory laboratory-check site site-check lab slides checkpoints bench clean distclean
.DEFAULT_GOAL := help

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' Makefile

run: $(VENV)/.installed  ## Fool a model and defend it, in some three minutes (ARGS="--seed 1")
	$(VENV)/bin/advlib run $(ARGS)

assistant: $(VENV)/.systems  ## Answer a bank's customers, on a page (ARGS="--data FILE.csv")
	$(PY) -m examples.assistant $(ARGS)

monitor: $(VENV)/.systems  ## Watch news for a surge of bad ones (ARGS="https://host/rss")
	$(PY) -m examples.monitor $(ARGS)

recommender: $(VENV)/.systems  ## A shop that recommends, on a page (ARGS="--data ITEMS.csv CLICKS.csv")
	$(PY) -m examples.recommender $(ARGS)

test: $(VENV)/.systems lint notebooks-check  ## Lint, then all tests (ARGS="-k pgd") and all notebooks
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist worksteal $(ARGS)  # two at a time, one thread each
	COURSE_STRICT=1 COURSE_RECORD=$$(mktemp -d)/record.json OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile --nbval-lax --nbval-cell-timeout 600 \
	  notebooks solutions

lint: $(VENV)/.installed  ## Check the style of the code
	$(PY) -m ruff check .

notebooks: $(VENV)/.installed  ## Build the notebooks from course/lesson_NN (LESSON=03, REPO=owner/name)
	$(PY) tools/notebooks.py --lesson '$(LESSON)' --repo '$(REPO)'

lesson: $(VENV)/.installed  ## Begin a lesson: make lesson LESSON=22 TITLE="Tables and trees"
	$(PY) tools/scaffold.py '$(LESSON)' '$(TITLE)'

notebooks-check: $(VENV)/.installed  ## Fail where a notebook is not what its source makes
	$(PY) tools/notebooks.py --check

colab-check:  ## Run every notebook with the versions that Colab ships (its torch and Python excepted)
	$(PYTHON) -m venv .venv-colab
	grep -E '^torch==' constraints.txt > .venv-colab/pins.txt
	awk '!/^(#|python|torch|tensorboard|wandb)/ {print $$1 "==" $$2}' tests/colab_versions.txt >> .venv-colab/pins.txt
	.venv-colab/bin/pip install -q --disable-pip-version-check -c .venv-colab/pins.txt torch
	.venv-colab/bin/pip install -q --disable-pip-version-check -r .venv-colab/pins.txt ipython==7.34.0 nbval 'optuna>=5.0,<6'
	.venv-colab/bin/pip install -q --disable-pip-version-check --force-reinstall --no-deps .
	cd .venv-colab && COURSE_STRICT=1 COURSE_RECORD=$$(mktemp -d)/record.json OMP_NUM_THREADS=1 bin/python -m pytest -q -p no:cacheprovider --nbval-lax --nbval-cell-timeout 600 ../notebooks ../solutions

browser-check: $(VENV)/.systems  ## Use the notebooks' widgets and the programs in a real browser
	$(PIP) playwright
	command -v chromium google-chrome >/dev/null || $(PY) -m playwright install --with-deps chromium
	OMP_NUM_THREADS=1 $(PY) tools/browser_check.py
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -k browser tests/test_assistant.py tests/test_monitor.py tests/test_recommender.py

laboratory: $(VENV)/.installed  ## Build the page that fools a model in the browser (needs npm)
	OMP_NUM_THREADS=1 $(PY) tools/build_laboratory.py

laboratory-check: laboratory  ## Build that page, use it in a real browser, compare it with the library
	$(PIP) playwright
	command -v chromium google-chrome >/dev/null || $(PY) -m playwright install --with-deps chromium
	OMP_NUM_THREADS=1 $(PY) tools/laboratory_check.py
	OMP_NUM_THREADS=1 $(PY) benchmarks/laboratory.py

site: $(VENV)/.site laboratory  ## Build the site into build/site/html (needs npm, for MathJax)
	$(PY) tools/build_site.py
	OMP_NUM_THREADS=1 $(PY) -m sphinx -q -j auto $(ARGS) build/site/source build/site/html
	@echo "The site is in build/site/html: $(PY) -m http.server -d build/site/html 8000"

site-check: $(VENV)/.site  ## Build the site, warnings as errors, and visit every page in a real browser
	rm -rf build/site/html
	$(MAKE) site ARGS="-W --keep-going"
	command -v chromium google-chrome >/dev/null || $(PY) -m playwright install --with-deps chromium
	$(PY) tools/site_check.py

lab: $(VENV)/.installed  ## Open the notebooks in JupyterLab
	$(PY) -m jupyterlab notebooks/ $(ARGS)

slides: $(VENV)/.installed  ## Slides for a lecture, one page a lesson (build/slides.html)
	$(PY) tools/slides.py $(ARGS)

checkpoints: $(VENV)/.installed  ## Train the embedded models again (40 minutes)
	$(PY) tools/pretrain.py --out runs/bert-tiny
	$(PY) tools/victims.py --pretrained runs/bert-tiny
	$(PY) tools/writer.py

bench: $(VENV)/.installed  ## Run the scripts in benchmarks/ that need no data of yours
	set -e; for script in $(filter-out benchmarks/real.py benchmarks/common.py benchmarks/laboratory.py,$(wildcard benchmarks/*.py)); do \
	  echo "== $$script"; $(PY) "$$script" $(ARGS); done

clean:  ## Remove what running and building left, runs/ included; keeps .venv
	rm -rf build dist runs .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -path ./$(VENV) -prune -o -path ./.git -prune -o -type d \
	  \( -name __pycache__ -o -name .ipynb_checkpoints \) -exec rm -rf {} +

distclean: clean  ## As clean, and .venv too
	rm -rf $(VENV) .venv-colab

# torch goes first and alone: it is by far the largest download.
$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/pip
	@echo "Installing into $(VENV). The first time this takes some minutes."
	$(PIP) torch
	$(PIP) -e '.[course,deploy,lab,test]'
	@touch $@

$(VENV)/.systems: $(VENV)/.installed
	$(PIP) -e '.[systems]'
	@touch $@

$(VENV)/.site: $(VENV)/.installed
	$(PIP) -e '.[site]'
	@touch $@

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; v = sys.version_info; (3, 11) <= v < (3, 14) or sys.exit( \
	  "advlib needs Python 3.11, 3.12 or 3.13, but $(PYTHON) is %d.%d. Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" % v[:2])'
	$(PYTHON) -m venv $(VENV)
