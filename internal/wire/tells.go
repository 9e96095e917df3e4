package wire

// Messages between hosts about told messages, in the bodies of Requests and Replies. Package tells decides when they are
// sent.

// Batch is the body of a Request of kind Told: messages that one object has told another.
type Batch struct {
	From     string // the sender's Key
	Born     uint64 // the life of the sender that numbers them
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

// BatchReply answers a Batch, in the body of a Reply without a code.
type BatchReply struct {
	Handled uint64 // the highest handled number; 0: none
	Failed  uint64 // the message whose handler failed; 0: none. The next fields are about it
	Refused bool   // the message was refused: trying again does not help
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

// ForgetBody is the body of a Request of kind Forget, by which a sender says that nothing up to a number is left, and of one
// of kind MayForget, by which a receiver asks for a Forget.
type ForgetBody struct {
	From string // Key of the sending object
	Born uint64
	Last uint64
}

func (f *ForgetBody) fields(c *coder) {
	text(c, 1, &f.From)
	number(c, 2, &f.Born)
	number(c, 3, &f.Last)
}

// ParkedBody is the body of a Request of kind Parked, an operator's order about parked messages.
type ParkedBody struct {
	N    uint64 // number of the message; 0: all
	Drop bool   // false: send it again
}

func (p *ParkedBody) fields(c *coder) {
	number(c, 1, &p.N)
	c.bool(2, &p.Drop)
}
