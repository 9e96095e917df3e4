// Package docs is the manual for authors and operators, in Markdown. It has no code; its
// tests compile and run the programs that the manual shows.
package docs
