package test

import "testing"

func TestSmoke(t *testing.T) {
	onBoth(t, func(t *testing.T, on *substrate) {
		on.startHost(t, "a", "fra", quick, nil)
		g := on.startGateway(t, "fra", quick)
		for want := 1; want <= 20; want++ {
			n, header, err := claim(g.url, "x")
			if err != nil {
				t.Fatal(err)
			}
			if n != want {
				t.Fatalf("ticket = %d, want %d", n, want)
			}
			if want == 1 {
				t.Log(header)
			}
		}
	})
}
