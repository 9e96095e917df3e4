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

// onlyHosts reports whether requests of this kind are accepted only on subjects where hosts alone may publish.
func onlyHosts(kind wire.Kind) bool {
	return kind == wire.Told || kind == wire.Forget || kind == wire.MayForget || kind == wire.Parked || kind == wire.Restore || kind == wire.Fork
}

// withPrincipal adds the principal of a request to the event's context. One that no gateway can have sent counts as
// none.
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

// checkName refuses a name that no gateway and no socket can have. A gateway's name becomes part of subjects.
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

// maxNumber is more than any gateway counts to. An object answers no request below the lowest number that the gateway
// waits for, so a forged lowest number could keep it from answering the gateway.
const maxNumber = 1 << 48

// checkRequest refuses a request that no gateway or host can have made.
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
		return fmt.Errorf("number %d, and the lowest awaited is %d: no gateway counts like this", req.N, req.Low)
	}
	if _, err := req.Open.Numbers(req.Low, req.N); err != nil {
		return err
	}
	if err := checkName(req.Gateway); err != nil || req.Socket == "" {
		return err
	}
	if slot, ok := wire.SlotOf(req.Gateway, req.Socket); !ok || slot == 0 {
		return fmt.Errorf("%.80q is no socket of the gateway", req.Socket)
	}
	return nil
}
