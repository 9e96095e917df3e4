package wire

import (
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/flow"
)

// wires carry what is published to whoever listens, in order, each on a goroutine of its own.
type wires struct {
	mu   sync.Mutex
	hear map[string]chan *nats.Msg
	done sync.WaitGroup
}

func (w *wires) Subscribe(subject string, hear nats.MsgHandler) (*nats.Subscription, error) {
	to := make(chan *nats.Msg, 1000)
	w.mu.Lock()
	w.hear[subject] = to
	w.mu.Unlock()
	w.done.Go(func() {
		for msg := range to {
			hear(msg)
		}
	})
	return new(nats.Subscription), nil
}

func (w *wires) Publish(subject string, data []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if to := w.hear[subject]; to != nil {
		to <- &nats.Msg{Subject: subject, Data: append([]byte(nil), data...)}
	}
	return nil
}

func (w *wires) PublishRequest(subject, _ string, data []byte) error { return w.Publish(subject, data) }
func (*wires) MaxPayload() int64                                     { return 1 << 20 }

func (w *wires) close() {
	w.mu.Lock()
	for _, to := range w.hear {
		close(to)
	}
	w.hear = nil
	w.mu.Unlock()
	w.done.Wait()
}

// ends are both ends of a stream.
func ends(t *testing.T, w *wires) (writer, reader *Body, at *StreamAt) {
	t.Helper()
	host, err := NewBodies(w, "host1")
	if err != nil {
		t.Fatal(err)
	}
	gate, err := NewBodies(w, "gateway.g1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(host.Close)
	t.Cleanup(gate.Close)
	at = NewStream("host1")
	writer = host.Begin(at, "gateway.g1")
	if reader, err = gate.Open(at); err != nil {
		t.Fatal(err)
	}
	reader.Finish(nil)
	return writer, reader, at
}

func TestForgedSegmentsSilenceNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wires{hear: make(map[string]chan *nats.Msg)}
		defer w.close()
		writer, reader, at := ends(t, w)
		forge := func(id string, s flow.Segment) {
			for _, to := range []string{"host1", "gateway.g1"} {
				_ = Publish(w, BodySubject(to), &Segment{Body: id, Segment: s})
			}
		}
		text := strings.Repeat("a stream is a stream. ", 50_000)
		go func() {
			_, _ = io.WriteString(writer, text)
			writer.Finish(nil)
		}()
		for n := range 200 { // ids of nobody, and what nobody of ours says under the right one
			forge("nobody", flow.Segment{Gone: true, End: flow.Cut, Got: uint64(n)})
			forge("", flow.Segment{Gone: true})
			forge(at.ID, flow.Segment{Got: 1 << 60, Gone: true})
			forge(at.ID, flow.Segment{Room: 1 << 60, Gone: true})
			forge(at.ID, flow.Segment{Data: make([]byte, 40<<10), End: flow.Cut})
			forge(at.ID, flow.Segment{End: 9, Gone: true})
			_ = w.Publish(BodySubject("host1"), []byte("nonsense"))
		}
		got, err := io.ReadAll(reader)
		if string(got) != text || err != nil {
			t.Errorf("read %d bytes of %d, %v", len(got), len(text), err)
		}
		reader.Close()
		writer.Sent(t.Context())
	})
}

func TestAnEndThatIsNotHeardIsTakenForLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wires{hear: make(map[string]chan *nats.Msg)}
		defer w.close()
		writer, reader, _ := ends(t, w)
		var left error
		writer.Watch(func(why error) { left = why })
		synctest.Wait()
		w.mu.Lock() // the reader's process dies
		dead := w.hear[BodySubject("gateway.g1")]
		delete(w.hear, BodySubject("gateway.g1"))
		close(dead)
		w.mu.Unlock()
		reader.end()
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, err := writer.Write([]byte("x")); err == nil || left == nil {
			t.Errorf("written to nobody: %v, and left %v", err, left)
		}
		if _, err := reader.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("the reader's end is %v", err)
		}
	})
}
