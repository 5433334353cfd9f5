# Everything runs in the sandbox unless it says otherwise: no account is needed.
STACK ?= dev
TIERS ?= all
POLICY ?= 1
DIRECTORY ?= .
REPORT ?= .sandbox/report-$(STACK)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SANDBOX := $(BIN)/python -m sandbox
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header
IMAGES := $(patsubst %/requirements.in,%,$(wildcard workloads/*/image/requirements.in))
PACK := $(if $(filter-out 0,$(POLICY)),--policy-pack policies)
# From wheels in uv's cache an environment is there in seconds. uv does not read pip.conf: where it cannot reach an index, pip can.
INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python -r $(1) || $(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(1)
# The SDKs are large: what has been imported once is compiled, whatever the caller's shell says of that.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.PHONY: help setup cluster up preview plan-report preflight refresh destroy export render kubeconfig down reset test lint format docs bench lock

help: ## Show this list
	@echo "make TARGET [STACK=dev|prod|gcp|onprem]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.runtime: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name one with PYTHON=")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing requirements.txt into $(VENV)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $$(grep ^uv== requirements-dev.txt) || true
	@$(call INSTALL,requirements.txt)
	@touch $@

$(VENV)/.development: $(VENV)/.runtime requirements-dev.txt
	@echo "installing requirements-dev.txt into $(VENV)" >&2
	@$(call INSTALL,requirements-dev.txt)
	@touch $@

setup: $(VENV)/.runtime ## Install the Python packages and get the engine
	@$(SANDBOX) engine

cluster: $(VENV)/.runtime ## Get or build the Kubernetes control plane (about 10 minutes where it is built)
	@$(SANDBOX) cluster

up: $(VENV)/.runtime ## Bring the stack up in the sandbox, held to the policies (POLICY=0: without them)
	@$(SANDBOX) -- pulumi up --yes --stack $(STACK) $(PACK) $(ARGS)

preview: $(VENV)/.runtime ## Show what `up` would change (ARGS=--diff: property by property)
	@$(SANDBOX) -- pulumi preview --stack $(STACK) $(PACK) $(ARGS)

plan-report: $(VENV)/.runtime ## Write what a pull request should say about the stack (BASE=main: against main)
	@scripts/plan-report --sandbox $(if $(BASE),--base $(BASE)) $(STACK) $(REPORT)
	@echo "written: $(REPORT)/comment.md, $(REPORT)/plan.html" >&2

preflight: $(VENV)/.runtime ## Ask your account or cluster whether the stack could be brought up in it (creates nothing)
	@$(BIN)/python -m ops preflight --stack $(STACK) $(ARGS)

refresh: $(VENV)/.runtime ## Compare the state with what exists
	@$(SANDBOX) -- pulumi refresh --yes --stack $(STACK)

destroy: $(VENV)/.runtime ## Remove everything that the stack made
	@$(SANDBOX) -- pulumi destroy --yes --stack $(STACK)

export: $(VENV)/.runtime ## Print the stack's state as JSON, secrets included
	@$(SANDBOX) --quiet -- pulumi stack export --show-secrets --stack $(STACK)

render: $(VENV)/.runtime ## Write what Argo CD delivers as a Kustomize tree (DIRECTORY=checkout of its repository)
	@$(SANDBOX) --quiet -- pulumi stack output --json --stack $(STACK) | $(BIN)/python -m ops.render --directory $(DIRECTORY)

kubeconfig: $(VENV)/.runtime ## Print the path of the sandbox cluster's kubeconfig: KUBECONFIG=$$(make kubeconfig) kubectl get nodes
	@$(SANDBOX) kubeconfig --stack $(STACK)

down: $(VENV)/.runtime ## Stop the sandbox's control planes; state stays
	@$(SANDBOX) down

reset: $(VENV)/.runtime ## Forget everything in the sandbox, state included
	@$(SANDBOX) reset --yes

test: $(VENV)/.development ## Run the tests, everything they need included (TIERS=unit for those that need nothing)
	-@test "$(TIERS)" = unit || $(SANDBOX) engine
	-@test "$(TIERS)" = unit || $(SANDBOX) cluster
	@$(BIN)/python -m pytest --numprocesses auto --dist loadgroup --no-loadscope-reorder $(if $(filter-out all,$(TIERS)),-m "$(TIERS)")

lint: $(VENV)/.development ## Check style, types and generated documents
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/basedpyright
	@$(BIN)/python -m components.settings.reference --check
	@$(BIN)/python -m policies.reference --check

format: $(VENV)/.development ## Format the code
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

docs: $(VENV)/.runtime ## Generate docs/settings.md and the list in docs/policies.md
	@$(BIN)/python -m components.settings.reference
	@$(BIN)/python -m policies.reference

bench: $(VENV)/.development ## Measure `pulumi preview` of prod against a program without logic
	@$(BIN)/python -m tests.bench

lock: $(VENV)/.development ## Compile every requirements*.in into a pinned requirements*.txt, those of the images too
	@$(COMPILE) requirements.in -o requirements.txt
	@$(COMPILE) requirements-dev.in -o requirements-dev.txt
	@for image in $(IMAGES); do $(COMPILE) --no-annotate $$image/requirements.in -o $$image/requirements.txt || exit; done
