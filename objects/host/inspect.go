package host

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/lease"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/host/internal/state"
	"holdfast/objects/internal/engine"
)

// Inspector reads records and leases, for people. It writes nothing, makes no bucket, wakes no object, and works when
// no host runs. Get also asks the object's owner, if the owner lives, for what the record does not say.
type Inspector struct {
	nc      *nats.Conn
	records *record.Bucket // nil: no host has ever run here
	leases  *lease.Bucket  // nil likewise
	timing  wire.Timing
}

// Alarm is an object's alarm as its record keeps it.
type Alarm = engine.Alarm

// Info is an object as its record and its owner's lease show it.
type Info struct {
	Class string `json:"class"`
	Name  string `json:"name,omitempty"` // empty for an object that was made without one
	ID    string `json:"id"`             // 64 hex digits

	Damaged string `json:"damaged,omitempty"` // why the record cannot be read; nothing but AsOf and Revision is known then

	Epoch       uint64    `json:"epoch"`          // hand-overs so far
	Host        string    `json:"host,omitempty"` // the owner's name; empty: nobody owns it
	Region      string    `json:"region,omitempty"`
	Incarnation string    `json:"incarnation,omitempty"` // the owner's
	Live        bool      `json:"live"`                  // the owner renewed its lease lately, by this machine's clock: a hint
	AsOf        time.Time `json:"asOf"`                  // when all this was read

	Quarantine *Quarantine `json:"quarantine,omitempty"` // nil: none
	EventBegan time.Time   `json:"eventBegan,omitzero"`  // when the event in hand began, if the owner says that it has run for 30 s or longer

	Commit   uint64                     `json:"commit"`   // puts so far
	Revision uint64                     `json:"revision"` // of the bucket's entry
	Alarm    Alarm                      `json:"alarm,omitzero"`
	Told     *Told                      `json:"told,omitempty"`     // what it has told others or itself and what is not delivered; nil: nothing
	Gateways []string                   `json:"gateways,omitempty"` // that may hold sockets of the object
	Size     int                        `json:"size"`               // bytes of keys and values; of a large object also of what is yet to be merged away
	Partial  bool                       `json:"partial,omitempty"`  // Keys has only what was written last: List does not read large objects as a whole
	Keys     map[string]json.RawMessage `json:"keys"`               // bytes in base64
	Blobs    map[string]int64           `json:"blobs,omitempty"`    // their sizes, by name
	Database bool                       `json:"database,omitempty"` // the object has a database; Size counts it, Keys does not
}

// Quarantine is the time in which no host claims an object, because its last owners were
// lost before they had committed anything. Resume lifts it.
type Quarantine struct {
	Until      time.Time `json:"until"` // by this machine's clock
	OwnersLost uint64    `json:"ownersLost"`
}

// HostInfo is one host incarnation as its lease shows it.
type HostInfo struct {
	Incarnation string    `json:"incarnation"`
	Host        string    `json:"host"`
	Region      string    `json:"region"`
	Classes     []string  `json:"classes"`
	PID         int       `json:"pid"`
	Renewed     time.Time `json:"renewed"` // by the host's clock
	Live        bool      `json:"live"`    // renewed lately, by this machine's clock: a hint
}

// Inspect opens the buckets for reading. On a NATS where no host has ever run there are none: that is no error, and the
// Inspector finds nothing. Errors say what is wrong with the server and what to do.
func Inspect(ctx context.Context, nc *nats.Conn) (*Inspector, error) {
	js, err := record.JetStream(ctx, nc)
	if err != nil {
		return nil, err
	}
	in := &Inspector{nc: nc, timing: wire.Timing{}.WithDefaults()}
	// Bind does not make a missing bucket: nobody has chosen its storage.
	if in.records, _, err = record.Bind(ctx, js); err != nil {
		return nil, err
	}
	in.leases, _, err = lease.Bind(ctx, js)
	return in, err
}

// Get reads one object. name is the name by which it was asked for, "" for none. Errors: NotFound if there is no
// record, as for an object that is asleep and has stored nothing; Internal if the record cannot be read.
func (in *Inspector) Get(ctx context.Context, id objects.ID, name string) (Info, error) {
	live, err := in.live(ctx)
	if err != nil {
		return Info{}, err
	}
	info, ok, err := in.read(ctx, id.Key(), live, math.MaxInt)
	called := id.String()
	if name != "" {
		called = fmt.Sprintf("%q", name)
	}
	switch {
	case err == nil && !ok:
		err = objects.Errorf(objects.NotFound, "no %s is kept under %s", id.Class(), called)
	case info.Damaged != "":
		err = objects.Errorf(objects.Internal, "the record of the %s under %s is damaged: %s", id.Class(), called, info.Damaged)
	}
	if info.Name == "" {
		info.Name = name
	}
	if err == nil && info.Live {
		info.EventBegan = in.askEvent(ctx, id, info)
	}
	return info, err
}

// lookTime is how long to wait for an owner's answer about a running event.
const lookTime = time.Second

// askEvent asks the owner when the slow event began that it runs. It returns zero if none runs or the owner does not
// answer.
func (in *Inspector) askEvent(ctx context.Context, id objects.ID, info Info) time.Time {
	client, err := newAsker(in.nc, info.Region)
	if err != nil {
		return time.Time{}
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	reply, err := client.Do(ctx, wire.Address{ID: id}, &wire.Request{Kind: wire.Look})
	if err != nil || reply.Life == nil || reply.Life.Running < uint64(slowEvent/time.Millisecond) || reply.Life.Running > uint64(math.MaxInt64/time.Millisecond) {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(reply.Life.Running) * time.Millisecond).Truncate(time.Millisecond)
}

// newAsker returns a client for one question of an operator.
func newAsker(nc *nats.Conn, region string) (*wire.Client, error) {
	if wire.CheckRegion(region) != nil {
		region = "local" // if no host is there, the nearest is found
	}
	return wire.NewClient(wire.ClientConfig{NATS: nc, Name: nuid.Next(), Region: region})
}

// Resume lifts the quarantine of an object and makes its parked alarm due. name is the object's name, if known. The
// owner does the work; an object that nobody owns is claimed for it. Errors are those of a call: NotFound if no host
// runs the class, Unavailable if nothing happened.
func Resume(ctx context.Context, nc *nats.Conn, id objects.ID, name string) error {
	client, err := newAsker(nc, "")
	if err != nil {
		return err
	}
	defer client.Close()
	reply, err := client.Do(ctx, wire.Address{ID: id, Name: name}, &wire.Request{Kind: wire.Resume})
	if err != nil {
		return err
	}
	return reply.Err()
}

// listSize is the size in bytes up to which List reads an object as a whole.
const listSize = 1 << 20

// List yields the objects of a class, or of all classes for "", in the order of class and id, those with damaged
// records too. Each is read when the loop comes to it. An error comes last.
func (in *Inspector) List(ctx context.Context, class string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		keys, err := in.keys(ctx, class)
		if err != nil {
			yield(Info{}, err)
			return
		}
		live, err := in.live(ctx)
		if err != nil {
			yield(Info{}, err)
			return
		}
		for _, key := range keys {
			info, ok, err := in.read(ctx, key, live, listSize)
			if err == nil && !ok {
				continue // removed; its marker stays for a while
			}
			if !yield(info, err) || err != nil {
				return
			}
		}
	}
}

// Hosts returns the hosts that have a lease entry, in order of region and name. One
// that was killed stays for a minute, and is not Live.
func (in *Inspector) Hosts(ctx context.Context) ([]HostInfo, error) {
	if in.leases == nil {
		return nil, nil
	}
	leases, err := in.leases.List(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	hosts := make([]HostInfo, 0, len(leases))
	for incarnation, l := range leases {
		hosts = append(hosts, HostInfo{
			Incarnation: incarnation, Host: l.Host, Region: l.Region, Classes: l.Classes, PID: l.PID,
			Renewed: l.Renewed, Live: now.Sub(l.Renewed) < l.Lasts(in.timing.TTL),
		})
	}
	slices.SortFunc(hosts, func(a, b HostInfo) int {
		return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Incarnation, b.Incarnation))
	})
	return hosts, nil
}

// live returns the set of incarnations that renewed lately.
func (in *Inspector) live(ctx context.Context) (map[string]bool, error) {
	hosts, err := in.Hosts(ctx)
	live := make(map[string]bool, len(hosts))
	for _, h := range hosts {
		live[h.Incarnation] = h.Live
	}
	return live, err
}

func (in *Inspector) keys(ctx context.Context, class string) ([]string, error) {
	if in.records == nil {
		return nil, nil
	}
	var keys []string
	for key, err := range in.records.List(ctx, class) {
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys, nil
}

// read returns the object with this key; false if there is no record. An object of more than most bytes is read in
// part.
func (in *Inspector) read(ctx context.Context, key string, live map[string]bool, most int) (Info, bool, error) {
	if in.records == nil {
		return Info{}, false, nil
	}
	class, id, _ := strings.Cut(key, ".")
	rec, revision, err := in.records.Read(ctx, key)
	var has contents
	partial, size := false, 0
	for try := 0; err == nil && rec != nil; try++ {
		if size = rec.Data.Size(); rec.Parts != nil && rec.Parts.Live > 0 {
			size = int(rec.Parts.Live)
		}
		if partial = size > most && rec.Parts != nil; partial {
			rec.Parts = nil // as if the record were all
		}
		if has, err = in.stored(ctx, key, rec); !errors.Is(err, state.ErrDamaged) || try == 10 {
			break
		}
		before := revision // the object's owner may have purged what this record names
		if rec, revision, err = in.records.Read(ctx, key); err == nil && revision == before {
			err = fmt.Errorf("%w: a part of it is missing, or damaged", record.ErrUnreadable)
		}
	}
	switch {
	case errors.Is(err, record.ErrUnreadable), errors.Is(err, state.ErrDamaged):
		return Info{Class: class, ID: id, Damaged: err.Error(), AsOf: time.Now(), Revision: revision}, true, nil
	case err != nil || rec == nil:
		return Info{}, false, err
	}
	info := Info{
		Class: class, Name: rec.Name, ID: id,
		Epoch: rec.Epoch, Host: rec.Host, Region: rec.Region, Incarnation: rec.Owner, Live: live[rec.Owner], AsOf: time.Now(),
		Commit: rec.Commit, Revision: revision, Alarm: rec.Alarm,
		Size: size, Partial: partial, Keys: has.keys, Blobs: has.blobs, Told: has.told, Database: has.database,
	}
	for _, g := range rec.Gateways {
		info.Gateways = append(info.Gateways, g.Name)
	}
	if left := quarantine(rec, info.AsOf); left > 0 && !info.Live {
		info.Quarantine = &Quarantine{Until: info.AsOf.Add(left), OwnersLost: losses(rec, info.AsOf)}
	}
	return info, true, nil
}

// contents is what an object keeps: the author's keys, blobs, a database, and told messages that are not delivered.
type contents struct {
	keys     map[string]json.RawMessage
	blobs    map[string]int64
	database bool
	told     *Told
}

// stored reads a record and its parts.
func (in *Inspector) stored(ctx context.Context, key string, rec *record.Record) (has contents, err error) {
	kept, err := state.Open(ctx, key, rec.Parts, rec.Data, state.Home{Store: in.records}, false, time.Now())
	if err != nil {
		return has, err
	}
	from, to := engine.BlobEnds()
	if has.blobs, err = engine.BlobSizes(kept.Scan(ctx, from, to, false)); err != nil {
		return has, err
	}
	if _, has.database, err = kept.Scan(ctx, engine.Pages, engine.After(engine.Pages), false).Next(); err != nil {
		return has, err
	}
	has.told, has.keys = toldIn(kept.Reserved(), key, rec.Name), make(map[string]json.RawMessage)
	for scan := kept.Scan(ctx, engine.After(engine.Reserved), engine.LastKey, false); ; {
		w, ok, err := scan.Next()
		if !ok || err != nil {
			return has, err
		}
		has.keys[w.Key] = engine.Shown(w.Value)
	}
}
