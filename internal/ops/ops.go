// Package ops is the operations listener: metrics, readiness and profiles of a process, for its operators.
//
//	/metrics      for Prometheus
//	/readyz       200 if any part of the process can answer, else 503; and the state of each part
//	/debug/pprof  Go's profiles
//
// It is separate from the listeners of gateways because it reveals more than clients may know, and can make a
// process work hard. It serves from before the first part begins until after the last has ended, so that a
// start or a stop that hangs can be examined. On loopback it answers only to names that always mean this
// machine (see package loopback).
package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"holdfast/internal/loopback"
)

const (
	mostConns  = 64               // at a time; more wait to be accepted
	mostHeader = 16 << 10         // of a request
	readWithin = 5 * time.Second  // a request
	lookWithin = 3 * time.Second  // all parts, for /readyz
	mostAnswer = 30 * time.Second // except for a profile, which has this and its own time
	mostTaken  = 2 * time.Minute  // of a profile
	keepIdle   = 75 * time.Second // longer than a scraper's pause
	stopWithin = time.Second      // for the answers under way; then they are cut
)

// Part is the state of a gateway, a host or a server of the process.
type Part struct {
	Kind    string            `json:"part"`
	Name    string            `json:"name,omitempty"`
	Region  string            `json:"region,omitempty"`
	Ready   bool              `json:"ready"`
	Why     string            `json:"why,omitempty"`     // the reason if it is not ready
	Classes map[string]string `json:"classes,omitempty"` // of a gateway: "ok", or the reason why no host of the class answers
}

// Server is a process's operations listener. New makes one.
type Server struct {
	Metrics *prometheus.Registry // the registry behind /metrics: the process's own metrics, and those that others register

	log *slog.Logger

	mu       sync.Mutex // guards what follows
	parts    []func(context.Context) Part
	stopping bool
}

// New makes a server. It listens once Run is called.
func New(log *slog.Logger) *Server {
	s := &Server{Metrics: prometheus.NewRegistry(), log: log}
	s.Metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return s
}

// Add adds a part. look returns the part's present state, and must return when its context ends.
func (s *Server) Add(look func(context.Context) Part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts = append(s.parts, look)
}

// Stopping makes the process not ready from now on: it accepts nothing new.
func (s *Server) Stopping() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
}

// Run serves ln until ctx ends, and closes it. Then answers under way have one more second.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	server := &http.Server{
		Handler:           s.handler(loopback.Listener(ln)),
		ReadHeaderTimeout: readWithin,
		ReadTimeout:       readWithin,
		WriteTimeout:      mostAnswer,
		IdleTimeout:       keepIdle,
		MaxHeaderBytes:    mostHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(netutil.LimitListener(ln, mostConns)); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve operations at %s: %w", ln.Addr(), err)
		}
		return nil
	})
	group.Go(func() error {
		<-running.Done()
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		if err := server.Shutdown(within); err != nil {
			return server.Close()
		}
		return nil
	})
	return group.Wait()
}

// handler returns the listener's routes. On loopback it refuses names of other machines.
func (s *Server) handler(local bool) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.Metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 8, Timeout: 10 * time.Second}))
	mux.HandleFunc("GET /readyz", s.ready)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", hidden) // flags may contain passwords
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if local && !loopback.Host(r.Host) {
			http.Error(w, "The operations listener answers only to localhost and loopback addresses. "+
				"--ops-listen with another address has it answer to any name.", http.StatusForbidden)
			return
		}
		// package pprof takes as long as the client wants
		if taken := r.URL.Query().Get("seconds"); taken != "" {
			if n, err := strconv.ParseFloat(taken, 64); err != nil || !(n > 0 && n <= mostTaken.Seconds()) {
				http.Error(w, fmt.Sprintf("seconds=%.20q: want more than 0 and at most %v.", taken, mostTaken.Seconds()), http.StatusBadRequest)
				return
			}
		}
		r.Body = http.NoBody
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

func hidden(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "The command line is not shown.", http.StatusNotFound)
}

// readiness is the answer of /readyz.
type readiness struct {
	OK    bool   `json:"ok"`
	Why   string `json:"why,omitempty"` // the reason if it is not
	Parts []Part `json:"parts"`
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	answer := s.look(r.Context())
	status := http.StatusOK
	if !answer.OK {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // fails when the client has left
}

// look reads the state of all parts at once.
func (s *Server) look(ctx context.Context) readiness {
	s.mu.Lock()
	parts, stopping := s.parts, s.stopping
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	answer := readiness{Parts: make([]Part, len(parts))}
	var all sync.WaitGroup
	for i, look := range parts {
		all.Go(func() { answer.Parts[i] = look(ctx) })
	}
	all.Wait()
	answer.OK, answer.Why = verdict(stopping, answer.Parts)
	return answer
}

// verdict reports whether the process can answer anything.
func verdict(stopping bool, parts []Part) (ok bool, why string) {
	switch {
	case stopping:
		return false, "the process is stopping"
	case len(parts) == 0:
		return false, "the process is starting"
	}
	for _, part := range parts {
		if part.Ready {
			return true, ""
		}
	}
	return false, "no part of the process can answer"
}
