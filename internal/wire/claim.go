package wire

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// search is the way to a host that claims an object. It is pure. One host of the
// region is asked, through its queue group. If nobody listens, or a host that is
// frozen got the claim, all hosts of the class are asked who is there; the first
// answer comes from the nearest living host, which gets the claim. So a host is chosen by
// round trip, a frozen one costs hostPatience, and only one of many hosts claims.
//
//	       nobody, silence             found
//	region ───────────────▶ scouting ────────▶ host
//	   │                       ▲ │ nobody: none    │
//	   │ busy           silence│ ▼                 │ busy
//	   ╰───────▶ claiming ─────╯◀─ nobody, silence─╯──▶ claiming
//
// An asked host does not claim an object whose owner lives, and names that owner. The owner
// is asked then: it may have dropped the object, after a put that the store has refused or a
// failure, and only the owner can claim the object before its own lease runs out. A host names the one that alone takes
// new claims of a restricted class likewise.
type search uint8

const (
	askRegion  search = iota // one host of the region has been asked
	askAll                   // all hosts of the class have been asked who is there
	askHost                  // the nearest one has been asked
	askOwner                 // the owner that a host has named has been asked
	isClaiming               // a host says that it is at work
	none                     // no host runs the class, or the owner does not answer
)

// news is what a search has received.
type news uint8

const (
	noResponders news = iota // nobody listens to the last question
	timedOut                 // no answer came in time
	hostAnswered             // a host says that it is there
	hostBusy                 // a host says that it is at work
	ownerNamed               // a host says who owns the object, or takes the class's claims
)

// next returns the next state of the search, and whether a question is sent there.
func (s search) next(n news) (search, bool) {
	switch {
	case n == hostBusy:
		return isClaiming, false
	case n == ownerNamed:
		return askOwner, s != askOwner
	case s == askOwner && n == hostAnswered:
		return s, false
	case s == askOwner:
		return none, false
	case n == hostAnswered && s == askAll:
		return askHost, true
	case n == hostAnswered:
		return s, false // a slower host than the asked one
	case n == noResponders && s == askAll:
		return none, false
	case n == noResponders && s == isClaiming:
		return s, false
	default:
		return askAll, true
	}
}

const (
	hostPatience = 200 * time.Millisecond // beyond a round trip: what a frozen host costs a claim
	farTrip      = 500 * time.Millisecond // to a host of another region that the caller, or a host, has named
	nearestFor   = 10 * time.Second       // how long the nearest region is remembered
	spreadTime   = 100 * time.Millisecond // between two questions whether a host runs a class
	absentFor    = time.Second            // how long no question is sent about a class that no host runs
	maxClasses   = 1000                   // remembered classes
)

// ClaimNotice is after how long a host says that a claim is still under way.
const ClaimNotice = hostPatience / 2

// place is the nearest region with hosts of a class.
type place struct {
	region string
	trip   time.Duration
	until  time.Time
}

// hostAnswer is the answer to a question to hosts.
type hostAnswer struct {
	question uint64
	reply    *ClaimReply // nil: nobody listens
}

// Errors of a claim.
var (
	errNoHost       = errors.New("no host runs the class")
	errUnknownClass = errors.New("no host runs the class, and others are there")
)

// Activate asks a host to claim the object, one of this client's region first, and
// returns the owner's token, or 0 if another host's lease on the object is still valid.
func (c *Client) Activate(ctx context.Context, id Address) (token uint64, err error) {
	reply, err := c.activate(ctx, id, false, nil)
	if err != nil || !reply.Owned {
		return 0, err
	}
	return reply.Token, nil
}

// Check is Activate for a gateway that may lack something. If nobody owns the object and the gateway lacks nothing, it
// returns true, and the object stays without an owner. No two checks share an answer: it counts for what has happened
// before its question.
func (c *Client) Check(ctx context.Context, id Address, heard *Heard) (whole bool, token uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timing.Claim)
	defer cancel()
	reply, err := c.claimObject(ctx, id, Claim{Heard: heard})
	if err != nil || !reply.Owned {
		return err == nil && reply.Whole, 0, err
	}
	return false, reply.Token, nil
}

// claimObject has a host of the nearest region take the claim of an object.
func (c *Client) claimObject(ctx context.Context, id Address, claim Claim) (*ClaimReply, error) {
	first := c.region(string(id.Class()))
	if id.Near != "" && id.Near != first.region {
		first = place{region: id.Near, trip: farTrip}
	}
	claim.Class, claim.ID, claim.Name = string(id.Class()), id.String(), id.Name
	reply, err := c.claim(ctx, first, claim)
	if err == nil && reply.Owned && c.Plausible(reply.Token) {
		c.tokens.Add(id.Key(), reply.Token) // a higher known token was forged
	}
	return reply, err
}

// activate is Activate for a maker. With resume it lifts the object's quarantine. The first
// of several who wait for one claim counts as the object's maker.
func (c *Client) activate(ctx context.Context, id Address, resume bool, maker Maker) (*ClaimReply, error) {
	flight := id.Key()
	if resume {
		flight += " resume" // does not join a claim that the quarantine refuses
	}
	result := c.claims.DoChan(flight, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.Timing.Claim)
		defer cancel()
		reply, err := c.claimObject(ctx, id, Claim{Resume: resume})
		if err == nil && reply.Owned && reply.New && maker != nil {
			maker.Made()
		}
		if errors.Is(err, errNoHost) && c.unknown(ctx, string(id.Class())) {
			err = errUnknownClass
		}
		return reply, err
	})
	select {
	case r := <-result:
		return r.Val.(*ClaimReply), r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Served returns nil if a host runs the class.
func (c *Client) Served(ctx context.Context, class string) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timing.Claim)
	defer cancel()
	_, err := c.claim(ctx, place{}, Claim{Class: class})
	return err
}

// maxAnnounced bounds the memory of announced losses.
const maxAnnounced = 256

// announceLost publishes to all hosts of the class that an owner was lost with an event in hand,
// once for each successor's token: all clients know the successor's, but not all know the lost
// owner's. There is no answer.
func (c *Client) announceLost(class string, token uint64) {
	c.mu.Lock()
	told := c.announced[token]
	if len(c.announced) >= maxAnnounced {
		clear(c.announced)
	}
	c.announced[token] = true
	c.mu.Unlock()
	if told {
		return
	}
	if err := Publish(c.cfg.NATS, HostsSubject(class), &Claim{Class: class, Lost: token}); err != nil {
		c.cfg.Log.Warn("hosts not told of a lost owner", "class", class, "err", err)
	}
}

// claimInbox returns the subject of the answers to a question to hosts.
func (c *Client) claimInbox(question uint64) string {
	return InboxPrefix + c.cfg.Name + ".claim." + strconv.FormatUint(question, 10)
}

// claim finds a host, in this region first, and returns its answer. With an empty ID it
// returns the answer of the first host of any region.
func (c *Client) claim(ctx context.Context, region place, claim Claim) (*ClaimReply, error) {
	answers := make(chan hostAnswer, 16)
	var questions []uint64
	defer func() { c.forget(questions) }()
	ask := func(subject string, claim Claim) error {
		question := c.question(answers)
		questions = append(questions, question)
		return Ask(c.cfg.NATS, subject, c.claimInbox(question), &claim)
	}
	stage := askRegion
	var err error
	if claim.ID == "" {
		stage, err = askAll, ask(HostsSubject(claim.Class), Claim{Class: claim.Class})
	} else {
		err = ask(ClaimSubject(region.region, claim.Class), claim)
	}
	wait := time.NewTimer(hostPatience + region.trip)
	defer wait.Stop()
	began := time.Now()
	deserted := false       // this region has no host of the class
	var refused *ClaimReply // the last answer that has named an owner
	for err == nil {
		result, host := timedOut, ""
		select {
		case a := <-answers:
			switch {
			case a.reply == nil && a.question != questions[len(questions)-1]:
				continue
			case a.reply == nil:
				result = noResponders
			case a.reply.Busy:
				result = hostBusy
			case a.reply.Host != "":
				c.seen(claim.Class)
				if deserted {
					c.found(claim.Class, a.reply, time.Since(began))
				}
				if result, host = hostAnswered, a.reply.Host; claim.ID == "" {
					return a.reply, nil
				}
			case a.reply.Owner != "" && stage == askOwner && a.question != questions[len(questions)-1]:
				continue
			case a.reply.Owner != "" && stage != askOwner:
				c.seen(claim.Class)
				refused, result, host = a.reply, ownerNamed, a.reply.Owner
			default:
				c.seen(claim.Class)
				return a.reply, nil
			}
		case <-wait.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("ask for an owner: no host of class %s answers", claim.Class)
		}
		deserted = deserted || stage == askRegion && result == noResponders && region.region == c.cfg.Region
		var send bool
		patience := hostPatience
		switch stage, send = stage.next(result); {
		case stage == none && refused != nil:
			return refused, nil
		case stage == none:
			return nil, fmt.Errorf("%w %s", errNoHost, claim.Class)
		case stage == isClaiming:
			patience = c.cfg.Timing.Silence
		case !send:
			continue
		case stage == askHost:
			err = ask(HostSubject(host), claim)
			patience += time.Since(began)
		case stage == askOwner:
			named := claim
			named.Named = true
			err = ask(HostSubject(host), named)
			if refused.Where != c.cfg.Region {
				patience += farTrip
			}
		default: // of a restricted class nobody answers until the host that takes its claims, and was lost, counts as dead
			began = time.Now()
			err = ask(HostsSubject(claim.Class), Claim{Class: claim.Class})
		}
		wait.Reset(patience)
	}
	return nil, fmt.Errorf("ask for an owner: %w", err)
}

// unknown reports whether the class does not exist: there are hosts, and none of them has
// ever been seen to run it.
func (c *Client) unknown(ctx context.Context, class string) bool {
	c.mu.Lock()
	seen, absent := c.served[class], time.Now().Before(c.absent[class])
	c.mu.Unlock()
	if seen || absent {
		return !seen
	}
	if _, err := c.claim(ctx, place{}, Claim{}); err != nil || !Pause(ctx, spreadTime) {
		return false
	}
	// Interest in a new host's subjects takes a moment to spread among servers.
	if _, err := c.claim(ctx, place{}, Claim{Class: class}); !errors.Is(err, errNoHost) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.absent) >= maxClasses {
		clear(c.absent)
	}
	c.absent[class] = time.Now().Add(absentFor)
	return true
}

// region returns the region to claim an object of the class in: this region, or the nearest
// other one if this region is known to have no hosts of the class.
func (c *Client) region(class string) place {
	c.mu.Lock()
	defer c.mu.Unlock()
	if near, known := c.nearest[class]; known && time.Now().Before(near.until) {
		return near
	}
	delete(c.nearest, class)
	return place{region: c.cfg.Region}
}

// found notes the nearest host of a class without hosts in this region.
func (c *Client) found(class string, host *ClaimReply, trip time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.nearest[class]; !known && host.Where != c.cfg.Region {
		c.nearest[class] = place{region: host.Where, trip: trip, until: time.Now().Add(nearestFor)}
	}
}

// seen notes that a host runs the class.
func (c *Client) seen(class string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.served) >= maxClasses {
		clear(c.served) // so many classes are forged
		clear(c.nearest)
	}
	c.served[class] = true
}

// question numbers a question to hosts, whose answers go to this channel.
func (c *Client) question(answers chan<- hostAnswer) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.questions++
	c.asking[c.questions] = answers
	return c.questions
}

func (c *Client) forget(questions []uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, question := range questions {
		delete(c.asking, question)
	}
}

// receiveClaim hands a host's answer to whoever waits for it.
func (c *Client) receiveClaim(number string, msg *nats.Msg) {
	question, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return
	}
	a := hostAnswer{question: question}
	if !Nobody(msg) {
		a.reply = new(ClaimReply)
		if err := errors.Join(Decode(msg.Data, a.reply), a.reply.check()); err != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.warnings.Log(c.cfg.Log, "answers are dropped", "err", err)
			return
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if answers := c.asking[question]; answers != nil {
		select {
		case answers <- a:
		default: // enough hosts have answered
		}
	}
}

// check refuses fields that must not become part of a subject or a metric. An owner is what a record says; one that
// cannot be asked is dropped.
func (r *ClaimReply) check() error {
	if r.Owner != "" && !incarnationPattern.MatchString(r.Owner) {
		r.Owner = ""
	}
	if err := checkCode(r.Code); err != nil || r.Host == "" {
		return err
	}
	if !incarnationPattern.MatchString(r.Host) {
		return fmt.Errorf("%.80q is no incarnation", r.Host)
	}
	return CheckRegion(r.Where)
}
