package app

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"time"

	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"
)

// newLog returns a logger that writes text for people, or JSON.
func newLog(w io.Writer, level string, people bool) (*slog.Logger, error) {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, usage(fmt.Errorf("read --log-level %q: want debug, info, warn or error", level), "")
	}
	if people {
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: least, TimeFormat: time.TimeOnly, NoColor: !wantColor()})), nil
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: least})), nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && (isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()))
}

// wantColor reports whether a terminal may be coloured: https://no-color.org.
func wantColor() bool { return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" }

// say reports progress to a person, on standard error. With --json the log has the facts instead.
func (p *program) say(format string, args ...any) {
	if !p.json {
		fmt.Fprintf(p.stderr, format+"\n", args...)
	}
}

// print writes a result as one JSON value.
func (p *program) print(v any) error {
	out := json.NewEncoder(p.stdout)
	out.SetEscapeHTML(false)
	if err := out.Encode(v); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

func (p *program) printVersion() error {
	if p.json {
		return p.print(map[string]any{
			"ok": true, "name": p.cfg.Name, "version": p.cfg.Version,
			"go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
		})
	}
	_, err := fmt.Fprintf(p.stdout, "%s %s (%s, %s/%s)\n", p.cfg.Name, p.cfg.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
