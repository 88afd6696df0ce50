# Thin recipes; what they do lives in e2e/cluster (scripts) and in the crates.
#
#   make up      a cluster, the images, the operator, the example and one paid order
#   make down    everything of it gone again
#   make test    everything CI runs
#   make help    the rest
#
# CLUSTER=node|kind|current picks where (e2e/cluster/up.sh explains them).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
SYSTEM_NAMESPACE := payment-system
KUBECTL = source .local/cluster.env && "$$KUBE_BIN/kubectl" --kubeconfig "$$KUBECONFIG"

.PHONY: help up down cluster deploy tour test check unit integration e2e generate deny leftovers

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

up: cluster deploy tour ## Cluster, images, operator, example and one paid order

cluster: ## A cluster with the add-ons and every image
	@e2e/cluster/up.sh

deploy: ## The operator and the example on the cluster
	@e2e/cluster/deploy.sh

tour: ## Pay one order by each channel, reconcile, show what is there
	@$(CARGO) run --quiet --locked -p e2e --bin tour

down: ## Take the cluster down; leaves nothing behind
	@e2e/cluster/down.sh

leftovers: ## Print what a cluster left behind (nothing, after make down)
	@e2e/cluster/leftovers.sh

test: check unit integration up e2e ## Everything CI runs, cheap checks first

check: ## Format, lints, dependency edges, generated files
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --workspace --all-targets --locked --quiet -- -D warnings
	@$(CARGO) test --quiet --locked -p e2e --test architecture

unit: ## Tests that need nothing but the compiler
	@$(CARGO) test --locked --workspace --lib --bins

integration: ## Tests against a real kube-apiserver, MySQL and Redis
	@e2e/cluster/test-servers.sh
	@set -a; source .local/servers.env; set +a; \
	  $(CARGO) test --locked -p payment-operator -p crds -p payment-runtime -p channel-simulator --test '*'

e2e: ## Black-box tests over .local/env
	@$(CARGO) test --locked -p e2e --tests -- --test-threads=1

generate: ## Write the files that are generated from the code
	@$(CARGO) run --quiet -p crds --bin crdgen

deny: ## Licences, advisories, duplicate and banned dependencies (needs cargo-deny)
	@$(CARGO) deny check
