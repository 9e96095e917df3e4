// Package objectstest is a world in which classes run inside a test: no NATS, no
// gateway, and a clock that stands still until the test moves it.
//
//	w := objectstest.New(t, ticket.Objects)
//	n, err := ticket.Claim.Do(ctx, w.Object(ticket.Tickets, "concert"), nil)
//
// Everything happens before the call that caused it returns: after Client.Send the event has run, its writes are stored
// and its frames can be read with Client.Next. So a test never waits. Several goroutines may call at once; the events
// of one object run one at a time.
//
// A test can cause the hard cases of durable objects:
//
//	Evict           the instance is dropped, as after ten idle seconds; the next event constructs it again
//	Move            another host takes the object over: a new instance, the epoch one higher
//	Refuse          the object's next commit is refused, as when its host has lost it: the event runs again at the next owner
//	Lose            the object's next commit lands, and its host dies before any answer or message leaves
//	Unknown         the caller of the object's next commit gets Unknown, whether the commit has landed or not
//	Advance         time passes, and the alarms that fall due run in order
//	RunAlarm        the alarm runs now
//	Inside          a function of the test runs as an event, with the object's state and its instance
//
// Storage and sockets survive all of them, as in the live system.
//
// All limits of the live system apply, those of a class's objects.Settings too. A panic, or an error that is not an
// objects.Error, reaches the caller as Internal with a reference, and fails the test unless World.Faults has announced
// it. A transaction that is used after its event, or by another goroutine, fails the test too.
package objectstest
