// Argo CD as its release runs it: its application controller and its repo server, each by a name of its own.
//
// Argo CD's own main package needs the built pages of its web server, which the module proxy does not have, so this one
// stands in for it. It also has two things that Argo CD's own code does, but no program of its release alone:
//
//	argocd redis ADDRESS               the store between the two, as Argo CD's tests have it
//	argocd health SCRIPT < OBJECTS     the health of objects, each in JSON on a line, by a script of argocd-cm
package main

import (
	"bufio"
	"encoding/json"
	"os"

	"github.com/alicebob/miniredis/v2"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	controller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	reposerver "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
	"github.com/argoproj/argo-cd/v3/util/lua"
)

func main() {
	root := &cobra.Command{Use: "argocd"}
	healthCommand := &cobra.Command{
		Use:  "health SCRIPT",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return judge(args[0]) },
	}
	redis := &cobra.Command{
		Use:  "redis ADDRESS",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return serveRedis(args[0]) },
	}
	root.AddCommand(controller.NewCommand(), reposerver.NewCommand(), healthCommand, redis)
	if err := root.Execute(); err != nil {
		os.Exit(1)
	}
}

func serveRedis(address string) error {
	if err := miniredis.NewMiniRedis().StartAddr(address); err != nil {
		return err
	}
	select {}
}

// judge writes the health of each object on standard input, as the application controller finds it.
func judge(path string) error {
	script, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(lines.Bytes()); err != nil {
			return err
		}
		key := lua.GetConfigMapKey(object.GroupVersionKind())
		judged, err := health.GetResourceHealth(object, lua.ResourceHealthOverrides{key: {HealthLua: string(script)}})
		if err != nil {
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(judged); err != nil {
			return err
		}
	}
	return lines.Err()
}
