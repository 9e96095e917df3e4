package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
)

// onlyHosts reports whether a request of this kind is believed only where hosts alone may
// publish.
func onlyHosts(kind wire.Kind) bool {
	return kind == wire.Told || kind == wire.Forget || kind == wire.MayForget || kind == wire.Parked || kind == wire.Restore || kind == wire.Fork
}

// withPrincipal has the event know who asks. What no gateway of ours has sent is nobody.
func withPrincipal(ctx context.Context, principal []byte) context.Context {
	if len(principal) == 0 || len(principal) > objects.MaxPrincipal {
		return ctx
	}
	var p objects.Principal
	if json.Unmarshal(principal, &p) != nil {
		return ctx
	}
	return objects.WithPrincipal(ctx, p)
}

// maxTimeout is the longest time that a request may ask for, in milliseconds.
const maxTimeout = int64(time.Hour / time.Millisecond)

// maxName is the longest name of a gateway or a socket, in bytes.
const maxName = 64

// checkName refuses what cannot name a gateway or a socket. A gateway's name becomes
// part of subjects.
func checkName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("a name has %d bytes, want 1 to %d", len(name), maxName)
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || c == '*' || c == '>' {
			return fmt.Errorf("%q cannot be a name", name)
		}
	}
	if user, own, of := strings.Cut(name, "."); of && (user == "" || own == "" || strings.Contains(own, ".")) {
		return fmt.Errorf("%q cannot be a name", name)
	}
	return nil
}

// maxNumber is beyond what any gateway counts to. An object answers nothing that a gateway has said to wait for no more, so a
// forged number would keep it from answering the gateway.
const maxNumber = 1 << 48

// checkRequest refuses a request that no gateway or host of ours has made.
func checkRequest(req *wire.Request, byHost bool) error {
	switch {
	case !byHost && (req.Asked != nil || req.Settled != nil || req.Kind == wire.Settled || req.Kind == wire.Probe):
		return errors.New("only a host may send this")
	case req.Kind == wire.Settled:
		return checkSettled(req.Settled)
	case req.Asked != nil:
		if err := checkAsked(req); err != nil {
			return err
		}
	}
	if err := checkSession(req); err != nil {
		return err
	}
	if req.Low > req.N || req.N > maxNumber {
		return fmt.Errorf("number %d, and nothing below %d is waited for: no gateway says this", req.N, req.Low)
	}
	if err := checkName(req.Gateway); err != nil || req.Socket == "" {
		return err
	}
	if slot, ok := wire.SlotOf(req.Gateway, req.Socket); !ok || slot == 0 {
		return fmt.Errorf("%.80q is no socket of the gateway", req.Socket)
	}
	return nil
}
