PY    ?= python3
VENV  ?= .venv
EXTRA ?= dev
KEY   := $(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
STAMP := $(VENV)/.installed-$(KEY)-$(EXTRA)
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

.PHONY: verdicts test lint readme bench setup clean
verdicts: setup ## the quick suite and its report
	$(VENV)/bin/rlaws run suite=quick $(ARGS)
test: setup ## the tests
	$(VENV)/bin/python -m pytest $(ARGS)
lint: setup ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
readme: verdicts ## the verdict tables and the figure of both READMEs, with small transformers and language models
	$(VENV)/bin/rlaws run suite=toy report=null
	$(VENV)/bin/rlaws run suite=llm report=null
	$(VENV)/bin/rlaws report 'formats=[markdown,markdown-zh]'
	$(VENV)/bin/python docs/make_readme.py report runs
bench: setup ## speed beside peers and a limit, in one run
	$(VENV)/bin/python -m benchmarks.run $(ARGS)
setup: $(STAMP)
$(STAMP): pyproject.toml constraints.txt
	test -x $(VENV)/bin/python || $(PY) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q -c constraints.txt uv
	$(VENV)/bin/uv pip install -q --python $(VENV)/bin/python -c constraints.txt -e '.[$(EXTRA)]' \
	  || $(VENV)/bin/python -m pip install -q -c constraints.txt -e '.[$(EXTRA)]'
	touch $@
clean: ## remove the environment
	rm -rf $(VENV)
