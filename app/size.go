package app

import (
	"errors"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"
)

// size is a flag for a number of bytes from 1 KiB to 1 GiB.
type size struct{ to *int }

// sizeFlag adds such a flag. The default is the present value of to.
func sizeFlag(f *pflag.FlagSet, to *int, name, help string) { f.Var(size{to}, name, help) }

// Set implements pflag.Value.
func (s size) Set(text string) error {
	n, err := humanize.ParseBytes(text)
	if err != nil || n < 1<<10 || n > 1<<30 {
		return errors.New("want a size from 1KiB to 1GiB")
	}
	*s.to = int(n)
	return nil
}

// String implements pflag.Value.
func (s size) String() string {
	if s.to == nil {
		return ""
	}
	return strings.ReplaceAll(humanize.IBytes(uint64(*s.to)), " ", "")
}

// Type implements pflag.Value.
func (size) Type() string { return "size" }
