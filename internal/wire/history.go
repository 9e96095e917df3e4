package wire

// RestoreBody is the body of a Request of kind Restore: the moment to restore the object to. Moments are in microseconds
// since 1970.
type RestoreBody struct {
	At int64
}

func (r *RestoreBody) fields(c *coder) { number(c, 1, &r.At) }

// Restored answers a Request of kind Restore.
type Restored struct {
	Undo    int64 // the moment of the state before
	Changed bool  // false: nothing has changed since that moment, and nothing was done
}

func (r *Restored) fields(c *coder) {
	number(c, 1, &r.Undo)
	c.bool(2, &r.Changed)
}

// ForkBody is the body of a Request of kind Fork: the state that the object begins with.
type ForkBody struct {
	From string // the Key of another object of the class
	At   int64  // a moment of its history; 0: its present state
}

func (f *ForkBody) fields(c *coder) {
	text(c, 1, &f.From)
	number(c, 2, &f.At)
}

// Forked answers a Request of kind Fork.
type Forked struct {
	Keys int // copied keys
}

func (f *Forked) fields(c *coder) { number(c, 1, &f.Keys) }
