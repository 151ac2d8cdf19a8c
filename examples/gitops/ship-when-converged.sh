#!/usr/bin/env bash
# A step of a pipeline: applies manifests only once every kube-apiserver serves the same APIs, and fails otherwise.
# Usage: ship-when-converged.sh TIMEOUT FILE
set -euo pipefail
kubectl wait --for=condition=Converged peerdiscovery/cluster --timeout="$1"
kubectl apply --server-side -f "$2"
