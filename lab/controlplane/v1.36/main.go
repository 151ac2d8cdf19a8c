// Command controlplane is one multi-call binary with everything that a control plane on one machine needs.
// It runs the program that its own file name asks for (kube-apiserver, kube-controller-manager, kubectl, etcd,
// merge-oracle, fake-kubelet, informer-watch), so that one link step, by far the longest, makes them all.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectlcmd "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	switch name := filepath.Base(os.Args[0]); name {
	case "kube-apiserver":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "kube-controller-manager":
		os.Exit(cli.Run(controllermanager.NewControllerManagerCommand()))
	case "kubectl":
		os.Exit(cli.Run(kubectlcmd.NewDefaultKubectlCommand()))
	case "etcd":
		etcdmain.Main(os.Args)
	case "merge-oracle":
		mergeOracle()
	case "fake-kubelet":
		fail(fakeKubelet())
	case "informer-watch":
		fail(informerWatch())
	default:
		fmt.Fprintf(os.Stderr, "controlplane: call me as kube-apiserver, kube-controller-manager, kubectl, etcd, merge-oracle, fake-kubelet or informer-watch, not %q\n", name)
		os.Exit(2)
	}
}
