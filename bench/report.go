package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// report is the result of one run.
type report struct {
	Date     string            `json:"date"`
	Command  string            `json:"command"`
	Commit   string            `json:"commit"`
	Machine  machine           `json:"machine"`
	Versions map[string]string `json:"versions"`
	Settings any               `json:"settings"`
	Measures any               `json:"measures"`
	Verdicts []verdict         `json:"verdicts,omitempty"`

	root     string  // of the module
	kind     string  // "", "cost" or "overload"
	sections []table // of measures and verdicts, in the order of reading
}

type machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	Memory     string `json:"memory"`
	Kernel     string `json:"kernel"`
	Filesystem string `json:"filesystem"` // of the data
}

// newReport says what runs where.
func (k *kit) newReport(ctx context.Context, kind string) (*report, error) {
	r := &report{
		Date: time.Now().Format(time.DateOnly), Command: "go run ./bench " + strings.Join(os.Args[1:], " "),
		Commit: "none", Machine: k.machine(ctx), root: k.root, kind: kind,
		Versions: map[string]string{"go": runtime.Version(), "workerd": workerdVersion()},
	}
	r.Command = strings.TrimSpace(r.Command)
	if short, err := output(ctx, "git", "-C", k.root, "rev-parse", "--short", "HEAD"); err == nil {
		r.Commit = short // without git there is none to tell
	}
	for name, module := range map[string]string{
		"nats-server": "github.com/nats-io/nats-server/v2", "nats.go": "github.com/nats-io/nats.go", "fiber": "github.com/gofiber/fiber/v2",
	} {
		version, err := output(ctx, "go", "list", "-C", k.root, "-m", "-f", "{{.Version}}", module)
		if err != nil {
			return nil, err
		}
		r.Versions[name] = version
	}
	return r, nil
}

// machine describes the machine: on Linux the processor too, elsewhere the cores alone.
func (k *kit) machine(ctx context.Context) machine {
	m := machine{Cores: runtime.NumCPU()}
	m.CPU = field("/proc/cpuinfo", "model name")
	m.Memory = field("/proc/meminfo", "MemTotal")
	if version, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(version))
	}
	if kind, err := output(ctx, "stat", "-f", "-c", "%T", k.dir); err == nil {
		m.Filesystem = kind
	}
	return m
}

// field returns the first value of a name in a file of Linux's /proc, empty if there is none.
func field(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// text renders the report for a terminal.
func (r *report) text() string {
	var out strings.Builder
	for _, t := range r.sections {
		out.WriteString("\n" + t.text())
	}
	return out.String()
}

// markdown renders the report for a page.
func (r *report) markdown() string {
	var out strings.Builder
	m, v := r.Machine, r.Versions
	fmt.Fprintf(&out, "`%s` on %s, commit %s: %d cores, %s, %s of memory, Linux %s, %s.\n", r.Command, r.Date, r.Commit,
		m.Cores, m.CPU, m.Memory, m.Kernel, m.Filesystem)
	fmt.Fprintf(&out, "%s, nats-server %s, nats.go %s, Fiber %s, workerd %s.\n", v["go"], v["nats-server"], v["nats.go"], v["fiber"], v["workerd"])
	for _, t := range r.sections {
		out.WriteString("\n" + t.markdown())
	}
	return out.String()
}

// tell writes the report to standard output, as JSON or as tables.
func (r *report) tell(asJSON bool) error {
	var err error
	if asJSON {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(r)
	} else {
		_, err = os.Stdout.WriteString(r.text())
	}
	return err
}

// keep writes the report into bench/results and its tables into docs/performance.md.
func (r *report) keep() error {
	kept, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the results: %w", err)
	}
	file := filepath.Join(r.root, "bench", "results", strings.TrimSuffix(r.Date+"-"+r.Commit+"-"+r.kind, "-")+".json")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("keep the results: %w", err)
	}
	if err := os.WriteFile(file, append(kept, '\n'), 0o644); err != nil {
		return fmt.Errorf("keep the results: %w", err)
	}
	mark := "bench"
	if r.kind != "" {
		mark += "-" + r.kind
	}
	page := filepath.Join(r.root, "docs", "performance.md")
	text, err := os.ReadFile(page)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = []byte("# Performance\n"), nil
	}
	if err == nil {
		err = os.WriteFile(page, []byte(between(string(text), mark, r.markdown())), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write the tables: %w", err)
	}
	say("wrote %s and %s", file, page)
	return nil
}

// between replaces the text between two marks. Without marks it appends them with the text.
func between(page, mark, text string) string {
	begin, end := "<!-- "+mark+":begin -->", "<!-- "+mark+":end -->"
	block := begin + "\n\n" + text + "\n" + end
	before, rest, ok := strings.Cut(page, begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return page + "\n" + block + "\n"
	}
	return before + block + after
}
