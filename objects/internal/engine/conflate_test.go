package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast/objects/internal/engine"
)

// crowd are sockets that asked for conflated values, and what each has got.
type crowd struct {
	engine.Conflation
	sockets []*engine.Socket
	got     map[string][]string // by socket
	frames  int
}

func newCrowd(n int) *crowd {
	c := &crowd{got: make(map[string][]string)}
	var all engine.Sockets
	for i := range n {
		all.Add(engine.SocketInfo{ID: fmt.Sprint("s", i), Order: uint64(i + 1)})
	}
	c.sockets = all.All()
	slices.Reverse(c.sockets)
	for _, s := range c.sockets {
		c.Join(s)
	}
	return c
}

func (c *crowd) hear(frames []engine.Frame) {
	for _, f := range frames {
		for _, s := range f.Sockets {
			c.frames++
			c.got[s.ID()] = append(c.got[s.ID()], string(f.Data))
		}
	}
}

func (c *crowd) heard(t *testing.T, i int, want ...string) {
	t.Helper()
	if got := c.got[fmt.Sprint("s", i)]; !slices.Equal(got, want) {
		t.Errorf("socket %d has got %q, want %q", i, got, want)
	}
}

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func TestOneFrameHasTheNewestValueOfEachKeyForAll(t *testing.T) {
	c := newCrowd(2)
	for _, v := range []string{`1`, `2`, `3`} {
		c.Add("a", []byte(v))
	}
	c.Add("b", []byte(`{"x":4}`))
	frames := c.TakeAll(noon)
	if len(frames) != 1 {
		t.Fatalf("%d frames, want one for all", len(frames))
	}
	c.hear(frames)
	for i := range 2 {
		c.heard(t, i, `[3,{"x":4}]`)
	}
	if c.Waits() || len(c.TakeAll(noon)) > 0 {
		t.Error("something waits that has left")
	}
	if due := c.Due(); due.Sub(noon) != engine.ConflateEvery {
		t.Errorf("the next are due after %v", due.Sub(noon))
	}
}

func TestASocketThatIsSentSomethingElseGetsFirstWhatWaits(t *testing.T) {
	c := newCrowd(3)
	c.Add("a", []byte(`1`))
	c.hear(c.Take(c.sockets[:1]))
	c.heard(t, 0, `[1]`)
	c.heard(t, 1)
	c.hear(c.Take(c.sockets[:1]))
	c.heard(t, 0, `[1]`)
	c.Add("b", []byte(`2`))
	c.Add("a", []byte(`3`))
	c.Leave("s2")
	c.hear(c.TakeAll(noon))
	c.heard(t, 0, `[1]`, `[3,2]`)
	c.heard(t, 1, `[3,2]`)
	c.heard(t, 2)
}

func TestANewcomerGetsNothingOfWhatWasSentBefore(t *testing.T) {
	c := newCrowd(1)
	c.Add("a", []byte(`1`))
	var more engine.Sockets
	more.Add(engine.SocketInfo{ID: "new", Order: 9})
	c.Join(more.All()[0])
	c.hear(c.TakeAll(noon))
	if got := c.got["new"]; got != nil {
		t.Errorf("the newcomer has got %q", got)
	}
	c.Add("a", []byte(`2`))
	c.hear(c.TakeAll(noon))
	c.heard(t, 0, `[1]`, `[2]`)
	if got := c.got["new"]; !slices.Equal(got, []string{`[2]`}) {
		t.Errorf("the newcomer has got %q", got)
	}
}

func TestWhatWaitsIsBounded(t *testing.T) {
	c := newCrowd(1)
	most := 0
	for i := range 10_000 {
		key := fmt.Sprint(i)
		if c.Full(key, 8) {
			c.hear(c.TakeAll(noon))
			most++
		}
		c.Add(key, []byte(`12345678`))
	}
	if most != 2 {
		t.Errorf("10,000 keys left %d times, want 4,096 at a time", most)
	}
	c.TakeAll(noon)
	large := make([]byte, 200<<10)
	c.Add("a", large)
	if c.Full("a", len(large)) || !c.Full("b", len(large)) {
		t.Error("a value takes the place of its key's last; another of this size does not fit")
	}
}

// Fifty people move their pointers thirty times a second, and each of fifty pages is to see them all: 73,500 messages
// a second if each came alone.
func TestFiftyPointersAtThirtyHertzAreAtMost1700FramesASecond(t *testing.T) {
	c := newCrowd(50)
	const seconds = 10
	for tick := range seconds * 30 * 50 { // they move one after the other
		now := noon.Add(time.Duration(tick) * time.Second / (30 * 50))
		if c.Waits() && !now.Before(c.Due()) {
			c.hear(c.TakeAll(now))
		}
		c.Add(fmt.Sprint("p", tick%50), fmt.Appendf(nil, `%d`, tick))
	}
	if rate := c.frames / seconds; rate > 1700 || rate < 1400 {
		t.Errorf("%d frames a second, want 50 × 30", rate)
	}
}

// Whatever is sent to whom in which order: a socket ends up with the newest value of each key, never an older one after a
// newer, and nothing that was sent before it came.
func TestEverySocketEndsWithTheNewestOfEachKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCrowd(3)
		now, n := noon, 0
		newest := make(map[string]int)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "ms")) * time.Millisecond)
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				n++
				key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
				newest[key] = n
				c.Add(key, fmt.Appendf(nil, `"%s%d"`, key, n))
			case 2:
				c.hear(c.Take(c.sockets[:rapid.IntRange(0, 3).Draw(t, "some")]))
			case 3:
				if !now.Before(c.Due()) {
					c.hear(c.TakeAll(now))
				}
			}
		}
		c.hear(c.TakeAll(now))
		for _, s := range c.sockets {
			has := make(map[string]int)
			for _, frame := range c.got[s.ID()] {
				for v := range strings.SplitSeq(strings.Trim(frame, "[]"), ",") {
					var m int
					if _, err := fmt.Sscanf(v[2:len(v)-1], "%d", &m); err != nil {
						t.Fatal(frame, err)
					}
					key := v[1:2]
					if m <= has[key] {
						t.Fatalf("%s got %s after %d: %q", s.ID(), v, has[key], c.got[s.ID()])
					}
					has[key] = m
				}
			}
			for key, m := range newest {
				if has[key] != m {
					t.Fatalf("%s has %d of %s, want %d: %q", s.ID(), has[key], key, m, c.got[s.ID()])
				}
			}
		}
	})
}
