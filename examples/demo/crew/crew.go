// Package crew lets the demo's gateways find each other, and fire one race together.
//
// They speak over NATS:
//
//	hf.demo.roll            every gateway answers with who it is
//	hf.demo.fire.{region}   a gateway of the region makes a share of claims, and answers with each as it ends
//
// A gateway that joins is found with the next roll: nothing is announced before.
package crew

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"holdfast/examples/demo/race"
)

const (
	rollSubject = "hf.demo.roll"
	fireSubject = "hf.demo.fire."
	queue       = "demo" // one gateway of a region fires

	rollTime   = 800 * time.Millisecond // twice the longest round trip
	rollFresh  = 3 * time.Second        // how long a roll counts as current
	maxMembers = 64
	maxMessage = 64 << 10
	maxLate    = 2 * time.Second // an order that arrives later than this after its barrier is not carried out
	maxEarly   = 10 * time.Second
	margin     = 50 * time.Millisecond // for a team to get ready at its barrier
)

// Member is one gateway.
type Member struct {
	ID     string `json:"id"` // different for each
	Region string `json:"region"`
	City   string `json:"city,omitempty"`
	URL    string `json:"url,omitempty"`

	RTT   time.Duration `json:"-"` // from the gateway that called the roll
	clock time.Duration // how far the member's clock is certainly ahead
}

// answer is a member's answer to a roll.
type answer struct {
	Member
	NowUs int64 `json:"nowUs"` // by its clock
}

// Order tells a team which share of claims to make.
type Order struct {
	Counter string         `json:"counter"` // "object", "naive" or "cas"
	Name    string         `json:"name"`
	Gap     time.Duration  `json:"gap"`
	TTL     time.Duration  `json:"ttl"`
	Limit   bool           `json:"limit"`
	ZeroUs  int64          `json:"zeroUs"` // when the barrier falls, by the receiver's clock
	Claims  []race.Arrival `json:"claims"`
}

// end is the last answer to an order.
type end struct {
	Type  string `json:"type"` // "end"
	Error string `json:"error,omitempty"`
}

// Config configures a crew.
type Config struct {
	NATS *nats.Conn
	Me   Member // less the ID
	// Counter returns the counter of an order, or an error if there is none.
	Counter func(ctx context.Context, o Order) (race.Counter, error)
	Log     *slog.Logger
}

// Crew is one gateway's view of all gateways.
type Crew struct {
	cfg Config

	mu     sync.Mutex // guards what follows, and is held during a roll
	roll   []Member
	called time.Time
}

// Join makes a gateway answer the others until its connection is closed.
func Join(cfg Config) (*Crew, error) {
	cfg.Me.ID = nuid.Next()
	c := &Crew{cfg: cfg}
	if _, err := cfg.NATS.Subscribe(rollSubject, c.answerRoll); err != nil {
		return nil, fmt.Errorf("join the crew: %w", err)
	}
	// One order at a time: the callback is the goroutine that fires.
	if _, err := cfg.NATS.QueueSubscribe(fireSubject+cfg.Me.Region, queue, c.obey); err != nil {
		return nil, fmt.Errorf("join the crew: %w", err)
	}
	return c, nil
}

func (c *Crew) answerRoll(m *nats.Msg) {
	if inbox(m.Reply) {
		c.send(m.Reply, answer{c.cfg.Me, time.Now().UnixMicro()})
	}
}

// Roll returns the members, this one first and then by distance. It may be some
// seconds old.
func (c *Crew) Roll(ctx context.Context) ([]Member, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.called) < rollFresh {
		return slices.Clone(c.roll), nil
	}
	heard, err := c.callRoll(ctx)
	if err != nil {
		return nil, err
	}
	c.roll, c.called = heard, time.Now()
	return slices.Clone(heard), nil
}

func (c *Crew) callRoll(ctx context.Context) ([]Member, error) {
	ctx, cancel := context.WithTimeout(ctx, rollTime)
	defer cancel()
	reply := c.cfg.NATS.NewInbox()
	sub, err := c.cfg.NATS.SubscribeSync(reply)
	if err != nil {
		return nil, err
	}
	defer sub.Unsubscribe()
	asked := time.Now()
	if err := c.cfg.NATS.PublishRequest(rollSubject, reply, nil); err != nil {
		return nil, err
	}
	members := []Member{c.cfg.Me}
	for len(members) < maxMembers {
		msg, err := sub.NextMsgWithContext(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			return nil, err
		}
		member, ok := readAnswer(msg.Data, asked, time.Now())
		if ok && !slices.ContainsFunc(members, func(m Member) bool { return m.ID == member.ID }) {
			members = append(members, member)
		}
	}
	slices.SortStableFunc(members, func(a, b Member) int { return cmp.Compare(a.RTT, b.RTT) })
	return members, nil
}

var (
	regionPattern = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
	webPattern    = regexp.MustCompile(`^$|^https?://`)
)

// readAnswer returns the member that answered a roll. A difference of clocks is certain only beyond what the round trip
// explains.
func readAnswer(data []byte, asked, heard time.Time) (Member, bool) {
	var a answer
	if len(data) > maxMessage || json.Unmarshal(data, &a) != nil || !regionPattern.MatchString(a.Region) ||
		len(a.ID) > 64 || len(a.City) > 64 || len(a.URL) > 256 || !webPattern.MatchString(a.URL) {
		return Member{}, false
	}
	m := a.Member
	m.RTT = heard.Sub(asked)
	ahead := time.UnixMicro(a.NowUs).Sub(asked.Add(m.RTT / 2))
	if ahead.Abs() > m.RTT/2+time.Millisecond {
		m.clock = ahead
	}
	return m, true
}

// Team returns a member as a team of one race.
func (c *Crew) Team(m Member, o Order) race.Team {
	if m.ID == c.cfg.Me.ID {
		return race.Team{Region: m.Region}
	}
	return race.Team{Region: m.Region, Lead: m.RTT + margin, Fire: func(ctx context.Context, s race.Share, ended func(race.Attempted)) error {
		o.Counter, o.ZeroUs, o.Claims = s.Counter, s.Zero.Add(m.clock).UnixMicro(), s.Claims
		return c.command(ctx, m.Region, o, ended)
	}}
}

// command sends an order to a region and calls ended for each claim that comes back.
func (c *Crew) command(ctx context.Context, region string, o Order, ended func(race.Attempted)) error {
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	reply := c.cfg.NATS.NewInbox()
	sub, err := c.cfg.NATS.SubscribeSync(reply)
	if err != nil {
		return err
	}
	defer sub.Unsubscribe()
	if err := c.cfg.NATS.PublishRequest(fireSubject+region, reply, data); err != nil {
		return err
	}
	for {
		msg, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return err
		}
		if len(msg.Data) == 0 {
			return errors.New("no gateway is there")
		}
		var a race.Attempted // or an end, which has two of its fields
		switch err := json.Unmarshal(msg.Data, &a); {
		case err != nil:
			return fmt.Errorf("read an answer: %w", err)
		case a.Type == "attempt":
			ended(a)
		case a.Error != "":
			return errors.New(a.Error)
		default:
			return nil
		}
	}
}

// obey carries out an order.
func (c *Crew) obey(m *nats.Msg) {
	if !inbox(m.Reply) {
		return
	}
	e := end{Type: "end"}
	if err := c.carryOut(m); err != nil {
		e.Error = err.Error()
	}
	c.send(m.Reply, e)
}

func (c *Crew) carryOut(m *nats.Msg) error {
	o, err := readOrder(m.Data, time.Now())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), race.DefaultTimeout)
	defer cancel()
	counter, err := c.cfg.Counter(ctx, o)
	if err != nil {
		return err
	}
	share := race.Share{Counter: o.Counter, Region: c.cfg.Me.Region, Zero: time.UnixMicro(o.ZeroUs), Claims: o.Claims}
	race.Fire(ctx, counter, share, func(a race.Attempted) { c.send(m.Reply, a) })
	return nil
}

// readOrder refuses an order that no gateway of a crew sends: anybody on this NATS can send one.
func readOrder(data []byte, now time.Time) (o Order, err error) {
	if len(data) > maxMessage {
		return o, errors.New("an order is too long")
	}
	if err := json.Unmarshal(data, &o); err != nil {
		return o, fmt.Errorf("read an order: %w", err)
	}
	until := time.UnixMicro(o.ZeroUs).Sub(now)
	switch {
	case len(o.Claims) < 1 || len(o.Claims) > race.MaxN:
		err = fmt.Errorf("an order of %d claims, must be between 1 and %d", len(o.Claims), race.MaxN)
	case until < -maxLate:
		err = errors.New("the gateway was busy with another race")
	case until > maxEarly:
		err = errors.New("an order is for too far ahead")
	case slices.ContainsFunc(o.Claims, func(a race.Arrival) bool {
		return a.I < 0 || a.I >= race.MaxN || a.After < 0 || a.After > race.MaxSpread
	}):
		err = errors.New("an order has a claim at no time of a race")
	}
	return o, err
}

func (c *Crew) send(to string, v any) {
	data, err := json.Marshal(v)
	if err == nil {
		err = c.cfg.NATS.Publish(to, data)
	}
	if err != nil {
		c.cfg.Log.Warn("the crew was not answered", "err", err)
	}
}

// inbox reports whether a subject is an inbox: the sender of an order must not make a gateway publish to any other
// subject. Only inboxes begin like this.
func inbox(subject string) bool { return strings.HasPrefix(subject, "_") }
