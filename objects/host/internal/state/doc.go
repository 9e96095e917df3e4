// Package state is the storage of one object, of any size, and the form in which it is kept.
//
// A small object is a journal with all of its keys, which every head contains whole. An object that
// has outgrown that has entries of its own, beside the record and in the same stream:
//
//	head      the record: a journal of what was written last, and the names of the runs
//	run       a chunk with what was a journal once; the newest hides the others
//	levels    chunks in the order of their keys, without overlap; each level ten times
//	          the one above, and older than it
//	manifest  an entry that names the chunks of the levels
//	blob      a value of 64 KiB or more, in parts; a chunk has its name
//
// A commit is one put of the head, as it is for small objects. If the journal is too large, the
// commit folds it: it first writes a run, and the head that names the run begins an empty journal.
// Merges, in the background, turn many small chunks into few large ones. The next head names their
// results.
//
// Invariants:
//
//   - a head that has landed names only entries that were acknowledged before it was sent;
//   - an entry is never changed, and no two ever have the same name (see Name);
//   - a head names only entries that the head before it named, and entries that were
//     written under its own claim. So an entry that a landed head does not name, and that
//     was not written under a later claim, will never be named again;
//   - only such entries are purged;
//   - the newest layer that has a key decides: journal, runs, levels in order.
//
// An owner that dies leaves entries behind that no head names. The next owner finds them by their
// numbers (see orphans) before it writes entries itself.
//
// Cut, Plan, Run, Install are the steps of an owner. They decide and encode; the store is
// asked only in Write, Collect, Run and reads.
package state
