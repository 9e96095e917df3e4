package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// peer is one of the systems that are compared.
type peer struct {
	key, title string
	raise      func(ctx context.Context, k *kit, r *running) error
}

var peers = []peer{
	{"always", "Holdfast, sync always", raiseDev("--sync", "always")},
	{"default", "Holdfast, default", raiseDev()},
	{"r3", "Holdfast, R3", raiseR3},
	{"split", "Holdfast, NATS, host and gateway apart", raiseSplit},
	{"workerd", "workerd", raiseWorkerd},
	{"nats", "NATS request/reply behind Fiber", raiseRaw("nats")},
	{"fiber", "Fiber alone", raiseRaw("fiber")},
}

func peerOf(key string) peer {
	i := slices.IndexFunc(peers, func(p peer) bool { return p.key == key })
	return peers[i]
}

// running is a started peer. Clients talk to its last process.
type running struct {
	url       string
	ops       string // Holdfast's operations listener
	dir       string // its data; stop removes it
	processes []*process
}

// start starts a peer on free ports, with no data, and returns when it answers.
func (k *kit) start(ctx context.Context, p peer) (*running, error) {
	dir, err := k.folder(p.key)
	if err != nil {
		return nil, err
	}
	r := &running{dir: dir}
	if err := p.raise(ctx, k, r); err != nil {
		r.stop()
		return nil, err
	}
	return r, nil
}

func (r *running) stop() {
	for _, p := range slices.Backward(r.processes) {
		p.stop()
	}
	os.RemoveAll(r.dir) // the kit removes a remainder
}

func (r *running) pids() []int {
	var all []int
	for _, p := range r.processes {
		all = append(all, p.cmd.Process.Pid)
	}
	return all
}

func (r *running) pidList() string {
	var all []string
	for _, pid := range r.pids() {
		all = append(all, strconv.Itoa(pid))
	}
	return strings.Join(all, ",")
}

// run adds a process.
func (r *running) run(ctx context.Context, program string, args ...string) (*process, error) {
	p, err := start(ctx, filepath.Base(program)+" "+args[0], program, args...)
	if err == nil {
		r.processes = append(r.processes, p)
	}
	return p, err
}

// ours starts a serving command of Holdfast and reads its banner.
func (r *running) ours(ctx context.Context, program string, into any, args ...string) error {
	p, err := r.run(ctx, program, append(args, "--json")...)
	if err != nil {
		return err
	}
	return p.banner(ctx, into)
}

// devArgs returns the arguments of dev for one region without distance.
func (r *running) devArgs(more ...string) []string {
	return append([]string{"dev", "--regions", "fra", "--rtt", "0", "--port", "0", "--nats-port", "0",
		"--store", filepath.Join(r.dir, "store"), "--log-level", "error"}, more...)
}

// devBanner is the line that `holdfast dev` prints when it is ready.
type devBanner struct {
	ReadyMS float64
	Regions []struct{ URL string }
	Ops     string
}

// raiseDev starts all of Holdfast in one process.
func raiseDev(more ...string) func(context.Context, *kit, *running) error {
	return func(ctx context.Context, k *kit, r *running) error {
		var said devBanner
		if err := r.ours(ctx, k.holdfast, &said, r.devArgs(more...)...); err != nil {
			return err
		}
		r.url, r.ops = said.Regions[0].URL, said.Ops
		return nil
	}
}

// raiseSplit starts Holdfast in three processes: NATS, a host and a gateway.
func raiseSplit(ctx context.Context, k *kit, r *running) error {
	var said struct{ NATS string }
	err := r.ours(ctx, k.holdfast, &said, "nats", "--port", "0", "--rtt", "0", "--store", filepath.Join(r.dir, "store"))
	if err != nil {
		return err
	}
	return r.hostAndGateway(ctx, k, said.NATS)
}

func (r *running) hostAndGateway(ctx context.Context, k *kit, nats string, more ...string) error {
	common := []string{"--nats", nats, "--region", "fra", "--rtt", "0", "--log-level", "error"}
	var host struct{ Host string }
	if err := r.ours(ctx, k.holdfast, &host, slices.Concat([]string{"host"}, common, more)...); err != nil {
		return err
	}
	var gateway struct{ URL, Ops string }
	if err := r.ours(ctx, k.holdfast, &gateway, slices.Concat([]string{"gateway", "--demo", "--listen", "127.0.0.1:0"}, common)...); err != nil {
		return err
	}
	r.url, r.ops = gateway.URL, gateway.Ops
	return r.last().answers(ctx, "GET", r.url+"/readyz")
}

func (r *running) last() *process { return r.processes[len(r.processes)-1] }

// raiseR3 starts a cluster of three NATS servers, a host with three replicas, and a gateway.
func raiseR3(ctx context.Context, k *kit, r *running) error {
	binary, err := k.natsServer(ctx)
	if err != nil {
		return err
	}
	const servers = 3
	var ports [2 * servers]int // clients' ports, then routes' ports
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return err
		}
	}
	var urls []string
	for i := range servers {
		file := filepath.Join(r.dir, fmt.Sprintf("n%d.conf", i))
		if err := os.WriteFile(file, []byte(natsConfig(i, r.dir, ports[i], ports[servers:])), 0o600); err != nil {
			return fmt.Errorf("configure nats-server: %w", err)
		}
		if _, err := r.run(ctx, binary, "-c", file); err != nil {
			return err
		}
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", ports[i]))
	}
	return r.hostAndGateway(ctx, k, strings.Join(urls, ","), "--replicas", fmt.Sprint(servers))
}

// natsConfig gives a server of the cluster the limits that the embedded one has.
func natsConfig(i int, dir string, port int, routes []int) string {
	var others []string
	for _, route := range routes {
		others = append(others, fmt.Sprintf("nats://127.0.0.1:%d", route))
	}
	return fmt.Sprintf(`server_name: n%d
listen: "127.0.0.1:%d"
max_payload: 4MB
jetstream { store_dir: %q }
cluster { name: bench, listen: "127.0.0.1:%d", routes: [%s] }
`, i, port, filepath.Join(dir, fmt.Sprintf("n%d", i)), routes[i], strings.Join(others, ", "))
}

// raiseWorkerd starts workerd with a worker of the same routes.
func raiseWorkerd(ctx context.Context, k *kit, r *running) error {
	binary, err := k.workerdBinary(ctx)
	if err != nil {
		return err
	}
	if err := os.CopyFS(r.dir, workerdFiles); err != nil {
		return fmt.Errorf("copy the worker: %w", err)
	}
	store := filepath.Join(r.dir, "store")
	if err := os.Mkdir(store, 0o750); err != nil {
		return fmt.Errorf("make workerd's store: %w", err)
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	p, err := r.run(ctx, binary, "serve", filepath.Join(r.dir, "workerd", "config.capnp"),
		"--socket-addr=http="+address, "--directory-path=store="+store)
	if err != nil {
		return err
	}
	r.url = "http://" + address
	return p.answers(ctx, "POST", r.url+"/echo/ready")
}

// raiseRaw starts one of the raw limits in a process of its own.
func raiseRaw(kind string) func(context.Context, *kit, *running) error {
	return func(ctx context.Context, k *kit, r *running) error {
		var said struct{ URL string }
		p, err := r.run(ctx, k.self, "raw", kind)
		if err == nil {
			err = p.banner(ctx, &said)
		}
		r.url = said.URL
		return err
	}
}
