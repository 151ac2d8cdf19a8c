package main

import (
	"context"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// managedLabel marks the ConfigMaps that the manager copies, and its copies.
const managedLabel = "managed"

// varying is what differs between equal errors: the object and the client's port.
var varying = regexp.MustCompile(`managed-\d+|:\d+->`)

// deeds is what a manager did.
type deeds struct {
	lock       sync.Mutex
	reconciles int
	// failures counts failed reconciles by their errors.
	failures map[string]int
	// exits are the errors with which the manager ended. In a Pod, its process would restart.
	exits []string
}

// manage runs a manager of controller-runtime with leader election and a cache. Its controller keeps a Secret in step
// with each ConfigMap that has the label.
func manage(config *rest.Config, namespace string) (func() any, error) {
	ctrl.SetLogger(logr.Discard())
	done := &deeds{failures: map[string]int{}, exits: []string{}}
	go func() {
		for {
			err := runManager(config, namespace, done)
			done.exit(err)
			// A kubelet waits as long before it starts a container again.
			time.Sleep(10 * time.Second)
		}
	}()
	return done.figures, nil
}

// runManager runs one manager until it ends, which it should not.
func runManager(restConfig *rest.Config, namespace string, done *deeds) error {
	labelled := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{managedLabel: "true"})}
	mayRepeatName := true
	manager, err := ctrl.NewManager(restConfig, ctrl.Options{
		LeaderElection:          true,
		LeaderElectionID:        "managed",
		LeaderElectionNamespace: namespace,
		Cache: cache.Options{
			DefaultNamespaces: map[string]cache.Config{namespace: {}},
			ByObject:          map[client.Object]cache.ByObject{&corev1.ConfigMap{}: labelled, &corev1.Secret{}: labelled},
		},
		Metrics: server.Options{BindAddress: "0"},
		// A second manager of this process has a controller of the same name.
		Controller: config.Controller{SkipNameValidation: &mayRepeatName},
	})
	if err != nil {
		return err
	}
	copier := &copier{client: manager.GetClient(), done: done}
	err = ctrl.NewControllerManagedBy(manager).
		Named("copier").
		For(&corev1.ConfigMap{}).
		// A Secret has the name of its ConfigMap. If the ConfigMap is gone, the Secret must go.
		Watches(&corev1.Secret{}, &handler.EnqueueRequestForObject{}).
		Complete(copier)
	if err != nil {
		return err
	}
	return manager.Start(context.Background())
}

// copier keeps a Secret in step with each ConfigMap.
type copier struct {
	client client.Client
	done   *deeds
}

// Reconcile applies or deletes the Secret.
func (c *copier) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	err := c.copy(ctx, request)
	c.done.reconcile(err)
	return reconcile.Result{}, err
}

func (c *copier) copy(ctx context.Context, request reconcile.Request) error {
	var source corev1.ConfigMap
	err := c.client.Get(ctx, request.NamespacedName, &source)
	if apierrors.IsNotFound(err) {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: request.Name, Namespace: request.Namespace}}
		return client.IgnoreNotFound(c.client.Delete(ctx, secret))
	}
	if err != nil {
		return err
	}
	data := map[string][]byte{}
	for key, value := range source.Data {
		data[key] = []byte(value)
	}
	secret := applycorev1.Secret(request.Name, request.Namespace).
		WithLabels(map[string]string{managedLabel: "true"}).
		WithData(data)
	return c.client.Apply(ctx, secret, client.FieldOwner("copier"), client.ForceOwnership)
}

func (d *deeds) reconcile(err error) {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.reconciles++
	if err != nil {
		d.failures[varying.ReplaceAllString(err.Error(), "…")]++
	}
}

func (d *deeds) exit(err error) {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.exits = append(d.exits, fmt.Sprint(err))
}

func (d *deeds) figures() any {
	d.lock.Lock()
	defer d.lock.Unlock()
	failures := make(map[string]int, len(d.failures))
	for message, count := range d.failures {
		failures[message] = count
	}
	return map[string]any{
		"reconciles": d.reconciles,
		"failures":   failures,
		"exits":      append([]string{}, d.exits...),
	}
}
