// Package arch holds no code, only tests of the structure. They read the tree as the go command sees it:
//
//	5  cmd/holdfast      examples/demo           test
//	4  app
//	3  gateway    client           objects/host            inspector
//	2  internal/{wire,ask,stream,flow,metrics}    objects/host/internal/...    kvfoil    embedded    internal/{link,load}
//	1  objects           objects/internal/engine    objects/objectstest     examples/room    examples/ticket
//
// A package imports from the floors below its own, never from above and never from its side. The few
// neighbours that may import each other are listed, each with the reason. Some rules go beyond the floors:
// who may import NATS, who may import Fiber, who may write. A package without a floor is an error too:
// whoever adds a package chooses its floor.
//
// Other tests here require that every package comment says what the package is for, and that the modules
// whose behaviour the design was measured against are the versions that are built.
//
// Floors and rules apply to what a package ships; imports of its tests are free, except where a rule says
// otherwise.
package arch
