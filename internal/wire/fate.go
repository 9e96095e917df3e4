package wire

// fate is a client's knowledge of one request: the copies that were sent, and the
// answers to them. It is pure: the client sends, waits and asks for claims as its
// verdicts say, and a test explores every order in which copies reach several owners
// and answers come back.
//
// Two owners may get a copy: the present one, and a predecessor that was frozen and
// does not know yet that it was replaced. So each copy names the owner that it is for,
// by the token that the client knows (Request.For), and the rules are:
//
//   - An owner runs a copy that names its own token. It runs a copy that names none
//     only when it has owned the object for a minute, which no copy outlives. It
//     answers any copy of a request whose answer its record remembers. Every other
//     copy gets Moved, with the owner's token.
//   - Moved proves that a copy has not run and will not run only if it comes from the
//     owner that the copy names. Another owner has not run the copy, but cannot speak
//     for that one.
//   - An answer that the record keeps counts for every copy. Any other answer
//     counts for the last copy only: an owner that refused one copy may run the next.
//   - A refusal by a full queue proves nothing about earlier copies, nor about a
//     predecessor if the owner is young (Reply.Unsure): the owner has not looked
//     into its record.
type fate struct {
	copy    uint64 // number of the last copy sent, from 1
	owner   uint64 // the token that the last copy names; 0: none
	denied  bool   // the last copy certainly has not run and will not
	doubt   bool   // an earlier copy may have run
	other   bool   // one that may have run named another owner than the last copy, or none
	silent  bool   // an owner did not answer a copy; suspect is its token
	suspect uint64
	lost    int             // owners that were replaced after they did not answer
	gone    [maxLost]uint64 // their tokens; 0: not known
}

// maxLost is the number of lost owners after which a request is not sent any more: the
// request may be what ends them.
const maxLost = 2

// verdict is a client's next step for a request.
type verdict uint8

const (
	ignore   verdict = iota // wait on: the answer says nothing
	final                   // return the reply to the caller
	claim                   // no known owner runs it: have the object claimed, send again
	redirect                // a newer owner has named itself: send again
	later                   // refused for now: wait, send again
)

// sent notes that one more copy has left, which names this owner. same says that
// a silent owner that was not named is known to be this one.
func (f fate) sent(owner uint64, same bool) fate {
	f.doubt, f.other = f.uncertain(), f.goesElsewhere(owner)
	f = f.replaced(owner, same)
	f.copy, f.owner, f.denied = f.copy+1, owner, false
	return f
}

// goesElsewhere reports whether an earlier copy may have run, or may yet run, at another owner
// than the one that the next copy names.
func (f fate) goesElsewhere(owner uint64) bool {
	return f.other || f.copy > 0 && !f.denied && f.owner != owner
}

// replaced notes the present owner. A silent owner before it is lost.
func (f fate) replaced(owner uint64, same bool) fate {
	if f.silent && owner > f.suspect {
		f.silent = false
		if f.suspect > 0 || !same {
			if f.lost < maxLost {
				f.gone[f.lost] = f.suspect
			}
			f.lost++
		}
	}
	return f
}

// lives notes that the owner with the token has answered, however late: the request has not
// ended it. A host that stood still, or could not renew its lease, answers Moved.
func (f fate) lives(token uint64) fate {
	if f.silent && (f.suspect == token || f.suspect == 0) {
		f.silent = false
	}
	for i := min(f.lost, maxLost) - 1; i >= 0; i-- {
		if f.gone[i] == token {
			copy(f.gone[i:], f.gone[i+1:])
			f.gone[maxLost-1] = 0
			f.lost--
		}
	}
	return f
}

// uncertain reports whether the request may have run, or may yet run.
func (f fate) uncertain() bool { return f.doubt || f.copy > 0 && !f.denied }

// nobody notes that nobody listened when this copy was sent.
func (f fate) nobody(copy uint64) (fate, verdict) {
	if copy != f.copy {
		return f, ignore
	}
	f.denied = true
	return f, claim
}

// silence notes that the last copy was not answered for as long as the client waits.
func (f fate) silence() fate {
	if !f.silent {
		f.silent, f.suspect = true, f.owner
	}
	return f
}

// onReply notes a reply to this copy. known is the newest token known for the object.
func (f fate) onReply(copy uint64, r *Reply, known uint64) (fate, verdict) {
	if r.Token > 0 {
		f = f.lives(r.Token)
	}
	switch {
	case r.Token < known: // the reply of a replaced owner is void
		return f, ignore
	case !r.Moved && r.Kept:
		return f, final
	case copy != f.copy:
		return f, ignore
	case r.Moved:
		f.denied = f.denied || !r.Unsure && f.owner > 0 && r.Token == f.owner
		if r.Token > f.owner {
			return f, redirect
		}
		return f, claim
	case r.Busy && (f.doubt || r.Unsure && f.owner != r.Token):
		return f, later
	default:
		return f, final
	}
}
