// Package app is the command line that a program gets by handing over its classes
// and its worker:
//
//	func main() {
//		app.Main(app.Config{Objects: []*objects.Implementation{room.Objects}, Worker: worker})
//	}
//
// The commands put the other packages together and decide nothing about objects:
//
//	dev       embedded NATS, and a gateway and hosts in each of several regions
//	nats      the embedded NATS alone
//	gateway   one gateway, on a NATS that runs already
//	host      one host, likewise
//	call      a call to an object
//	fetch     an HTTP request to an object
//	send      a message over a WebSocket of an object, and what comes back
//	race      claims at the demo's counters, and what became of them
//	bench     a load, and how it was answered
//	get, ls   what is kept
//	resume    have an object go on that was left alone
//	tells     print what an object has told and what is not delivered; send it again or drop it
//	history   print what has changed an object
//	diff      print what two of its states have differently
//	restore   put an object back to a state that it had
//	fork      begin a new object with what another has, or had
//
// Each process that serves has an operations listener, which package ops describes.
//
// Only here are flags and the environment read (NATS_URL, NO_COLOR, TERM).
//
// Standard output is for results: a banner, a table or, with --json, one JSON
// value. Logs, progress and errors go to standard error; with --json an error
// goes to standard output as {"ok":false,"error":{...}}. Nothing is printed
// before it is true. The exit codes stand in exit.go.
//
// A process that serves stops in order when its context ends: gateways tell their
// sockets to reconnect and finish their requests, then hosts release their
// objects, then connections close, and NATS last.
package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"holdfast/gateway"
	"holdfast/objects"
)

// Config configures a program.
type Config struct {
	Name    string // of the program; default "holdfast"
	Version string // default "0.1.0"
	Objects []*objects.Implementation
	Worker  gateway.Worker // routes in front of the objects; default: none

	// Demo is a worker that anybody may use: dev has it, and a gateway with --demo. A program has either Demo or
	// Worker.
	Demo gateway.Worker

	// These are the defaults of the flags of the same names.
	Origins    []string
	Limits     gateway.Limits
	Window     int           // 1 MiB
	Windows    int           // 64 MiB
	WindowTime time.Duration // 12 s
}

// Main runs the command that os.Args name and exits with its code. The first
// SIGINT or SIGTERM stops in order, the second at once.
func Main(cfg Config) {
	ctx, stop := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // ends with the process
		<-signals
		stop()
		<-signals
		os.Exit(exitInterrupted)
	}()
	os.Exit(Run(ctx, cfg, os.Args[1:], os.Stdout, os.Stderr))
}

// Run runs one command and returns its exit code. The end of ctx has the effect of Ctrl-C.
func Run(ctx context.Context, cfg Config, args []string, stdout, stderr io.Writer) int {
	if cfg.Name == "" {
		cfg.Name = "holdfast"
	}
	if cfg.Version == "" {
		cfg.Version = "0.1.0"
	}
	p := &program{cfg: cfg, stdout: stdout, stderr: &lockedWriter{w: stderr}, terminal: isTerminal(stderr), log: slog.New(slog.DiscardHandler)}
	root := p.root()
	root.SetArgs(append([]string{}, args...)) // nil would mean os.Args
	err := p.sortOut(root.ExecuteContext(ctx))
	if !p.began && slices.Contains(args, "--json") {
		p.json = true // an error in the flags is told in JSON, too
	}
	return p.report(err)
}

// program is one run of one command.
type program struct {
	cfg      Config
	stdout   io.Writer
	stderr   io.Writer
	terminal bool // stderr is one

	json  bool
	level string

	log   *slog.Logger // set when a command has begun
	began bool         // a command has begun: later failures are no errors in the command line
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   p.cfg.Name,
		Short: "Durable Objects on NATS",
		Long: "Durable Objects on NATS: a piece of state under a name, owned by exactly one\n" +
			"host at a time, reached from gateways in several regions.",
		Example: p.examples(
			"dev                 everything in one process, three regions\n" +
				"race --rounds 200   three counters under the same load\n" +
				"call ticket/global claim\n" +
				"get ticket/global   what is kept of one object"),
		Version:       p.cfg.Version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(err, "see: "+c.CommandPath()+" --help")
	})
	root.PersistentFlags().BoolVar(&p.json, "json", false, "results, errors and logs as JSON")
	root.PersistentFlags().StringVar(&p.level, "log-level", "info", "least level that is logged: debug, info, warn or error")
	root.AddCommand(p.devCommand(), p.natsCommand(), p.hostCommand(), p.gatewayCommand(),
		p.callCommand(), p.fetchCommand(), p.sendCommand(), p.getCommand(), p.lsCommand(), p.resumeCommand(), p.tellsCommand(),
		p.historyCommand(), p.diffCommand(), p.restoreCommand(), p.forkCommand(),
		p.raceCommand(), p.benchCommand(), p.versionCommand())
	p.completeBuiltins(root)
	explainArgs(root)
	return root
}

// explainArgs has every command below c say which arguments it wants, where cobra says how many.
func explainArgs(c *cobra.Command) {
	for _, c := range c.Commands() {
		explainArgs(c)
	}
	check := c.Args
	if check == nil {
		return
	}
	c.Args = func(c *cobra.Command, args []string) error {
		err := check(c, args)
		if err == nil || !strings.Contains(err.Error(), "arg(s)") {
			return err
		}
		want := strings.TrimSuffix(c.UseLine(), " [flags]")
		return usage(fmt.Errorf("%s: want %s", count(len(args), "argument"), want), "see: "+c.CommandPath()+" --help")
	}
}

// completeBuiltins adds examples to cobra's own commands, as all others have.
func (p *program) completeBuiltins(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Example = p.examples("help dev")
		case "completion":
			c.Example = p.examples("completion bash")
			for _, shell := range c.Commands() {
				shell.Example = p.examples("completion " + shell.Name())
			}
		}
	}
}

// examples puts the program's name in front of every line.
func (p *program) examples(lines string) string {
	return "  " + p.cfg.Name + " " + strings.ReplaceAll(lines, "\n", "\n  "+p.cfg.Name+" ")
}

// run makes a cobra command from fn.
func (p *program) run(fn func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		log, err := newLog(p.stderr, p.level, p.terminal && !p.json)
		if err != nil {
			return err
		}
		p.log, p.began = log, true
		tending, stop := context.WithCancel(c.Context())
		var tended sync.WaitGroup
		tended.Go(func() { tuneMemory(tending) })
		defer tended.Wait()
		defer stop()
		return fn(c.Context(), args)
	}
}

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Long:    "Print the version of this program and of what it was built with.",
		Example: p.examples("version\nversion --json"),
		Args:    cobra.NoArgs,
		RunE:    p.run(func(context.Context, []string) error { return p.printVersion() }),
	}
}

// lockedWriter lets logs and messages share a writer.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// Write writes all of b at once.
func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
