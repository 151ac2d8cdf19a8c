package main

import (
	"encoding/json"
	"flag"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// informerWatch runs client-go's informer for one resource until it is told to end, and prints what the informer says,
// one JSON object a line: `synced`, `added`, `updated`, `deleted`.
func informerWatch() error {
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig file")
	group := flag.String("group", "", "API group; empty for the core group")
	version := flag.String("version", "v1", "API version")
	resource := flag.String("resource", "configmaps", "resource")
	namespace := flag.String("namespace", "", "namespace; empty for all")
	flag.Parse()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	var mutex sync.Mutex
	print := func(event string, object any) {
		mutex.Lock()
		defer mutex.Unlock()
		line := map[string]string{"event": event}
		if deleted, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = deleted.Obj
		}
		if found, ok := object.(*unstructured.Unstructured); ok {
			line["name"] = found.GetName()
			line["resourceVersion"] = found.GetResourceVersion()
		}
		json.NewEncoder(os.Stdout).Encode(line)
	}
	factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(client, 0, *namespace, nil)
	informer := factory.ForResource(schema.GroupVersionResource{Group: *group, Version: *version, Resource: *resource}).Informer()
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { print("added", object) },
		UpdateFunc: func(_, object any) { print("updated", object) },
		DeleteFunc: func(object any) { print("deleted", object) },
	}); err != nil {
		return err
	}
	stop := make(chan struct{})
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	go informer.Run(stop)
	if cache.WaitForCacheSync(stop, informer.HasSynced) {
		print("synced", nil)
	}
	<-ended
	close(stop)
	return nil
}
