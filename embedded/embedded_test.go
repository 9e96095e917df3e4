package embedded

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

// holdStore names the store that this binary, run as a second process, takes and keeps until
// its standard input ends.
const holdStore = "HOLDFAST_TEST_HOLD_STORE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holdStore); dir != "" {
		s, err := Start(context.Background(), Config{Store: dir})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("holding")
		_, _ = io.Copy(io.Discard, os.Stdin)
		s.Close()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func begin(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func dial(t *testing.T, s *Server, opts ...nats.Option) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := s.Dial(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

func bucket(t *testing.T, js jetstream.JetStream, cfg jetstream.KeyValueConfig) jetstream.KeyValue {
	t.Helper()
	cfg.Bucket = "objects"
	kv, err := js.CreateOrUpdateKeyValue(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func put(t *testing.T, kv jetstream.KeyValue, key, value string) {
	t.Helper()
	if _, err := kv.Put(t.Context(), key, []byte(value)); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, kv jetstream.KeyValue, key string) string {
	t.Helper()
	e, err := kv.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	return string(e.Value())
}

func TestTheZeroConfigIsAServerInMemoryThatLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := begin(t, Config{})
	if !s.Memory() || s.URL() != "" || s.Name() != "holdfast" {
		t.Errorf("memory %v, url %q, name %q; want true, none, holdfast", s.Memory(), s.URL(), s.Name())
	}
	nc, js := dial(t, s)
	kv := bucket(t, js, jetstream.KeyValueConfig{Storage: jetstream.MemoryStorage})
	put(t, kv, "a", "1")
	if got := get(t, kv, "a"); got != "1" {
		t.Errorf("a = %q, want 1", got)
	}
	if nc.MaxPayload() != maxPayload {
		t.Errorf("max payload = %d, want %d", nc.MaxPayload(), maxPayload)
	}
	nc.Close()
	s.Close()
	s.Close()
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("left in the temporary directory: %v, %v", left, err)
	}
	if _, err := s.Dial(); err == nil {
		t.Error("a closed server was dialled")
	}
}

func TestARestartOnTheSameStoreKeepsWhatWasWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "store")
	s := begin(t, Config{Store: dir})
	_, js := dial(t, s)
	put(t, bucket(t, js, jetstream.KeyValueConfig{}), "a", "kept")
	s.Close()

	s = begin(t, Config{Store: dir, SyncAlways: true})
	_, js = dial(t, s)
	kv, err := js.KeyValue(t.Context(), "objects")
	if err != nil {
		t.Fatal(err)
	}
	if got := get(t, kv, "a"); got != "kept" || s.Memory() {
		t.Errorf("a = %q, memory %v, want kept on disk", got, s.Memory())
	}
}

func TestSyncAlwaysReachesTheServer(t *testing.T) {
	for _, always := range []bool{false, true} {
		s := begin(t, Config{Store: t.TempDir(), SyncAlways: always})
		if got := s.ns.JetStreamConfig().SyncAlways; got != always {
			t.Errorf("sync always = %v, want %v", got, always)
		}
	}
}

func TestMoreBatchesMayBeOpenThanTheServersDefault(t *testing.T) {
	nc, js := dial(t, begin(t, Config{}))
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "S", Subjects: []string{"s.>"}, Storage: jetstream.MemoryStorage, AllowAtomicPublish: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 { // the default allows 50
		m := nats.NewMsg(fmt.Sprintf("s.%d", i))
		m.Header.Set("Nats-Batch-Id", fmt.Sprint("batch-", i))
		m.Header.Set("Nats-Batch-Sequence", "1")
		answer, err := nc.RequestMsg(m, time.Minute)
		if err != nil {
			t.Fatalf("begin batch %d: %v", i, err)
		}
		if len(answer.Data) != 0 {
			t.Fatalf("batch %d was refused: %s", i, answer.Data)
		}
	}
}

func TestOtherProcessesJoinThroughThePort(t *testing.T) {
	s := begin(t, Config{Port: -1})
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatalf("connect to %q: %v", s.URL(), err)
	}
	defer nc.Close()
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

func TestATakenPortIsSaidBeforeTheStoreIsTouched(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := filepath.Join(t.TempDir(), "store")
	_, err = Start(t.Context(), Config{Store: dir, Port: l.Addr().(*net.TCPAddr).Port})
	var taken *PortTakenError
	if !errors.As(err, &taken) || taken.Addr != l.Addr().String() {
		t.Fatalf("error = %v, want a PortTakenError for %s", err, l.Addr())
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the store was made although the port was taken: %v", err)
	}
	if _, err := Start(t.Context(), Config{Port: 70000}); err == nil {
		t.Error("port 70000 was accepted")
	}
}

func TestASecondProcessOnTheStoreIsRefusedByName(t *testing.T) {
	dir := t.TempDir()
	first := exec.CommandContext(t.Context(), os.Args[0])
	first.Env = append(os.Environ(), holdStore+"="+dir)
	stdin, err := first.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := first.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "holding\n" {
		t.Fatalf("first process said %q, %v", line, err)
	}

	_, err = Start(t.Context(), Config{Store: dir})
	var inUse *StoreInUseError
	if !errors.As(err, &inUse) || inUse.PID != first.Process.Pid || inUse.Dir != dir {
		t.Fatalf("error = %v, want a StoreInUseError for %s naming process %d", err, dir, first.Process.Pid)
	}
	want := fmt.Sprintf("store %s is in use by process %d: stop it or choose another --store", dir, inUse.PID)
	if err.Error() != want {
		t.Errorf("error = %q, want %q", err, want)
	}

	if err := first.Process.Kill(); err != nil { // the lock goes with the process, however it ends
		t.Fatal(err)
	}
	stdin.Close()
	_ = first.Wait() // killed: the error says so
	begin(t, Config{Store: dir})
}

func TestTwoServersOfOneProcessDoNotShareAStore(t *testing.T) {
	dir := t.TempDir()
	s := begin(t, Config{Store: dir})
	var inUse *StoreInUseError
	if _, err := Start(t.Context(), Config{Store: dir}); !errors.As(err, &inUse) || inUse.PID != os.Getpid() {
		t.Fatalf("error = %v, want a StoreInUseError naming this process", err)
	}
	s.Close()
	begin(t, Config{Store: dir})
}

func TestAnUnfinishedStreamIsRefusedWithWhatToDo(t *testing.T) {
	for name, tear := range map[string]func(sum string) error{
		"meta.sum missing": os.Remove,
		"meta.sum empty":   func(sum string) error { return os.Truncate(sum, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := begin(t, Config{Store: dir})
			_, js := dial(t, s)
			put(t, bucket(t, js, jetstream.KeyValueConfig{}), "a", "1")
			s.Close()
			stream := filepath.Join(dir, "jetstream", "$G", "streams", "KV_objects")
			if err := tear(filepath.Join(stream, "meta.sum")); err != nil {
				t.Fatal(err)
			}

			_, err := Start(t.Context(), Config{Store: dir})
			var torn *TornStoreError
			if !errors.As(err, &torn) || torn.Dir != stream || !torn.Messages {
				t.Fatalf("error = %v, want a TornStoreError for %s with messages", err, stream)
			}
			_, advice, ok := strings.Cut(err.Error(), "start again: ")
			if !ok {
				t.Fatalf("no advice in %q", err)
			}
			if out, err := exec.Command("sh", "-c", advice).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", advice, err, out)
			}
			s = begin(t, Config{Store: dir}) // the refusal gave the lock back, the advice helped
			_, js = dial(t, s)
			put(t, bucket(t, js, jetstream.KeyValueConfig{}), "a", "2")
			s.Close()
			_, js = dial(t, begin(t, Config{Store: dir}))
			kv, err := js.KeyValue(t.Context(), "objects")
			if err != nil {
				t.Fatalf("the bucket made after following the advice: %v", err)
			}
			if got := get(t, kv, "a"); got != "2" {
				t.Errorf("a = %q, want 2", got)
			}
		})
	}
}

func TestAStreamWithoutMessagesSaysSo(t *testing.T) {
	dir := t.TempDir()
	stream := filepath.Join(dir, "jetstream", "ACC", "streams", "S")
	deleted := filepath.Join(dir, "jetstream", "ACC", "streams", ".S")
	for _, d := range []string{stream, deleted} {
		if err := os.MkdirAll(filepath.Join(d, "msgs"), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(deleted, "meta.inf"), []byte("{}"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := checkStreams(dir); err != nil {
		t.Errorf("neither file: %v, want no error: nothing was promised yet", err)
	}
	if err := os.WriteFile(filepath.Join(stream, "meta.inf"), []byte("{}"), 0o640); err != nil {
		t.Fatal(err)
	}
	var torn *TornStoreError
	if err := checkStreams(dir); !errors.As(err, &torn) || torn.Messages {
		t.Errorf("error = %v, want a TornStoreError without messages", err)
	}
}

func TestAStoreThatCannotBeMadeIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Config{Store: filepath.Join(file, "store")}); err == nil {
		t.Error("a store below a file was accepted")
	}
	// JetStream itself fails: its directory is a file.
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "jetstream"), nil, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Config{Store: dir}); err == nil {
		t.Error("a server without JetStream was handed out")
	}
}

func TestStartGivesUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want that of the context", err)
	}
}

func TestWarningsAndErrorsReachTheLogAndNothingElse(t *testing.T) {
	var log lockedBuffer
	s := begin(t, Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if got := log.String(); got != "" {
		t.Errorf("a quiet start logged %q", got)
	}
	s.ns.Noticef("a notice")
	s.ns.Warnf("a warning of %d", 7)
	s.ns.Errorf("an error")
	got := log.String()
	if !strings.Contains(got, `level=WARN msg="nats-server warned" server=holdfast text="a warning of 7"`) || !strings.Contains(got, "level=ERROR") || strings.Contains(got, "notice") {
		t.Errorf("log = %q", got)
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestAClusterOutlivesTheLeaderOfAStream(t *testing.T) {
	c, err := StartCluster(t.TempDir(), 3)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	nc, err := nats.Connect(strings.Join(c.URLs(), ","), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv := bucket(t, js, jetstream.KeyValueConfig{Replicas: 3})
	put(t, kv, "a", "before")

	leader := streamLeader(t, js, c)
	c.Stop(leader)
	putUntilItWorks(t, kv, "a", "without the leader")
	if got := streamLeader(t, js, c); got == leader {
		t.Error("the stopped server still leads")
	}

	if err := c.Restart(leader); err != nil {
		t.Fatal(err)
	}
	_, js = dial(t, c.Servers[leader])
	if kv, err = js.KeyValue(t.Context(), "objects"); err != nil {
		t.Fatal(err)
	}
	putUntilItWorks(t, kv, "a", "through the restarted")
}

func streamLeader(t *testing.T, js jetstream.JetStream, c *Cluster) int {
	t.Helper()
	s, err := js.Stream(t.Context(), "KV_objects")
	if err != nil {
		t.Fatal(err)
	}
	for i, srv := range c.Servers {
		if srv.Name() == s.CachedInfo().Cluster.Leader {
			return i
		}
	}
	t.Fatalf("no server is the leader: %+v", s.CachedInfo().Cluster)
	return -1
}

// putUntilItWorks repeats a put that finds no leader yet; each try waits for its own answer.
func putUntilItWorks(t *testing.T, kv jetstream.KeyValue, key, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		try, done := context.WithTimeout(ctx, time.Second)
		_, err := kv.Put(try, key, []byte(value))
		done()
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("put %s: %v", key, err)
		}
	}
}
