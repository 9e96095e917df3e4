// Package kvfoil is the foil, the thing that an owned object is compared with: a counter on plain KV, without an owner.
//
// It keeps two counters per name in one plain KV bucket, HF_FOIL. Naive reads,
// adds one and writes; it loses increments as soon as two claims overlap. CAS
// writes at the revision that it read and tries again when refused; it loses
// none and pays in attempts. A visible gap stands between read and write, in
// place of the round trip and the thinking that any real worker has there.
//
// A failed claim says what became of it:
//
//	ErrInvalid      malformed; did not happen, and never will
//	ErrTooMany      over the write limit; did not happen
//	ErrUnavailable  the store or the time ran out before a write; did not happen
//	ErrUnknown      a write was sent and not answered; cannot be known
//
// Names never become part of a key or a subject: a key is "naive." or "cas."
// and the hex SHA-256 of the name. The value holds the name, so that
// "nats kv get HF_FOIL <key>" still tells a person whose counter it is.
package kvfoil

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bucket is the KV bucket that holds both kinds of counters.
const Bucket = "HF_FOIL"

const (
	// DefaultGap is the gap for a caller that was not asked for another one.
	// With it 15 claims at once lose 13 or 14 increments.
	DefaultGap = 20 * time.Millisecond
	// MaxGap is the longest gap that a claim accepts.
	MaxGap = 5 * time.Second
	// MaxName is the length of the longest name in bytes.
	MaxName = 1024
)

var (
	// ErrInvalid refuses a name or a gap. Nothing was read or written.
	ErrInvalid = errors.New("invalid")
	// ErrTooMany refuses a write: the key was written less than a second ago.
	// Nothing was written. Only with Edge.WriteLimit.
	ErrTooMany = errors.New("too many writes to one key")
	// ErrUnavailable means that nothing was written, because the store could not
	// be reached or the context ended first. The claim may be made again.
	ErrUnavailable = errors.New("store unavailable")
	// ErrUnknown means that a write was sent and its answer never came. It may
	// have counted; making the claim again may count twice.
	ErrUnknown = errors.New("outcome unknown")
)

// errMoved says that the store refused a write because the key had moved on.
var errMoved = errors.New("key was written meanwhile")

// Config says how the bucket is made. The zero value is a plain bucket: one
// replica, on disk.
type Config struct {
	// Replicas of the bucket if it has to be made; 0 means 1. An existing
	// bucket stays as it is.
	Replicas int
	// Memory keeps a bucket that has to be made in memory instead of on disk.
	Memory bool
}

// A Foil claims, peeks at and resets both kinds of counters. It stands for one edge
// location, with a cache of its own. Any number may work on one bucket, and any
// number of goroutines on one Foil.
type Foil struct {
	nc   *nats.Conn
	kv   jetstream.KeyValue
	edge *edge
}

// Result is what one claim did.
type Result struct {
	// Ticket is the number handed out, 1 or more; 0 when the claim failed.
	Ticket int
	// Attempts holds each read and write in order, those of a failed claim too.
	Attempts []Attempt
}

// Attempt is one read and the write that followed from it.
type Attempt struct {
	Read       time.Time // when the value arrived
	ReadValue  int       // the value as read
	Cached     bool      // the read was answered by the edge, and may be of old
	Wrote      time.Time // when the write was answered; zero when it never was
	WroteValue int       // the value sent; 0 when nothing was sent
	Refused    bool      // the write was certainly not stored
}

// Open makes the bucket if it is missing and binds to it. Several gateways may
// open it at the same moment. It waits up to half a minute for a cluster without
// a leader, or until ctx ends. The connection stays the caller's.
func Open(ctx context.Context, nc *nats.Conn, cfg Config) (*Foil, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", Bucket, err)
	}
	kv, err := bind(ctx, js, cfg)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", Bucket, err)
	}
	return &Foil{nc: nc, kv: kv, edge: newEdge()}, nil
}

// bind binds to the bucket or makes it. A cluster that has just started needs
// time: requests go unanswered until it has a leader, and the bucket that another
// gateway is making is taken before it is there. Both are asked again.
func bind(ctx context.Context, js jetstream.JetStream, cfg Config) (jetstream.KeyValue, error) {
	for try := 1; ; try++ {
		kv, err := bindOnce(ctx, js, cfg)
		early := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, jetstream.ErrBucketExists)
		if !early || try == 10 {
			return kv, err
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return nil, err
		}
	}
}

func bindOnce(ctx context.Context, js jetstream.JetStream, cfg Config) (jetstream.KeyValue, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	kv, err := js.KeyValue(ctx, Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return js.CreateKeyValue(ctx, bucketConfig(cfg))
	}
	return kv, err
}

func bucketConfig(cfg Config) jetstream.KeyValueConfig {
	storage := jetstream.FileStorage
	if cfg.Memory {
		storage = jetstream.MemoryStorage
	}
	return jetstream.KeyValueConfig{
		Bucket:      Bucket,
		Description: "Holdfast: counters without an owner, for comparison",
		Replicas:    max(1, cfg.Replicas),
		Storage:     storage,
	}
}

// PeekNaive returns the stored value of the naive counter; 0 if it was never
// claimed. It asks the leader of the bucket, so it sees every acknowledged write.
func (f *Foil) PeekNaive(ctx context.Context, name string) (int, error) {
	return f.peek(ctx, naive, name)
}

// PeekCAS returns the stored value of the compare-and-set counter, as PeekNaive.
func (f *Foil) PeekCAS(ctx context.Context, name string) (int, error) {
	return f.peek(ctx, cas, name)
}

// ResetNaive sets the naive counter to 0. Claims under way may overwrite it.
func (f *Foil) ResetNaive(ctx context.Context, name string) error {
	return f.reset(ctx, naive, name)
}

// ResetCAS sets the compare-and-set counter to 0. Claims under way start again
// from there.
func (f *Foil) ResetCAS(ctx context.Context, name string) error {
	return f.reset(ctx, cas, name)
}

func (f *Foil) peek(ctx context.Context, k kind, name string) (int, error) {
	c, err := f.claim(k, name, 0)
	if err != nil {
		return 0, err
	}
	n, _, err := c.getRevision(ctx)
	return n, err
}

// reset writes a zero rather than deleting: the value then still names its
// counter, and claims under way see one more write, not a special case.
func (f *Foil) reset(ctx context.Context, k kind, name string) error {
	c, err := f.claim(k, name, 0)
	if err != nil {
		return err
	}
	return c.overwrite(ctx, 0)
}

// kind is the first part of a counter's key.
type kind string

const (
	naive kind = "naive"
	cas   kind = "cas"
)

func (k kind) key(name string) string {
	sum := sha256.Sum256([]byte(name))
	return string(k) + "." + hex.EncodeToString(sum[:])
}

func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w name: empty", ErrInvalid)
	case len(name) > MaxName:
		return fmt.Errorf("%w name: %d bytes, at most %d", ErrInvalid, len(name), MaxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w name: not UTF-8", ErrInvalid)
	}
	return nil
}

func checkGap(gap time.Duration) error {
	if gap < 0 || gap > MaxGap {
		return fmt.Errorf("%w gap: %v, must be between 0 and %v", ErrInvalid, gap, MaxGap)
	}
	return nil
}

// entry is the stored form of a counter.
type entry struct {
	Name string `json:"name"`
	N    int    `json:"n"`
}

func encode(name string, n int) ([]byte, error) {
	return json.Marshal(entry{Name: name, N: n})
}

func decode(value []byte) (int, error) {
	var e entry
	if err := json.Unmarshal(value, &e); err != nil {
		return 0, fmt.Errorf("decode value: %w", err)
	}
	if e.N < 0 || e.N == math.MaxInt {
		return 0, fmt.Errorf("decode value: %d is no count", e.N)
	}
	return e.N, nil
}
