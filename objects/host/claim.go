package host

import (
	"context"
	"fmt"
	"time"

	"holdfast/objects/host/internal/owner"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/host/internal/state"
	"holdfast/objects/internal/engine"
)

// claim is the part of an object that only its claim needs: the record that was read, the record that is put, and
// whether an operator has lifted the quarantine. Only its methods use its fields. The goroutine at the store calls
// them; object.mu guards the fields that others need.
type claim struct {
	found   *record.Record // as last read; nil: there was none
	opened  *state.State   // of this record
	entries []entry        // answers that the state has
	record  *record.Record // what the claim puts, and the object is then served from; nil: not made yet
	lifted  bool           // an operator has lifted the quarantine; object.mu guards it
}

// read notes the record that was read; nil: there is none.
func (c *claim) read(rec *record.Record) { c.found = rec }

// lift lets the claim pass a quarantine. With object.mu held.
func (c *claim) lift() { c.lifted = true }

// quarantine returns for how long nobody may claim the object, and how many owners were lost in a row. With object.mu
// held.
func (c *claim) quarantine(now time.Time) (left time.Duration, lost uint64) {
	if c.lifted {
		return 0, 0
	}
	return quarantine(c.found, now), losses(c.found, now)
}

// name returns the object's name in the record that was read; "": none.
func (c *claim) name() string {
	if c.found == nil {
		return ""
	}
	return c.found.Name
}

// owner returns the host in the record that was read, for people, and its region; if it is not there, the incarnation that
// package owner knows.
func (c *claim) owner(incarnation string) (host, region string) {
	if c.found == nil || c.found.Host == "" {
		return "incarnation " + incarnation, ""
	}
	return fmt.Sprintf("host %s in region %s", c.found.Host, c.found.Region), c.found.Region
}

// grows reports whether the record that is put is larger than the one that was read.
func (c *claim) grows(value []byte) bool { return c.found != nil && len(value) > len(c.found.Encode()) }

// open makes the state of the record that was read. It fails with state.ErrDamaged if a part
// of the record cannot be read.
func (c *claim) open(ctx context.Context, key string, home state.Home, history time.Duration, now time.Time) (err error) {
	c.entries = nil
	if rec := c.found; rec == nil {
		c.opened = state.New(new(engine.Data))
	} else if c.opened, err = state.Open(ctx, key, rec.Parts, rec.Data, home, rec.Owner != "", now); err != nil {
		return err
	}
	c.opened.KeepHistory(history)
	if c.entries, err = answerEntries(c.opened.Reserved()); err != nil {
		return fmt.Errorf("%w: %w", state.ErrDamaged, err)
	}
	return nil
}

// put makes the record that the claim puts: the record that was read, in the name of this host. parked reports that the
// record's alarm is parked now, because its last owners were lost while it was due. With object.mu held.
func (c *claim) put(put owner.Put, name, me string, now time.Time) (rec *record.Record, parked bool) {
	rec = &record.Record{Name: name, Data: new(engine.Data)}
	if c.found != nil {
		*rec = *c.found
	}
	if rec.Name == "" {
		rec.Name = name
	}
	rec.Epoch, rec.Owner, rec.Commit = put.Epoch, put.Owner, put.Commit
	if c.found == nil || c.found.Owner != me {
		rec.Claims, rec.Claimed = 1, now.Unix()
		if !c.lifted {
			rec.Claims += losses(c.found, now)
		}
		if c.found != nil && c.found.Owner != "" {
			rec.Alarm = rec.Alarm.OwnerLost(now)
			parked = rec.Alarm.Parked && !c.found.Alarm.Parked
		}
	}
	c.record = rec
	return rec, parked
}

// claimed returns the record that the claim has put, and the runtime's keys in it.
func (c *claim) claimed() (*record.Record, *engine.Data) { return c.record, c.opened.Reserved() }

// memory returns the memory that the object is served from.
func (c *claim) memory(now time.Time) memory { return newMemory(c.record, c.opened, c.entries, now) }

// cut returns the parts for the record, nil for none, and what must be in the store before a put.
func (c *claim) cut(p state.Put, home state.Home) (*state.Head, *state.Before) {
	p.Head = len(c.entries) > 0 // hosts that know no heads cannot find the answers
	return c.opened.Cut(p, home)
}

// snapshot returns the claimed record with these parts.
func (c *claim) snapshot(parts *state.Head) record.Record {
	rec := *c.record
	rec.Data, rec.Parts = c.opened.Journal(), parts
	return rec
}

// An object is in quarantine after this many owners were lost in a row, each within
// lossWindow of its claim and before anything was committed: it may be what ends them.
const (
	lossesAllowed   = 3
	lossWindow      = 10 * time.Minute
	firstQuarantine = 5 * time.Second // doubled with every further loss
	maxQuarantine   = 5 * time.Minute

	// Clocks differ, so a claim may lie a little in the future. A claim beyond maxClaimAhead comes from a wrong clock
	// and is ignored: otherwise the quarantine would last until that time.
	maxClaimAhead = time.Minute
)

// losses returns how many owners in a row were lost with the object before they committed anything. The record's owner
// must be lost.
func losses(rec *record.Record, now time.Time) uint64 {
	if rec == nil || rec.Owner == "" {
		return 0
	}
	if ago := now.Sub(time.Unix(rec.Claimed, 0)); ago > lossWindow || ago < -maxClaimAhead {
		return 0
	}
	return rec.Claims
}

// quarantine returns for how long nobody may claim the object.
func quarantine(rec *record.Record, now time.Time) time.Duration {
	lost := losses(rec, now)
	if lost < lossesAllowed {
		return 0
	}
	long := min(maxQuarantine, firstQuarantine<<min(lost-lossesAllowed, 16))
	return min(long, max(0, time.Unix(rec.Claimed, 0).Add(long).Sub(now)))
}
