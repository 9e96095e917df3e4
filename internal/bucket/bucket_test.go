package bucket

import "testing"

// The names are those of buckets that are there: with another, a host would find no object.
func TestTheNamesOfBucketsStayAsTheyAre(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{string(Records()), "HF_OBJECTS"},
		{Records().Stream(), "KV_HF_OBJECTS"},
		{Records().Subject("ticket.x"), "$KV.HF_OBJECTS.ticket.x"},
		{Records().Key("$KV.HF_OBJECTS.ticket.x"), "ticket.x"},
		{string(Leases()), "HF_LEASES"},
		{Leases().Stream(), "KV_HF_LEASES"},
		{Leases().Subject(">"), "$KV.HF_LEASES.>"},
	} {
		if c.got != c.want {
			t.Errorf("%s, want %s", c.got, c.want)
		}
	}
}
