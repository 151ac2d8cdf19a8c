package main

import (
	"bufio"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"os"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
)

// oracleRequest is one line of standard input: the id of the local server and every server's own discovery document.
type oracleRequest struct {
	Local   string                                          `json:"local"`
	Servers map[string]apidiscoveryv2.APIGroupDiscoveryList `json:"servers"`
}

// oracleResponse is one line of standard output: what kube-apiserver would hash, as a string, and its ETag.
type oracleResponse struct {
	Document string `json:"document"`
	ETag     string `json:"etag"`
}

// mergeOracle answers each line of standard input with Kubernetes' own merge of the documents in it, so that a test
// can hold this project's merge against it byte for byte.
func mergeOracle() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 0, 1<<20), 1<<30)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		var request oracleRequest
		if err := json.Unmarshal(in.Bytes(), &request); err != nil {
			fmt.Fprintln(os.Stderr, "merge-oracle:", err)
			os.Exit(1)
		}
		local := request.Servers[request.Local].Items
		peers := map[string][]apidiscoveryv2.APIGroupDiscovery{}
		for id, list := range request.Servers {
			if id != request.Local {
				peers[id] = list.Items
			}
		}
		merged := apidiscoveryv2.APIGroupDiscoveryList{Items: aggregated.TestMergeResources(request.Local, local, peers)}
		document, err := json.Marshal(merged)
		if err != nil {
			fmt.Fprintln(os.Stderr, "merge-oracle:", err)
			os.Exit(1)
		}
		line, _ := json.Marshal(oracleResponse{Document: string(document), ETag: fmt.Sprintf("%X", sha512.Sum512(document))})
		out.Write(append(line, '\n'))
		out.Flush()
	}
}
