// Command clients is what clients of Kubernetes do with discovery, built against one of several releases: see the *.mod
// files. By its own file name it is kubectl, or discovery-client, which prints what client-go makes of a server.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	kubectlcmd "k8s.io/kubectl/pkg/cmd"
)

func main() {
	var err error
	switch name := filepath.Base(os.Args[0]); name {
	case "kubectl":
		err = kubectlcmd.NewDefaultKubectlCommand().Execute()
	case "discovery-client":
		err = discover(os.Args[1])
	default:
		err = fmt.Errorf("call me as kubectl or discovery-client, not %q", name)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// report is what clients conclude from discovery, each list sorted.
type report struct {
	// Mappings is every kind that a RESTMapper knows, as controller-runtime and kubectl use it.
	Mappings []string `json:"mappings"`
	// Preferred is the kind of each group at the version that is taken when none is named.
	Preferred []string `json:"preferred"`
	// Capabilities is the list against which Helm's `.Capabilities.APIVersions.Has` is asked.
	Capabilities []string `json:"capabilities"`
	// Namespaced is what the namespace controller would delete.
	Namespaced []string `json:"namespaced"`
}

func discover(kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return err
	}
	groups, err := restmapper.GetAPIGroupResources(client)
	if err != nil {
		return err
	}
	mapper := restmapper.NewDiscoveryRESTMapper(groups)
	_, lists, err := client.ServerGroupsAndResources()
	if err != nil {
		return err
	}
	var found report
	for _, list := range lists {
		groupVersion, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return err
		}
		found.Capabilities = append(found.Capabilities, list.GroupVersion)
		for _, resource := range list.APIResources {
			found.Capabilities = append(found.Capabilities, list.GroupVersion+"/"+resource.Kind)
			kind := groupVersion.WithKind(resource.Kind).GroupKind()
			if mapping, err := mapper.RESTMapping(kind, groupVersion.Version); err == nil {
				found.Mappings = append(found.Mappings, fmt.Sprintf("%v is %v, %s", mapping.GroupVersionKind, mapping.Resource, mapping.Scope.Name()))
			}
			if mapping, err := mapper.RESTMapping(kind); err == nil {
				found.Preferred = append(found.Preferred, fmt.Sprintf("%v is %v", kind, mapping.Resource))
			}
		}
	}
	namespaced, err := discovery.ServerPreferredNamespacedResources(client)
	if err != nil {
		return err
	}
	for _, list := range namespaced {
		for _, resource := range list.APIResources {
			found.Namespaced = append(found.Namespaced, fmt.Sprintf("%s %s %v", list.GroupVersion, resource.Name, resource.Verbs))
		}
	}
	for _, list := range []*[]string{&found.Mappings, &found.Preferred, &found.Capabilities, &found.Namespaced} {
		*list = sortedOnce(*list)
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

func sortedOnce(list []string) []string {
	sort.Strings(list)
	once := list[:0]
	for at, entry := range list {
		if at == 0 || entry != list[at-1] {
			once = append(once, entry)
		}
	}
	return once
}
