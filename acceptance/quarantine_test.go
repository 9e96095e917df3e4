package acceptance

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"holdfast/internal/wire"
	"holdfast/objects"
)

// Requests that kill their host killed two hosts each, so a handful of them, each for
// another object, killed a whole fleet at once.
func TestAfterThreeLostOwnersOneHostAloneTakesNewObjectsOfTheClass(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	metrics := prometheus.NewRegistry()
	hosts := make([]member, 6)
	poison, ping := objects.NewCall[objects.None, objects.None]("probe", "poison"), objects.NewCall[objects.None, objects.None]("probe", "ping")
	otherPing := objects.NewCall[objects.None, objects.None]("other", "ping")
	for i := range hosts {
		class := objects.Implement("probe", objects.New[struct{}],
			objects.On(poison, func(_ *struct{}, tx *objects.Tx, _ objects.None) (objects.None, error) {
				hosts[i].cut()
				<-tx.Done()
				return nil, tx.Err()
			}),
			objects.On(ping, func(*struct{}, *objects.Tx, objects.None) (objects.None, error) { return nil, nil }))
		other := objects.Implement("other", objects.New[struct{}],
			objects.On(otherPing, func(*struct{}, *objects.Tx, objects.None) (objects.None, error) { return nil, nil }))
		hosts[i] = on.startHost(t, fmt.Sprint("host", i), "fra", quick, metrics, class, other)
	}
	asker := on.asker(t, quick)
	do := func(class objects.Class, name, call string) (*wire.Reply, error) {
		id, err := class.ID(name)
		if err != nil {
			t.Fatal(err)
		}
		return asker.Do(t.Context(), wire.Address{ID: id}, &wire.Request{Kind: wire.Call, Call: call, Body: []byte("null")})
	}
	owners := func(class objects.Class) map[string]int {
		by := make(map[string]int)
		for i := range 8 {
			reply, err := do(class, fmt.Sprint(class, i), "ping")
			if err != nil || reply.Err() != nil {
				t.Fatalf("%s %d: %v, %v", class, i, err, reply.Err())
			}
			by[reply.Owner.Host]++
		}
		return by
	}
	if gauge(t, metrics, "holdfast_host_restricted_classes") != 0 {
		t.Error("a class is restricted before anything happened")
	}
	for _, name := range []string{"poisoned", "poisoned, too"} { // two hosts each
		if _, err := do("probe", name, "poison"); objects.CodeOf(err) != objects.Unknown {
			t.Fatalf("err = %v, want unknown", err)
		}
	}
	if by := owners("probe"); len(by) != 1 {
		t.Errorf("new objects of the class went to %v, want one host", by)
	}
	if by := owners("other"); len(by) != 2 {
		t.Errorf("new objects of another class went to %v, want both hosts that are left", by)
	}
	await(t, "both classes are restricted", func() bool { return gauge(t, metrics, "holdfast_host_restricted_classes") == 2 })
}

// gauge returns the sum of a gauge's series.
func gauge(t *testing.T, metrics *prometheus.Registry, name string) (sum float64) {
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetGauge().GetValue()
			}
		}
	}
	return sum
}
