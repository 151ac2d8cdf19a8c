SHELL := bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# npm itself runs under the system's Node; everything else under the one in node_modules.
system_path := $(PATH)
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: install
install: node_modules/.stamp ## Install what package-lock.json lists

node_modules/.stamp: package-lock.json
	@scripts/prepare-install.sh
	@echo 'installing Node and the libraries of package-lock.json (a minute or two)'
	@PATH="$(system_path)" npm ci --no-progress --loglevel=error
	@touch $@

.PHONY: build
build: install ## Build plain JavaScript into dist/
	npm run --silent build

.PHONY: generate
generate: install ## Write the files that are generated from the sources
	node scripts/generate-crd.ts
	node scripts/generate-schemas.ts
	node scripts/generate-chart.ts
	node scripts/generate-proxy-flags.ts
	node scripts/generate-alerts.ts
	node scripts/generate-supply-chain.ts && biome format --write docs/supply-chain.md >/dev/null

.PHONY: check
check: install ## Check format, lint, import direction, types, unused code and generated files
	biome ci --error-on-warnings .
	@! LC_ALL=C.UTF-8 grep -rnE --include='*.ts' '^.{121,}' src lab scripts test | grep -E '^[^:]+:[0-9]+: *(/\*|\*|//)' || \
	{ echo 'comments stay within 120 columns' >&2; exit 1; }
	node scripts/check-export-names.ts
	tsc --noEmit -p tsconfig.json
	knip
	node scripts/generate-crd.ts --check
	node scripts/generate-chart.ts --check
	node scripts/generate-proxy-flags.ts --check
	node scripts/generate-alerts.ts --check
	node scripts/generate-supply-chain.ts --check
	@before=$$(cat docs/schemas/* | sha256sum) && node scripts/generate-schemas.ts && \
	[ "$$before" = "$$(cat docs/schemas/* | sha256sum)" ] || { echo 'docs/schemas was out of date: commit what was generated now' >&2; exit 1; }

.PHONY: test
test: install ## Run every test: unit, integration, and end to end on a real control plane
	@node scripts/run-tests.ts unit e2e

.PHONY: test-unit
test-unit: install ## Run the unit and integration tests alone
	@node scripts/run-tests.ts unit

.PHONY: test-e2e
test-e2e: install ## Run the end-to-end tests alone (SUITES="alerting demo": these of test/e2e)
	@node scripts/run-tests.ts e2e $(addprefix --suite ,$(SUITES))

.PHONY: test-minimal
test-minimal: ## Run .ci/run on a minimal Debian, as root (ARGS='make check test-unit test-e2e SUITES="alerting"', CACHES=1: with yours)
	@PATH="$(system_path)" CACHES="$(CACHES)" scripts/test-minimal.sh $(ARGS)

.PHONY: test-others
test-others: install ## Run the tests with third-party software, built from Go modules (SUITES="cert-manager …": these alone)
	@node scripts/run-tests.ts others $(addprefix --suite ,$(SUITES))

.PHONY: controlplane
controlplane: install ## Get kube-apiserver, etcd and kubectl (KUBEBUILDER_ASSETS, or built from Go modules; VERSIONS=1.33: these)
	@node lab/build/build-control-plane.ts $(VERSIONS)

.PHONY: demo
demo: install ## Run the demo on a mixed control plane (ARGS=--once to exit at its end, ARGS=--simulated)
	@node lab/demo/run-demo.ts $(ARGS)

.PHONY: demo-picture
demo-picture: install ## Draw docs/images/demo*.svg, and write the README's output, from what the demo prints
	@mkdir -p dist && node lab/demo/run-demo.ts --once > dist/demo.txt && node scripts/draw-terminal.ts dist/demo.txt docs/images README.md

.PHONY: cluster
cluster: install ## Bring up a real cluster of three kubeadm machines with PeerDiscovery in it, until Ctrl-C (needs root)
	@node lab/cluster/run-cluster.ts up

.PHONY: test-cluster
test-cluster: install ## Upgrade such a cluster under load, judge what clients saw, write docs/benchmarks/upgrade.md (ARGS=--peer-ca-file: with Kubernetes' own peer proxy instead; ARGS="1.33 1.37": version by version, 50 minutes)
	@node lab/cluster/run-cluster.ts upgrade $(ARGS); status=$$?; biome format --write docs/benchmarks >/dev/null; exit $$status

.PHONY: test-cluster-life
test-cluster-life: install ## Drain, cut off, renew and extend a cluster under load (ARGS="drain power …": only these events)
	@node lab/cluster/run-cluster.ts life $(ARGS); status=$$?; biome format --write docs/benchmarks >/dev/null; exit $$status

.PHONY: bench
bench: install ## Measure, a report each in docs/benchmarks/ (ARGS=operator|proxy|fields|fields-operator|discovery|merge|looking: one of them)
	@set -e; for part in $(or $(ARGS),operator proxy fields fields-operator discovery merge looking); do \
	  case $$part in merge) node lab/bench/merge.ts;; *) node lab/enter-netns.ts -- node lab/bench/$$part.ts;; esac; \
	done
	@biome format --write docs/benchmarks >/dev/null

.PHONY: chaos
chaos: install ## Inject faults into a real control plane under load, as root (ARGS="--seed N --minutes N --quick --fault TEXT …", or --help)
	@node lab/prepare-machine.ts chaos; status=0; node lab/enter-netns.ts -- node lab/chaos.ts $(ARGS) || status=$$?; \
	biome format --write docs/benchmarks >/dev/null; exit $$status

.PHONY: soak
soak: install ## Look for growing memory while a control plane changes under load, as root (ARGS="--minutes N --seed N")
	@node lab/prepare-machine.ts chaos; status=0; node lab/enter-netns.ts -- node lab/soak.ts $(ARGS) || status=$$?; \
	biome format --write docs/benchmarks >/dev/null; exit $$status

.PHONY: attack
attack: install ## Attack a proxy before real servers without a credential, while others use it (ARGS="--seconds N --attack TEXT")
	@status=0; node lab/enter-netns.ts -- node lab/attack.ts $(ARGS) || status=$$?; \
	biome format --write docs/benchmarks >/dev/null; exit $$status

.PHONY: load-test
load-test: install ## Load a proxy in front of real servers to its limit (ARGS="--minutes N --quick --fill --seed N")
	@status=0; node lab/enter-netns.ts -- node lab/load-test.ts $(ARGS) || status=$$?; \
	biome format --write docs/benchmarks >/dev/null; exit $$status

.PHONY: fuzz
fuzz: install ## Feed mutated inputs to every parser (ARGS="--seed N --minutes N --target NAME")
	@node lab/fuzz.ts $(ARGS)

.PHONY: mutate
mutate: install ## Make small changes to the code, and list those that no test notices (ARGS="--part NAME --only FILE")
	@node lab/mutate.ts $(ARGS)

.PHONY: fuzz-judge
fuzz-judge: install ## Compare how a real kube-apiserver reads mutated request targets and Accept fields (ARGS="--seed N --inputs N")
	@node lab/enter-netns.ts -- node lab/fuzz-judge.ts $(ARGS)

.PHONY: rootfs
rootfs: install ## Build the container image's file system into .rootfs/, without a container daemon
	rm -rf .rootfs && node scripts/build-rootfs.ts .rootfs

.PHONY: image
image: install ## Build the image localhost/peerdiscovery into dist/image.tar too (IMAGE=NAME:TAG, BUILDER=docker|podman|buildah)
	@node scripts/build-image.ts "$(IMAGE)" dist/image.tar "$(BUILDER)"

.PHONY: load
load: install ## Load the image of `make image` into a local cluster (CLUSTER=kind|k3d|minikube|k3s|containerd, or kind/NAME)
	@node scripts/load-image.ts dist/image.tar "$(CLUSTER)"

.PHONY: sbom
sbom: install ## Write SBOMs of the shipped files into dist/ (CycloneDX and SPDX)
	node scripts/write-sbom.ts

.PHONY: plugin
plugin: install ## Build the kubectl plugin into dist/plugin/, one program that needs no Node (PLATFORMS="linux-arm64 darwin-arm64 win32-x64 …")
	@node scripts/build-plugin.ts $(PLATFORMS)

.PHONY: krew
krew: install ## Pack the kubectl plugin for krew into dist/krew/ (DOWNLOADS=https://…/, the address where you publish it)
	@DOCS="$(DOCS)" node scripts/generate-krew.ts "$(DOWNLOADS)"

.PHONY: release
release: install ## Build all files of a release into dist/release/ (IMAGE=NAME:TAG, DOWNLOADS=https://…/, DOCS=https://…/docs/)
	@IMAGE="$(IMAGE)" DOWNLOADS="$(DOWNLOADS)" DOCS="$(DOCS)" node scripts/build-release.ts

.PHONY: clean
clean: ## Remove build results; node_modules and the control plane stay
	rm -rf dist
