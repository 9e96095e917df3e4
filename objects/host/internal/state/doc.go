// Package state is the storage of one object, of whatever size, and how it is kept.
//
// Small objects are a journal: all of their keys, which every head has whole. What has
// outgrown that is in entries of its own, beside the record and in the same stream:
//
//	head      the record: a journal of what was written last, and the names of the runs
//	run       a chunk with what was a journal once; the newest hides the others
//	levels    chunks in the order of their keys, without overlap; each level ten times
//	          the one above, and older than it
//	manifest  an entry that names the chunks of the levels
//	blob      a value of 64 KiB or more, in parts; a chunk has its name
//
// A commit is one put of the head, as it is for small objects. If the journal is too
// large the commit folds it: it writes a run first, and the head that names the run begins
// an empty journal. Merges, in the background, make few large chunks of many small ones.
// What they make joins the next head.
//
// What is always so:
//
//   - a head that has landed names only entries that were acknowledged before it was sent;
//   - an entry is never changed, and no two ever have the same name (see Name);
//   - a head names what the head before it named, and what was written under its own
//     claim, and nothing else. So what a landed head does not name, and was not written
//     under a later claim, nobody will ever name again;
//   - an entry is purged only when it is of that kind;
//   - the newest layer that has a key decides: journal, runs, levels in order.
//
// An owner that dies leaves entries behind that no head names. The next one finds them by
// their numbers (see Orphans) before it writes entries itself.
//
// Cut, Plan, Run, Install are the steps of an owner. They decide and encode; the store is
// asked only in Write, Collect, Run and reads.
package state
