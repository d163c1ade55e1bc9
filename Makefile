# Two commands matter: `make demo` and `make test`. Everything else is one of their steps.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHONPATH := operator:model-server:tools
SOURCES := operator/modelservice_operator model-server/model_server tools/cluster tools/images tools/demo tools/dashboards tools/chart_values.py

.PHONY: help
help: ## Show the targets.
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# -- environments: uv installs the pinned and hashed requirements; a stamp remembers what is installed

$(BIN)/uv: requirements/uv.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

$(VENV)/.dev: requirements/dev.txt operator/pyproject.toml model-server/pyproject.toml $(BIN)/uv
	@echo "== installing the development environment (no torch)"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirement $<
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e operator -e model-server
	@touch $@

# Without what they ask for, which is not imported.
ALONE := model-server/requirements-explain model-server/requirements-text

$(VENV)/.test: requirements/test.txt $(ALONE:=.txt) $(VENV)/.dev
	@echo "== installing torch for the model server's tests"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirement $<
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --no-deps $(ALONE:%=--requirement %.txt)
	@touch $@

$(VENV)/.docs: requirements/docs.txt $(VENV)/.dev
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirement $<
	@touch $@

$(VENV)/checkov/bin/checkov: requirements/checkov.txt $(BIN)/uv
	@echo "== installing checkov, in an environment of its own"
	@rm -rf $(VENV)/checkov
	@$(BIN)/python -m venv $(VENV)/checkov
	@$(BIN)/uv pip install --quiet --python $(VENV)/checkov/bin/python --require-hashes --requirement $<
	@touch $@

REQUIREMENTS := operator/requirements model-server/requirements requirements/dev requirements/test requirements/docs \
	requirements/checkov requirements/uv
PEERS := $(patsubst %.in,%,$(wildcard bench/server/peers/*/requirements.in))
COMPILE := pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command 'make requirements'

.PHONY: requirements
requirements: $(BIN)/uv ## Pin all requirements anew (hashes, no addresses).
	@for f in $(REQUIREMENTS); do $(BIN)/uv $(COMPILE) --output-file $$f.txt $$f.in; done
	@for f in $(ALONE); do $(BIN)/uv $(COMPILE) --no-deps --output-file $$f.txt $$f.in; done
	@for f in $(PEERS); do `# with the same torch as ours` \
		sed -n 's/ *\\$$//; /^torch==/p' requirements/test.txt | \
		$(BIN)/uv $(COMPILE) --constraint /dev/stdin --output-file $$f.txt $$f.in; done

# -- what is generated

CRD := crds/modelservice.dev_modelservices.yaml
CHART_CRD := charts/modelservice-operator/files/$(CRD)

.PHONY: crds
crds: $(VENV)/.dev ## Generate the CRD, the chart's copy of it, and what docs/ has from the code.
	@mkdir -p $(dir $(CRD)) $(dir $(CHART_CRD))
	@$(BIN)/python -m modelservice_operator.api.crd > $(CRD)
	@cp $(CRD) $(CHART_CRD)
	@$(BIN)/python -m modelservice_operator.api.reference > docs/api.md
	@$(BIN)/python -m modelservice_operator.api.troubleshooting > docs/troubleshooting.md
	@$(BIN)/python -m modelservice_operator.rollout.table docs/rollouts.md docs/rollouts.svg

.PHONY: chart-values
chart-values: $(VENV)/.dev ## Generate docs/chart-values.md from the comments of the chart's values.yaml.
	@$(BIN)/python tools/chart_values.py > docs/chart-values.md

.PHONY: dashboards
dashboards: $(VENV)/.dev ## Generate the chart's Grafana dashboards from tools/dashboards.
	@$(BIN)/python tools/dashboards

.PHONY: docs
docs: $(VENV)/.docs ## Build the documentation into .docs; a page in no list or a link to nowhere fails.
	@rm -rf .docs  # what is kept from before is not checked again
	@$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -c docs . .docs
	@cp .docs/README.html .docs/index.html

# -- checks

.PHONY: lint
lint: $(VENV)/.test docs ## Run the linters, and build the documentation to check its links.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy $(SOURCES)
	@$(BIN)/lint-imports

# -- tests: sample sizes by default, full sizes and every real peer in test-full

PYTEST := $(BIN)/pytest
TOOLS := etcd kube-apiserver kubectl kube-controller-manager kube-scheduler kstatus argo-health helm prometheus promtool \
	kube-score versitygw registry kwok

.PHONY: tools
tools: ## Get the programs that the tests run: from the PATH, else built from pinned Go modules.
	@$(PYTHON) tools/cluster build $(TOOLS)

.PHONY: test-unit
test-unit: $(VENV)/.test ## Pure functions: seconds.
	@$(PYTEST) -n 2 tests/unit

.PHONY: test-server
test-server: $(VENV)/.test tools ## The model server over real HTTP.
	@$(PYTEST) tests/server

.PHONY: drain
drain: $(VENV)/.test ## Restart model servers under load, 50 times; the last line says in JSON what was lost.
	@PYTHONPATH=$(PYTHONPATH):tests $(BIN)/python -m server.drain 50

.PHONY: test-controlplane
test-controlplane: $(VENV)/.test tools ## The operator on a real API server.
	@$(PYTEST) -n 2 --dist loadfile tests/controlplane

.PHONY: test-e2e
test-e2e: $(VENV)/.test tools ## Real pods with a real model on a real node.
	@$(PYTEST) tests/e2e

.PHONY: test-kind
test-kind: $(VENV)/.dev ## The product on kind; where neither docker nor namespaces are to be had it says so and skips.
	@PYTHONPATH=$(PYTHONPATH):tests $(BIN)/python -m e2e.on_kind

.PHONY: faults
faults: $(VENV)/.test tools ## Kill the operator at every write, let every write meet every fault; then ten minutes of silence.
	@bash tools/faults.sh

.PHONY: test
test: ## Set everything up and run all tests.
	@bash tools/test.sh sample

.PHONY: test-full
test-full: ## The same at full sizes and with every peer tool.
	@bash tools/test.sh full

# -- benchmarks: half an hour each on an idle machine; the last line is one JSON object

.PHONY: bench-operator
bench-operator: $(VENV)/.test tools ## What the operator costs beside a bare client with the same writes.
	@PYTHONPATH=$(PYTHONPATH):tests $(BIN)/python bench/operator

.PHONY: bench-server
bench-server: $(VENV)/.test ## Our model server beside six others; the first time it installs them.
	@$(PYTHON) tools/cluster build vegeta
	@$(BIN)/python bench/server

.PHONY: bench-optimize
bench-optimize: $(VENV)/.test ## MiniLM beside eager torch and sentence-transformers; digits pruned and in INT8.
	@PYTHONPATH=$(PYTHONPATH):bench/server $(BIN)/python bench/optimize $(ARGS)

.PHONY: bench-alerts
bench-alerts: $(VENV)/.test tools ## How soon alerts come and go, how exact budgets are, and whether dashboards show all.
	@PYTHONPATH=$(PYTHONPATH):tests $(BIN)/python bench/alerts $(ARGS)

.PHONY: bench-scaling
bench-scaling: $(VENV)/.dev ## What autoscalers cost that serve in time; MODELSERVICE_TRACES is a folder of public traces.
	@$(BIN)/python bench/scaling $(ARGS)

.PHONY: bench-rollout
bench-rollout: $(VENV)/.test tools ## New models, good and bad, under load: who answers, what fails, how soon a bad one is gone.
	@PYTHONPATH=$(PYTHONPATH):tests $(BIN)/python bench/rollout $(ARGS)

# -- the demo

.PHONY: images
images: ## Build both images into .images, unless nothing changed.
	@$(PYTHON) tools/images build

.PHONY: demo
demo: $(VENV)/.dev ## Train, serve and ask a model on a cluster of its own.
	@$(BIN)/python tools/demo

.PHONY: lifecycle
lifecycle: $(VENV)/.test ## Live through examples/lifecycle on a cluster of its own, which is gone afterwards; minutes.
	@PYTHONPATH=$(PYTHONPATH):tests $(BIN)/python -m e2e.lifecycle

.PHONY: demo-down
demo-down: ## End the demo's cluster and remove its state.
	@$(PYTHON) tools/cluster down --name demo
