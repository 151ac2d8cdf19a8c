// Command client-go is what controllers do with a cluster: `inform` follows objects with informers, `elect` has two
// candidates for one Lease, `manage` runs a manager of controller-runtime. Each runs until the end of its input, and answers each line of input with its figures.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

func main() {
	if len(os.Args) != 4 {
		exit(fmt.Errorf("usage: client-go inform|elect|manage KUBECONFIG NAMESPACE"))
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[2])
	if err != nil {
		exit(err)
	}
	modes := map[string]func(*rest.Config, string) (func() any, error){"inform": inform, "elect": elect, "manage": manage}
	run := modes[os.Args[1]]
	if run == nil {
		exit(fmt.Errorf("the first argument is inform, elect or manage, not %q", os.Args[1]))
	}
	figures, err := run(config, os.Args[3])
	if err != nil {
		exit(err)
	}
	answers := json.NewEncoder(os.Stdout)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if err := answers.Encode(figures()); err != nil {
			exit(err)
		}
	}
}

func exit(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// inform follows the ConfigMaps of a namespace, and all Pods and Deployments. Its figures are the resource version of
// each object by resource and name.
func inform(config *rest.Config, namespace string) (func() any, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	stop := make(chan struct{})
	all := informers.NewSharedInformerFactory(client, 0)
	some := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace))
	stores := map[string]*seen{
		"configmaps":  follow(some.Core().V1().ConfigMaps().Informer()),
		"pods":        follow(all.Core().V1().Pods().Informer()),
		"deployments": follow(all.Apps().V1().Deployments().Informer()),
	}
	all.Start(stop)
	some.Start(stop)
	return func() any {
		report := map[string]map[string]string{}
		for resource, objects := range stores {
			report[resource] = objects.copy()
		}
		return report
	}, nil
}

// seen is what the event handlers of an informer have been told, which is what a controller acts on.
type seen struct {
	lock     sync.Mutex
	versions map[string]string
}

func follow(informer cache.SharedIndexInformer) *seen {
	objects := &seen{versions: map[string]string{}}
	// It fails only on an informer that has been stopped.
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    objects.set,
		UpdateFunc: func(_, object any) { objects.set(object) },
		DeleteFunc: objects.remove,
	})
	return objects
}

func (s *seen) set(object any) {
	accessor, err := meta.Accessor(object)
	if err != nil {
		return
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	s.versions[accessor.GetNamespace()+"/"+accessor.GetName()] = accessor.GetResourceVersion()
}

func (s *seen) remove(object any) {
	key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object)
	if err != nil {
		return
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	delete(s.versions, key)
}

func (s *seen) copy() map[string]string {
	s.lock.Lock()
	defer s.lock.Unlock()
	versions := make(map[string]string, len(s.versions))
	for key, version := range s.versions {
		versions[key] = version
	}
	return versions
}

// terms is what happened to the leadership of a Lease.
type terms struct {
	lock sync.Mutex
	// Begun counts the times at which a candidate became the leader.
	Begun int `json:"begun"`
	// Lost counts the times at which a leader could not renew the Lease and had to stop.
	Lost int `json:"lost"`
	// LongestGapMs is the longest time without a leader, after the first.
	LongestGapMs int64 `json:"longestGapMs"`
	lostAt       time.Time
}

// elect runs two candidates with the durations of kube-controller-manager.
func elect(config *rest.Config, namespace string) (func() any, error) {
	var election terms
	for _, name := range []string{"a", "b"} {
		client, err := kubernetes.NewForConfig(rest.AddUserAgent(config, "candidate-"+name))
		if err != nil {
			return nil, err
		}
		lock := &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Name: "elected", Namespace: namespace},
			Client:     client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: name},
		}
		elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock:          lock,
			LeaseDuration: 15 * time.Second,
			RenewDeadline: 10 * time.Second,
			RetryPeriod:   2 * time.Second,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(context.Context) { election.begin() },
				OnStoppedLeading: election.lose,
			},
		})
		if err != nil {
			return nil, err
		}
		go func() {
			for {
				elector.Run(context.Background())
			}
		}()
	}
	return election.figures, nil
}

func (t *terms) begin() {
	t.lock.Lock()
	defer t.lock.Unlock()
	t.Begun++
	if !t.lostAt.IsZero() {
		t.LongestGapMs = max(t.LongestGapMs, time.Since(t.lostAt).Milliseconds())
		t.lostAt = time.Time{}
	}
}

func (t *terms) lose() {
	t.lock.Lock()
	defer t.lock.Unlock()
	t.Lost++
	t.lostAt = time.Now()
}

func (t *terms) figures() any {
	t.lock.Lock()
	defer t.lock.Unlock()
	gap := t.LongestGapMs
	if !t.lostAt.IsZero() {
		gap = max(gap, time.Since(t.lostAt).Milliseconds())
	}
	return map[string]any{"begun": t.Begun, "lost": t.Lost, "longestGapMs": gap}
}
