package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// profileAddress is the environment variable with the address at which serve offers its profiles.
const profileAddress = "BENCH_PPROF"

// hottest lists the works that are profiled.
var hottest = []struct {
	name string
	args []string
}{
	{"hot", []string{"ticket", "--names", "1", "--connections", "64"}},
	{"many", []string{"ticket", "--names", "1000", "--connections", "64"}},
	{"echo", []string{"echo", "--connections", "64"}},
	{"ask", []string{"echo", "--path", "/ask/{name}", "--size", "0", "--names", "64", "--connections", "64"}},
	{"tell", []string{"echo", "--path", "/tell/{name}?n=1000", "--size", "0", "--connections", "1"}},
	{"fan", []string{"echo", "--path", "/fan/{name}?n=1000", "--size", "0", "--connections", "1"}},
	{"first", []string{"first", "--connections", "16"}},
	{"room", []string{"room", "--sockets", "100", "--senders", "10", "--rate", "1500"}},
}

const profileFor = 5 * time.Second

func profileCommand() *cobra.Command {
	var into string
	c := &cobra.Command{
		Use:   "profile",
		Short: "Take CPU, allocation and mutex profiles of the hottest works",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			k, err := newKit(c.Context())
			if err != nil {
				return err
			}
			defer k.close()
			return k.profiles(c.Context(), into)
		},
	}
	c.Flags().StringVar(&into, "into", "profiles", "folder for the profiles; read them with go tool pprof")
	return c
}

func (k *kit) profiles(ctx context.Context, into string) error {
	if err := os.MkdirAll(into, 0o755); err != nil {
		return fmt.Errorf("make a folder for profiles: %w", err)
	}
	for _, work := range hottest {
		s, err := k.profile(ctx, filepath.Join(into, work.name), work.args)
		if err != nil {
			return err
		}
		say("%-6s %s", work.name, show(perSecond, s[perSecond]))
	}
	return nil
}

// profile writes the profiles of one work to files that begin with prefix.
func (k *kit) profile(ctx context.Context, prefix string, args []string) (sample, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	if err := os.Setenv(profileAddress, address); err != nil {
		return nil, err
	}
	defer os.Unsetenv(profileAddress) // it is set
	r, err := k.start(ctx, shelfPeer)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	type result struct {
		figures sample
		err     error
	}
	done := make(chan result, 1)
	go func() {
		s, err := k.load(ctx, append(args, "--url", r.url, "--warmup", "1s", "--duration", (profileFor+3*time.Second).String())...)
		done <- result{s, err}
	}()
	failed := sleep(ctx, 2*time.Second)
	for _, kind := range []string{"profile", "allocs", "mutex"} {
		url := fmt.Sprintf("http://%s/debug/pprof/%s?seconds=%d", address, kind, int(profileFor.Seconds()))
		if kind != "profile" {
			url, _, _ = strings.Cut(url, "?") // since the start
		}
		failed = errors.Join(failed, fetch(ctx, url, prefix+"-"+kind+".pb.gz"))
	}
	load := <-done
	return load.figures, errors.Join(failed, load.err)
}

func fetch(ctx context.Context, url, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("take a profile: %w", err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err == nil {
		err = os.WriteFile(file, data, 0o644)
	}
	if err != nil {
		return fmt.Errorf("keep a profile: %w", err)
	}
	return nil
}

// showProfiles serves the profiles of this process if profileAddress is set.
func showProfiles() error {
	address := os.Getenv(profileAddress)
	if address == "" {
		return nil
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("show profiles: %w", err)
	}
	runtime.SetMutexProfileFraction(10)
	pages := http.NewServeMux()
	pages.HandleFunc("/debug/pprof/", pprof.Index)
	pages.HandleFunc("/debug/pprof/profile", pprof.Profile)
	go func() { _ = http.Serve(ln, pages) }() // ends with the process
	return nil
}
