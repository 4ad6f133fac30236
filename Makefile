# `make` alone lists the targets. Recipes are a line or two; what is longer lies in hack/.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The version of the image, in the binaries and, checked by a test, in config/base.
VERSION ?= v0.1.0
IMAGE ?= ghcr.io/invar-lb/invar:$(VERSION)
IMAGE_MAX_MB := 40
GOARCH ?= $(shell go env GOARCH)
CMDS := $(notdir $(wildcard cmd/*))
# What the image holds; invar runs on the user's machine.
DAEMONS := controller speaker
PREFIX ?= /usr/local
LDFLAGS := -s -w -X github.com/invar-lb/invar/pkg/daemon.Version=$(VERSION)

# Stamping binaries with git's state would fail in a checkout that belongs to another user, as in containers.
export GOFLAGS := $(shell go env GOFLAGS) -buildvcs=false
export VERSION LDFLAGS
# What tests and the demo may be told: see `make help`.
export DEMO_KEEP ?= 1
export FUZZTIME ?= 30s
export COUNT ?= 6
N ?= 1000
SERVICES ?= 5000
NODES ?= 200
SPEAKERS ?= 8
WINDOW ?= 20s
SCHEDULES ?= 10000
ROUNDS ?= 20
MINUTES ?= 30
KINDS ?=
KUBERNETES ?= 1.35
LANES ?=
export RUN E2E_KEEP

.PHONY: help
help: ## List the targets
	@echo "Invar $(VERSION), a Layer 2 load balancer for Kubernetes. Targets:"
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: $(CMDS:%=bin/%) ## Build the binaries into bin/

.PHONY: $(CMDS:%=bin/%)
$(CMDS:%=bin/%):
	CGO_ENABLED=0 GOARCH=$(GOARCH) go build -trimpath -ldflags "$(LDFLAGS)" -o $@ ./cmd/$(@F)

.PHONY: image
image: $(DAEMONS:%=bin/%) ## Build the image as bin/invar-image.tar, without a Docker engine, and its SBOM; prints its size
	hack/image.sh $(IMAGE) $(GOARCH) $(IMAGE_MAX_MB) bin bin/invar-image $(DAEMONS)

.PHONY: images
images: ## Build the images for PLATFORMS (amd64 arm64 arm/v7), each with its SBOM, into bin/images
	hack/images.sh $(IMAGE) $(IMAGE_MAX_MB) bin/images $(DAEMONS)

.PHONY: reproduce
reproduce: ## Build the images for PLATFORMS twice, in two places and once without a cache, and compare them
	hack/reproduce.sh $(IMAGE) $(IMAGE_MAX_MB) $(DAEMONS)

.PHONY: licences
licences: ## List the licences of what is linked in THIRD_PARTY.md
	go run -C hack/tools ./licences -dir "$(CURDIR)" -o THIRD_PARTY.md

.PHONY: install-cli
install-cli: bin/invar ## Install invar into PREFIX/bin (/usr/local/bin), also as plugin of kubectl, with its completion
	install -D bin/invar $(DESTDIR)$(PREFIX)/bin/invar
	ln -sf invar $(DESTDIR)$(PREFIX)/bin/kubectl-invar
	ln -sf invar $(DESTDIR)$(PREFIX)/bin/kubectl_complete-invar

.PHONY: manifests
manifests: ## Render manifests/ from config/
	hack/manifests.sh

.PHONY: check
check: ## Check format, vet, staticcheck, go.mod files, manifests and the import table
	hack/check.sh

.PHONY: test-unit
test-unit: ## Run the unit tests, with the race detector if there is a C compiler; needs nothing but Go
	hack/test-unit.sh

.PHONY: test
test: ## Run all tests, on real links and on a real cluster too; needs root and installs Debian packages
	hack/test.sh

.PHONY: test-kernel
test-kernel: ## Run the packet tests in a virtual machine with Debian's kernel: VLANs, bonds, IPVS (RUN=TestName: only these)
	@hack/deps.sh kernel
	hack/test-kernel.sh

.PHONY: test-e2e
test-e2e: root-deps image bin/invar lab ## Run the tests against a lab of their own (RUN=TestName: only these; E2E_KEEP=1: leave it up)
	hack/e2e.sh

.PHONY: test-kubernetes
test-kubernetes: ## Run what Kubernetes' own suite has about load balancers on a lab (RUN=REGEXP: only these); print a line of JSON
	@$(MAKE) -s root-deps image lab >&2
	@hack/deps.sh suite
	@hack/test-kubernetes.sh

.PHONY: lane-kubernetes
lane-kubernetes: root-deps image bin/invar ## Run test-e2e on a lab of another version of Kubernetes, KUBERNETES (1.35)
	hack/lab.sh $(KUBERNETES)
	LAB_PROGRAM=bin/lab-$(KUBERNETES) hack/e2e.sh

.PHONY: lanes
lanes: root-deps image bin/invar lab ## Run the tests in every environment that this machine can make (LANES="iptables router": in these)
	hack/lanes.sh $(LANES)

.PHONY: ingress-image
ingress-image: ## Build the ingress controller of the lane ingress as bin/ingress-image.tar; minutes when cold
	CGO_ENABLED=0 go build -C test/lanes/ingress/image -trimpath -ldflags '-s -w' -o ../../../../bin/ingress .
	go run -C hack/tools ./mkimage -dir "$(CURDIR)" -tag invar-lab/ingress:v1 -user 65534 -entrypoint /ingress -o bin/ingress-image.tar bin/ingress:/ingress

.PHONY: demo
demo: root-deps image lab ## Show an address given, answered and failed over on a lab (DEMO_KEEP=0: take it down at the end)
	go run ./test/demo

.PHONY: lab
lab: ## Build bin/lab, a Kubernetes cluster in network namespaces; minutes when cold
	hack/lab.sh

.PHONY: lab-up
lab-up: root-deps image lab ## Bring a lab up with this tree's image (LAB_NAME=name: not the one named lab)
	bin/lab up --image bin/invar-image.tar

.PHONY: lab-down
lab-down: lab ## Take the lab down and remove all of it
	bin/lab down

.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZTIME (30s)
	hack/fuzz.sh

.PHONY: sim
sim: ## Simulate many speakers in SCHEDULES (10000) courses of faults (SEED=n: tell that one; GROW=1: cluster sizes)
	@go run ./test/sim $(if $(GROW),-grow,$(if $(SEED),-seed $(SEED),-schedules $(SCHEDULES)))

.PHONY: bench
bench: ## Run the benchmarks COUNT times (6) and print benchstat's summary
	hack/bench.sh

.PHONY: bench-alloc
bench-alloc: ## Print a line of JSON for each fill level of a pool: nanoseconds for one allocation
	@hack/bench-alloc.sh

.PHONY: bench-arp
bench-arp: ## Print a line of JSON: time of an ARP answer, ours and the kernel's, and the cost of foreign frames; needs root
	@hack/bench-arp.sh

.PHONY: bench-services
bench-services: ## Create N (1000) Services on a lab; print a line of JSON: seconds until the last has its address
	@$(MAKE) -s root-deps image lab >&2
	@go run ./test/bench/services -n $(N)

.PHONY: bench-speaker
bench-speaker: ## Give one speaker N (1000) addresses on a lab; print a line of JSON: its memory, and its CPU time when idle
	@$(MAKE) -s root-deps image lab >&2
	@go run ./test/bench/speaker -n $(N)

.PHONY: bench-scale
bench-scale: ## Put SERVICES (5000), twice as many of no interest and NODES (200), SPEAKERS (8) of them real, on a lab; print lines of JSON
	@$(MAKE) -s root-deps image lab >&2
	@go run ./test/bench/scale -services $(SERVICES) -nodes $(NODES) -speakers $(SPEAKERS) -window $(WINDOW)

.PHONY: bench-failover
bench-failover: ## Fail nodes and speakers on a lab ROUNDS (20) times in each way (KINDS=a,b: in these); print a line of JSON each
	@$(MAKE) -s root-deps image lab >&2
	@go run ./test/bench/failover -rounds $(ROUNDS) -kinds '$(KINDS)'

.PHONY: soak
soak: ## Keep both cores busy for MINUTES (30) beside a lab; print a line of JSON: addresses that moved though nothing was wrong
	@$(MAKE) -s root-deps image lab >&2
	@go run ./test/bench/soak -minutes $(MINUTES)

.PHONY: chaos
chaos: ## Break a lab in all ways for MINUTES (30), with SEED's schedule; print a line of JSON: promises that were broken (CLOCK=1: see go doc)
	@$(MAKE) -s root-deps image lab >&2
	@go run ./test/chaos -minutes $(MINUTES) -seed '$(SEED)' $(if $(CLOCK),-clock)

.PHONY: root-deps
root-deps:
	@hack/require-root.sh
	@hack/deps.sh cc lab
