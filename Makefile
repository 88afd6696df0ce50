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
SEEDS ?= 10000
FIRST_SEED ?= 1
MINUTES ?= 10
ORDERS ?= 1000
ROWS ?= 1000000
RESOURCES ?= 100
AMONG ?= 500
SYSTEM_NAMESPACE := payment-system
# The crates whose programs become images, as e2e/cluster/images.sh has them.
PRODUCT := payment-operator payment-runtime channel-simulator
# For tests that start servers: where those are, with their data in memory.
WITH_TEST_SERVERS := e2e/cluster/with-test-servers.sh
# They wait more than they work.
TEST_THREADS := $(shell echo $$((2 * $$(nproc))))
KUBECTL = source .local/cluster.env && "$$KUBE_BIN/kubectl" --kubeconfig "$$KUBECONFIG"

.PHONY: help up down cluster deploy tour test check unit simulation sim story sdk integration integration-and-programs crash e2e chaos ordering bench bench-reconcile bench-seata bench-operator transfers install-plugin generate deny leftovers

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

test: check unit simulation sdk integration-and-programs up e2e ## Everything CI runs, cheap checks first

check: ## Format, lints, dependency edges, generated files
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --workspace --all-targets --locked --quiet -- -D warnings
	@$(CARGO) test --quiet --locked -p e2e --test architecture

unit: ## Tests that need nothing but the compiler
	@$(CARGO) test --locked --workspace --lib --bins --test diagram

simulation: ## The runtime's logic under crashes and faults: thousands of seeds, every guard
	@$(CARGO) test --locked --workspace --test seeds

sim: ## As many seeds as you like: make sim SEEDS=100000 FIRST_SEED=1
	@$(CARGO) run --release --locked -p simulation --bin simulate -- --first-seed $(FIRST_SEED) --seeds $(SEEDS)

story: ## What happened in one seed, told: make story SEED=42
	@$(CARGO) run --release --quiet --locked -p simulation --bin simulate -- story --seed $(SEED)

sdk: ## Independent SDKs of the channels against the simulator
	@e2e/cluster/packages.sh
	@channel-simulator/sdk-tests/run.sh

integration: ## Tests against a real kube-apiserver, MySQL, Redis and Seata
	@e2e/cluster/test-servers.sh
	@$(WITH_TEST_SERVERS) $(CARGO) test --locked --workspace --test agrees_with_mysql
	@$(WITH_TEST_SERVERS) $(CARGO) test --locked -p payment-operator -p crds -p kubectl-paysys -p payment-runtime -p channel-simulator -p seata-client --test '*' -- --test-threads=$(TEST_THREADS)

# Integration tests wait most of their time: at the lowest priority, the programs of the images are
# built beside them.
integration-and-programs:
	@nice -n 19 $(CARGO) build --quiet --release --locked $(PRODUCT:%=-p %) & programs=$$!; \
	  trap 'kill $$programs 2> /dev/null || true' EXIT; \
	  $(MAKE) --no-print-directory integration; \
	  wait $$programs

crash: ## The operator dies or is refused at each of its requests: make crash POINT=create:17:after
	@e2e/cluster/test-servers.sh
	@CRASH=all $(WITH_TEST_SERVERS) $(CARGO) test --release --quiet --locked -p payment-operator --test crash -- --nocapture

e2e: ## Black-box tests over .local/env
	@$(CARGO) test --locked -p e2e --tests -- --test-threads=1

chaos: ## Ten minutes of load while pods die and the channels misbehave, then the books are compared
	@$(CARGO) run --quiet --locked -p e2e --bin chaos -- --minutes $(MINUTES)

ordering: ## A thousand paid orders are confirmed or given back while pods die: make ordering ORDERS=1000
	@$(CARGO) run --quiet --locked -p e2e --bin ordering -- --orders $(ORDERS)

bench: ## Ratios to the raw speed of a durable MySQL on this machine
	@e2e/cluster/test-servers.sh >&2
	@$(CARGO) build --profile lean --quiet --locked -p bench -p payment-runtime -p channel-simulator
	@set -a; source .local/servers.env; set +a; $(CARGO) run --profile lean --quiet --locked -p bench

bench-reconcile: ## A day of a million payments against its bill: make bench-reconcile ROWS=100000
	@e2e/cluster/test-servers.sh >&2
	@set -a; source .local/servers.env; set +a; $(CARGO) run --profile lean --quiet --locked -p bench -- reconcile --rows $(ROWS)

bench-seata: ## Global transactions beside Seata's Java client: make bench-seata BENCH="--branches 2"
	@e2e/cluster/test-servers.sh >&2
	@$(CARGO) build --profile lean --quiet --locked -p bench
	@set -a; source .local/servers.env; set +a; $(CARGO) run --profile lean --quiet --locked -p bench -- seata $(BENCH)

transfers: ## Global transfers while clients and the coordinator are killed, then the books: make transfers MINUTES=30
	@e2e/cluster/test-servers.sh >&2
	@TRANSFERS_MINUTES=$(MINUTES) $(WITH_TEST_SERVERS) $(CARGO) test --quiet --locked -p seata-client --test transfers -- --nocapture

bench-operator: ## The operator at rest and at scale: make bench-operator RESOURCES=100 AMONG=500
	@e2e/cluster/test-servers.sh >&2
	@$(CARGO) build --profile lean --quiet --locked -p bench -p payment-operator
	@set -a; source .local/servers.env; set +a; \
	  $(CARGO) run --profile lean --quiet --locked -p bench -- operator --resources $(RESOURCES) --among $(AMONG) $(BENCH)

install-plugin: ## kubectl paysys, into ~/.cargo/bin (docs/kubectl-paysys.md)
	@$(CARGO) install --quiet --locked --path kubectl-paysys

generate: ## Write the files that are generated from the code
	@$(CARGO) run --quiet -p crds --bin crdgen
	@WRITE_DOCS=1 $(CARGO) test --quiet -p payment-core --test diagram
	@WRITE_DOCS=1 $(CARGO) test --quiet -p payment-operator --test manifests network::
	@$(CARGO) run --quiet -p payment-runtime -- openapi > docs/openapi.json
	@$(CARGO) run --quiet -p payment-runtime -- errors > docs/errors.md

deny: ## Licences, advisories, duplicate and banned dependencies (needs cargo-deny)
	@$(CARGO) deny check
