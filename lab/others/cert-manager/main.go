// cert-manager as its release runs it: its controllers for issuers and certificates, and its webhook.
//
// The main packages of cert-manager are modules of their own that the module proxy does not have, so this one stands in
// for them. Its path below cert-manager's lets it use the internal packages that those use.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/cert-manager/cert-manager/internal/apis/config/shared"
	config "github.com/cert-manager/cert-manager/internal/apis/config/webhook"
	"github.com/cert-manager/cert-manager/internal/webhook"
	"github.com/cert-manager/cert-manager/pkg/controller"
	"github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	"github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	"github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/metrics"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	"github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
	logf "github.com/cert-manager/cert-manager/pkg/logs"
)

// Those that issue from a CA in the cluster; ACME, Vault, Venafi and the shims of Ingress and Gateway have nothing to do.
var controllers = []string{
	issuers.ControllerName,
	approver.ControllerName,
	ca.CRControllerName,
	selfsigned.CRControllerName,
	trigger.ControllerName,
	issuing.ControllerName,
	keymanager.ControllerName,
	requestmanager.ControllerName,
	readiness.ControllerName,
	revisionmanager.ControllerName,
	metrics.ControllerName,
}

func main() {
	// A set of its own: controller-runtime has taken names of the usual one.
	flags := flag.NewFlagSet("cert-manager", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig of the cluster")
	namespace := flags.String("namespace", "cert-manager", "namespace of cert-manager's own objects")
	port := flags.Int("webhook-port", 10250, "port of the webhook")
	cert := flags.String("webhook-cert", "", "serving certificate of the webhook")
	key := flags.String("webhook-key", "", "private key of the webhook")
	_ = flags.Parse(os.Args[1:])
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx = logf.NewContext(ctx, logf.Log)
	var running sync.WaitGroup
	failed := make(chan error, len(controllers)+1)
	running.Go(func() { failed <- serveWebhook(ctx, *kubeconfig, *port, *cert, *key) })
	if err := startControllers(ctx, &running, *kubeconfig, *namespace, failed); err != nil {
		failed <- err
	}
	select {
	case <-ctx.Done():
	case err := <-failed:
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func startControllers(ctx context.Context, running *sync.WaitGroup, kubeconfig, namespace string, failed chan<- error) error {
	factory, err := controller.NewContextFactory(ctx, controller.ContextOptions{
		Kubeconfig:         kubeconfig,
		KubernetesAPIQPS:   20,
		KubernetesAPIBurst: 50,
		IssuerOptions:      controller.IssuerOptions{ClusterResourceNamespace: namespace},
		ACMEOptions: controller.ACMEOptions{
			HTTP01SolverResourceRequestCPU: resource.MustParse("10m"),
		},
	})
	if err != nil {
		return err
	}
	known := controller.Known()
	for _, name := range controllers {
		one, err := known[name](factory)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		running.Go(func() {
			if err := one.Run(5, ctx); err != nil {
				failed <- fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	shared, err := factory.Build()
	if err != nil {
		return err
	}
	shared.SharedInformerFactory.Start(ctx.Done())
	shared.KubeSharedInformerFactory.Start(ctx.Done())
	return nil
}

func serveWebhook(ctx context.Context, kubeconfig string, port int, cert, key string) error {
	server, err := webhook.NewCertManagerWebhookServer(logf.FromContext(ctx, "webhook"), config.WebhookConfiguration{
		KubeConfig:           kubeconfig,
		SecurePort:           int32(port),
		MetricsListenAddress: "0",
		TLSConfig: shared.TLSConfig{
			Filesystem: shared.FilesystemServingConfig{CertFile: cert, KeyFile: key},
		},
	})
	if err != nil {
		return err
	}
	return server.Run(ctx)
}
