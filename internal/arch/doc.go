// Package arch keeps the house standing. It holds no code, only tests, and they read the tree as the go command sees it:
//
//	5  cmd/holdfast      examples/demo           test
//	4  app
//	3  gateway    client           objects/host            inspector
//	2  internal/{wire,ask,stream,flow,metrics}    objects/host/internal/...    kvfoil    embedded    internal/{link,load}
//	1  objects           objects/internal/engine    objects/objectstest     examples/room    examples/ticket
//
// A package imports from the floors below its own, never from above and never from its side; the few neighbours that may
// look at each other are listed, each with the reason. Some rules reach beyond the floors: who may know NATS, who may know
// Fiber, who may write. A package that stands on no floor is a fault too: whoever adds one decides where it belongs.
//
// The other tests here ask that every package says what it is for, and that the modules whose behaviour the design was
// measured against are the ones that are built.
//
// Floors and rules speak of what a package ships; what its tests import is free, except where a rule says otherwise.
package arch
