// Command merge-oracle answers with Kubernetes' own merge of discovery documents, so that this project's merge can be
// held against it byte for byte, and timed beside it. It is built against one of several releases of k8s.io/apiserver:
// see the *.mod files.
package main

import (
	"bufio"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"time"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
)

type groups = []apidiscoveryv2.APIGroupDiscovery

// request is one line of standard input: the id of the local server and every server's own discovery document.
type request struct {
	Local   string                                           `json:"local"`
	Servers map[string]apidiscoveryv2.APIGroupDiscoveryList `json:"servers"`
}

// response is one line of standard output: what kube-apiserver would hash, as a string, and its ETag.
type response struct {
	Document string `json:"document"`
	ETag     string `json:"etag"`
}

// plan is one line of standard input of `merge-oracle time`. Each file is read anew for each server, as servers do.
type plan struct {
	Local string `json:"local"`
	// Files has the path of every server's document.
	Files map[string]string `json:"files"`
	// Changed has, for the server whose document changes, the path of the new one.
	Changed map[string]string `json:"changed"`
	Repeat  int               `json:"repeat"`
}

// timing is one line of standard output of `merge-oracle time`.
type timing struct {
	ReadMs    float64   `json:"readMs"`
	MergeMs   []float64 `json:"mergeMs"`
	EncodeMs  []float64 `json:"encodeMs"`
	ChangedMs []float64 `json:"changedMs"`
	// HeapMiB is what the documents and the merged list hold, after a collection.
	HeapMiB float64 `json:"heapMiB"`
	// AllocatedMiB is what one merge with its ETag allocates.
	AllocatedMiB float64 `json:"allocatedMiB"`
	ETag         string  `json:"etag"`
	ChangedETag  string  `json:"changedEtag"`
}

func main() {
	answer := answerLine
	if len(os.Args) > 1 && os.Args[1] == "time" {
		answer = timeLine
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 0, 1<<20), 1<<30)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		result, err := answer(in.Bytes())
		if err != nil {
			fmt.Fprintln(os.Stderr, "merge-oracle:", err)
			os.Exit(1)
		}
		line, _ := json.Marshal(result)
		out.Write(append(line, '\n'))
		out.Flush()
	}
}

func answerLine(line []byte) (any, error) {
	var asked request
	if err := json.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	servers := map[string]groups{}
	for id, list := range asked.Servers {
		servers[id] = list.Items
	}
	document, etag, err := encode(merge(asked.Local, servers))
	return response{Document: string(document), ETag: etag}, err
}

func timeLine(line []byte) (any, error) {
	var asked plan
	if err := json.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	before := heapBytes()
	servers := map[string]groups{}
	reading := time.Now()
	for id, file := range asked.Files {
		list, err := readList(file)
		if err != nil {
			return nil, err
		}
		servers[id] = list
	}
	result := timing{ReadMs: milliseconds(reading)}
	var merged groups
	var memory runtime.MemStats
	for turn := 0; turn < asked.Repeat; turn++ {
		runtime.ReadMemStats(&memory)
		allocated := memory.TotalAlloc
		started := time.Now()
		merged = merge(asked.Local, servers)
		result.MergeMs = append(result.MergeMs, milliseconds(started))
		started = time.Now()
		_, etag, err := encode(merged)
		if err != nil {
			return nil, err
		}
		result.EncodeMs = append(result.EncodeMs, milliseconds(started))
		result.ETag = etag
		runtime.ReadMemStats(&memory)
		result.AllocatedMiB = float64(memory.TotalAlloc-allocated) / (1 << 20)
	}
	result.HeapMiB = float64(heapBytes()-before) / (1 << 20)
	for turn := 0; turn < asked.Repeat; turn++ {
		for id, file := range asked.Changed {
			list, err := readList(file)
			if err != nil {
				return nil, err
			}
			servers[id] = list
		}
		started := time.Now()
		merged = merge(asked.Local, servers)
		_, etag, err := encode(merged)
		if err != nil {
			return nil, err
		}
		result.ChangedMs = append(result.ChangedMs, milliseconds(started))
		result.ChangedETag = etag
	}
	runtime.KeepAlive(merged)
	return result, nil
}

func merge(local string, servers map[string]groups) groups {
	peers := map[string]groups{}
	for id, list := range servers {
		if id != local {
			peers[id] = list
		}
	}
	return aggregated.TestMergeResources(local, servers[local], peers)
}

// encode does what the package's calculateETag does, and keeps the text.
func encode(merged groups) ([]byte, string, error) {
	document, err := json.Marshal(apidiscoveryv2.APIGroupDiscoveryList{Items: merged})
	return document, fmt.Sprintf("%X", sha512.Sum512(document)), err
}

func readList(file string) (groups, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var list apidiscoveryv2.APIGroupDiscoveryList
	err = json.Unmarshal(text, &list)
	return list.Items, err
}

func milliseconds(started time.Time) float64 {
	return float64(time.Since(started).Microseconds()) / 1000
}

func heapBytes() uint64 {
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return memory.HeapAlloc
}
