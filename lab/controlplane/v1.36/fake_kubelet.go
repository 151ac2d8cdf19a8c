package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

const (
	streamIdleTimeout     = 10 * time.Minute
	streamCreationTimeout = 30 * time.Second
)

// fakeKubelet answers what kube-apiserver asks a kubelet for exec, attach, port-forward and logs, with the streaming
// code of a real kubelet. Its pods are no containers: commands run on this machine, and forwarded ports are loopback's.
func fakeKubelet() error {
	address := flag.String("address", "127.0.0.1:10250", "host:port to listen on")
	certFile := flag.String("tls-cert-file", "", "serving certificate")
	keyFile := flag.String("tls-private-key-file", "", "its key")
	flag.Parse()
	mux := http.NewServeMux()
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		options, err := remotecommand.NewOptions(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		remotecommand.ServeExec(w, r, localRuntime{}, r.PathValue("pod"), "", r.PathValue("container"), r.URL.Query()["command"],
			options, streamIdleTimeout, streamCreationTimeout, remotecommand.SupportedStreamingProtocols)
	})
	mux.HandleFunc("/attach/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		options, err := remotecommand.NewOptions(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		remotecommand.ServeAttach(w, r, localRuntime{}, r.PathValue("pod"), "", r.PathValue("container"),
			options, streamIdleTimeout, streamCreationTimeout, remotecommand.SupportedStreamingProtocols)
	})
	mux.HandleFunc("/portForward/{namespace}/{pod}", func(w http.ResponseWriter, r *http.Request) {
		options, err := portforward.NewV4Options(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		portforward.ServePortForward(w, r, localRuntime{}, r.PathValue("pod"), "", options,
			streamIdleTimeout, streamCreationTimeout, portforward.SupportedProtocols)
	})
	mux.HandleFunc("/containerLogs/{namespace}/{pod}/{container}", serveLogs)
	return http.ListenAndServeTLS(*address, *certFile, *keyFile, mux)
}

// serveLogs writes three lines, and then one every 100 ms for as long as somebody follows.
func serveLogs(w http.ResponseWriter, r *http.Request) {
	follow := r.URL.Query().Get("follow") == "true"
	w.Header().Set("Content-Type", "text/plain")
	for line := 1; follow || line <= 3; line++ {
		if _, err := fmt.Fprintf(w, "line %d of %s\n", line, r.PathValue("pod")); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// localRuntime stands for a container runtime.
type localRuntime struct{}

func (localRuntime) ExecInContainer(ctx context.Context, _, _, _ string, command []string, in io.Reader, out, err io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize, _ time.Duration) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdout = out
	cmd.Stderr = err
	if err == nil {
		cmd.Stderr = out
	}
	if in != nil {
		// Not cmd.Stdin: Wait would then wait for a client that keeps its side open after the command has ended.
		stdin, pipeError := cmd.StdinPipe()
		if pipeError != nil {
			return pipeError
		}
		go func() {
			io.Copy(stdin, in)
			stdin.Close()
		}()
	}
	failure := cmd.Run()
	var exit *exec.ExitError
	if errors.As(failure, &exit) {
		return utilexec.CodeExitError{Err: failure, Code: exit.ExitCode()}
	}
	return failure
}

// AttachContainer says what is said to it, in capitals, so that an echo can be told from what was sent.
func (localRuntime) AttachContainer(_ context.Context, name, _, _ string, in io.Reader, out, _ io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize) error {
	if _, err := fmt.Fprintf(out, "attached to %s\n", name); err != nil || in == nil {
		return err
	}
	buffer := make([]byte, 4096)
	for {
		count, err := in.Read(buffer)
		if count > 0 {
			if _, writeError := io.WriteString(out, strings.ToUpper(string(buffer[:count]))); writeError != nil {
				return writeError
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// PortForward keeps a half-closed side half-closed: the end of one direction is passed on, and the other goes on.
func (localRuntime) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	defer conn.Close()
	go func() {
		io.Copy(conn, stream)
		conn.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(stream, conn)
	stream.Close()
	return err
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
