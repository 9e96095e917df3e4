package asks

import (
	"crypto/sha256"
	"encoding/binary"
)

// ID names a question.
type ID [16]byte

// Run is the asks of one run of an event. The zero Run has asked nothing.
type Run struct {
	equal map[ID]uint64 // how often each question was asked so far
	made  []made
}

// made is an ask of a run that its callee may have kept.
type made struct {
	callee string
	id     ID
}

// Name names a question of an event: by the asking object, the event, the asked object, the content,
// and how many equal questions came before in this run.
func (r *Run) Name(caller, event, callee string, asked ...[]byte) ID {
	h := sha256.New()
	add := func(part []byte) {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		h.Write(part)
	}
	for _, part := range []string{caller, event, callee} {
		add([]byte(part))
	}
	for _, part := range asked {
		add(part)
	}
	question := ID(h.Sum(nil)[:16])
	if r.equal == nil {
		r.equal = make(map[ID]uint64)
	}
	before := r.equal[question]
	r.equal[question] = before + 1
	add(binary.BigEndian.AppendUint64(nil, before))
	return ID(h.Sum(nil)[:16])
}

// Asked returns how many questions the run has asked.
func (r *Run) Asked() (n uint64) {
	for _, times := range r.equal {
		n += times
	}
	return n
}

// Owes reports whether a callee may keep an answer for the run: then the event must be made durable.
func (r *Run) Owes() bool { return len(r.made) > 0 }
