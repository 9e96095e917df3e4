package wire

// What hosts say about told messages, in the bodies of Requests and Replies. Package tells decides what is said.

// Batch is messages that one object has told another, in the body of a Request of kind Told.
type Batch struct {
	From     string // the sender's Key
	Born     uint64 // which life of the sender numbers them
	Messages []TellMessage
}

func (b *Batch) fields(c *coder) {
	text(c, 1, &b.From)
	number(c, 2, &b.Born)
	parts(c, 3, &b.Messages)
}

// TellMessage is one of a Batch.
type TellMessage struct {
	N    uint64
	Call string
	Body []byte
}

func (m *TellMessage) fields(c *coder) {
	number(c, 1, &m.N)
	text(c, 2, &m.Call)
	c.bytes(3, &m.Body)
}

// BatchReply is what came of a Batch, in the body of a Reply without a code.
type BatchReply struct {
	Handled uint64 // the highest number that was handled; 0: none
	Failed  uint64 // the message whose handler failed; 0: none. What follows is about it
	Refused bool   // it was refused: trying again does not help
	Code    string
	Message string
	Ref     string
	Soon    bool // the receiver is short of room for marks
}

func (r *BatchReply) fields(c *coder) {
	number(c, 1, &r.Handled)
	number(c, 2, &r.Failed)
	c.bool(3, &r.Refused)
	text(c, 4, &r.Code)
	text(c, 5, &r.Message)
	text(c, 6, &r.Ref)
	c.bool(7, &r.Soon)
}

// ForgetBody tells a receiver that nothing up to a number is left, in the body of a Request of kind Forget. In one of kind
// MayForget a receiver asks its sender to say so.
type ForgetBody struct {
	From string // the Key of whoever says or asks this
	Born uint64
	Last uint64
}

func (f *ForgetBody) fields(c *coder) {
	text(c, 1, &f.From)
	number(c, 2, &f.Born)
	number(c, 3, &f.Last)
}

// ParkedBody is what an operator wants done with a parked message, in the body of a Request of kind Parked.
type ParkedBody struct {
	N    uint64 // 0: all of them
	Drop bool   // otherwise it is sent again
}

func (p *ParkedBody) fields(c *coder) {
	number(c, 1, &p.N)
	c.bool(2, &p.Drop)
}
