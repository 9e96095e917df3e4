package race

import "time"

// Start is the first event of a run.
type Start struct {
	Type     string   `json:"type"` // "start"
	Counters []string `json:"counters"`
	N        int      `json:"n"`
	GapMs    float64  `json:"gapMs"`
	SpreadMs float64  `json:"spreadMs"`
	Regions  []string `json:"regions,omitempty"` // from where it was fired
}

// Attempted is the event of one claim. Its times are microseconds since the
// barrier of its counter fell.
type Attempted struct {
	Type       string  `json:"type"` // "attempt"
	Counter    string  `json:"counter"`
	I          int     `json:"i"` // in order of arrival, from 0
	Region     string  `json:"region,omitempty"`
	SentUs     int64   `json:"sentUs"`
	AnsweredUs int64   `json:"answeredUs"` // when the claim ended, with a ticket or without
	Ticket     int     `json:"ticket"`     // 0 unless the outcome is ok
	Outcome    Outcome `json:"outcome"`
	Error      string  `json:"error,omitempty"`
	Code       string  `json:"code,omitempty"`  // of the error, such as too_many
	Owner      string  `json:"owner,omitempty"` // who answered
	Epoch      uint64  `json:"epoch,omitempty"`
	Tries      []Try   `json:"tries"`
}

// Try is one read and write of a claim. A time that is not known is left out.
type Try struct {
	ReadUs  int64 `json:"readUs,omitempty"`
	Read    int   `json:"read"`
	Cached  bool  `json:"cached,omitempty"`
	WroteUs int64 `json:"wroteUs,omitempty"`
	Wrote   int   `json:"wrote"`
	Refused bool  `json:"refused"`
}

// Fault is the event of something that was broken during the claims.
type Fault struct {
	Type    string `json:"type"` // "fault"
	Counter string `json:"counter"`
	AtUs    int64  `json:"atUs"`
	What    string `json:"what"` // "killed", "refused", "replaced", "failed"
	Host    string `json:"host"`
	Error   string `json:"error,omitempty"`
}

// Verdict is the event that sums up one counter. Asked is Answered + Refused +
// Unknown, and Answered is Distinct + Duplicates.
type Verdict struct {
	Type       string `json:"type"` // "verdict"
	Counter    string `json:"counter"`
	Asked      int    `json:"asked"`
	Answered   int    `json:"answered"`   // claims that got a ticket
	Distinct   int    `json:"distinct"`   // different tickets among them
	Duplicates int    `json:"duplicates"` // tickets handed out once too often
	Gaps       int    `json:"gaps"`       // numbers between the lowest and the highest ticket that nobody holds
	Cached     int    `json:"cached"`     // claims that read from a cache
	Lost       int    `json:"lost"`       // answered increments that are certainly not stored
	LostMax    int    `json:"lostMax"`    // the same if every unknown claim was stored
	Unknown    int    `json:"unknown"`
	Refused    int    `json:"refused"`  // claims that did not happen, refused or unavailable
	Attempts   int    `json:"attempts"` // tries of all claims
	P50Us      int64  `json:"p50Us"`    // from sent to answered, of the answered claims
	P99Us      int64  `json:"p99Us"`
	Before     *int   `json:"before"` // the stored value; null when it could not be read
	After      *int   `json:"after"`
	Sentence   string `json:"sentence"`
}

// Done is the last event of a run.
type Done struct {
	Type      string `json:"type"` // "done"
	ElapsedUs int64  `json:"elapsedUs"`
	Run       string `json:"run,omitempty"` // under which the events were kept; empty: they were not
}

// note puts what a claim came to into its event.
func note(counter string, i int, zero, sent, answered time.Time, a Answer) Attempted {
	e := Attempted{
		Type:       "attempt",
		Counter:    counter,
		I:          i,
		SentUs:     since(zero, sent),
		AnsweredUs: since(zero, answered),
		Outcome:    outcome(a),
		Owner:      a.Owner,
		Epoch:      a.Epoch,
		Tries:      make([]Try, 0, max(1, len(a.Attempts))),
	}
	for _, t := range a.Attempts {
		e.Tries = append(e.Tries, Try{
			ReadUs:  since(zero, t.Read),
			Read:    t.ReadValue,
			Cached:  t.Cached,
			WroteUs: since(zero, t.Wrote),
			Wrote:   t.WroteValue,
			Refused: t.Refused,
		})
	}
	if e.Outcome == OK {
		e.Ticket = a.Ticket
		if len(e.Tries) == 0 { // an owner read and wrote on the claim's behalf
			e.Tries = append(e.Tries, Try{Read: a.Ticket - 1, Wrote: a.Ticket})
		}
		return e
	}
	e.Error, e.Code = string(e.Outcome), a.Code
	if a.Err != nil {
		e.Error = a.Err.Error()
	}
	return e
}

func outcome(a Answer) Outcome {
	switch {
	case a.Outcome != "":
		return a.Outcome
	case a.Err != nil:
		return Unknown
	default:
		return OK
	}
}

// since returns the microseconds from zero to t; 0 for a time that is not known.
func since(zero, t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Sub(zero).Microseconds()
}

func ms(d time.Duration) float64 {
	return float64(d) / float64(time.Millisecond)
}
