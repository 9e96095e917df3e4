package embedded

import (
	"fmt"
	"log/slog"
	"strings"
)

// bridge is the server's logger. Warnings and errors go to slog; the rest is the server talking
// to itself. A fatal error, for which the server would end the process, ends the start instead.
type bridge struct {
	log   *slog.Logger
	fatal chan error // holds the first fatal error; never closed
}

func newBridge(log *slog.Logger, name string) *bridge {
	return &bridge{log: log.With("server", name), fatal: make(chan error, 1)}
}

// Warnf logs a warning.
func (b *bridge) Warnf(format string, v ...any) {
	if strings.HasPrefix(format, "Temporary storage directory used") {
		return // a store below /tmp is what memory mode and tests ask for
	}
	b.log.Warn("nats-server warned", "text", fmt.Sprintf(format, v...))
}

// Errorf logs an error.
func (b *bridge) Errorf(format string, v ...any) {
	b.log.Error("nats-server failed", "text", fmt.Sprintf(format, v...))
}

// Fatalf keeps the error for the start that waits for it, and logs a later one.
func (b *bridge) Fatalf(format string, v ...any) {
	err := fmt.Errorf(format, v...)
	select {
	case b.fatal <- err:
	default:
		b.log.Error("nats-server failed", "text", err.Error())
	}
}

// Noticef drops routine messages.
func (b *bridge) Noticef(string, ...any) {}

// Debugf drops details.
func (b *bridge) Debugf(string, ...any) {}

// Tracef drops the protocol.
func (b *bridge) Tracef(string, ...any) {}
