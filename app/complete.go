package app

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"holdfast/objects/host"
)

const (
	completeWithin = time.Second // a shell waits this long
	completeNames  = 200
)

// completeClass completes the first argument to a class.
func (p *program) completeClass(from *natsFlags) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, typed string) (found []cobra.Completion, how cobra.ShellCompDirective) {
		if len(args) == 0 {
			found = startingWith(typed, p.liveClasses(c.Context(), from))
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeObject completes the first argument to CLASS/NAME: first to a class and a slash, then to the names of stored
// objects.
func (p *program) completeObject(from *natsFlags) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, typed string) (found []cobra.Completion, how cobra.ShellCompDirective) {
		class, _, named := strings.Cut(typed, "/")
		switch {
		case len(args) > 0:
		case named:
			found = startingWith(typed, p.keptObjects(c.Context(), from, class, typed))
		default:
			classes := p.liveClasses(c.Context(), from)
			for i := range classes {
				classes[i] += "/"
			}
			return startingWith(typed, classes), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

// liveClasses returns the classes of this program and of live hosts.
func (p *program) liveClasses(ctx context.Context, from *natsFlags) []string {
	classes := p.classNames()
	p.glance(ctx, from, func(ctx context.Context, in *host.Inspector) {
		if hosted, err := hostedClasses(ctx, in); err == nil {
			classes = append(classes, hosted...)
		}
	})
	slices.Sort(classes)
	return slices.Compact(classes)
}

// keptObjects returns stored objects of a class, as CLASS/NAME, that begin as typed.
func (p *program) keptObjects(ctx context.Context, from *natsFlags, class, typed string) (found []string) {
	p.glance(ctx, from, func(ctx context.Context, in *host.Inspector) {
		for info, err := range in.List(ctx, class) {
			if err != nil || len(found) == completeNames {
				return
			}
			if object := class + "/" + info.Name; info.Name != "" && strings.HasPrefix(object, typed) {
				found = append(found, object)
			}
		}
	})
	return found
}

// glance reads the store if NATS is reached in time. It reports no error: a shell cannot show one.
func (p *program) glance(ctx context.Context, from *natsFlags, look func(context.Context, *host.Inspector)) {
	ctx, cancel := context.WithTimeout(ctx, completeWithin)
	defer cancel()
	nc, err := p.dial(ctx, *from, atOnce, append(connection(p.cfg.Name+" completes", adminUser, p.log), nats.Timeout(completeWithin/2))...)
	if err != nil {
		return
	}
	defer nc.Close()
	if in, err := host.Inspect(ctx, nc); err == nil {
		look(ctx, in)
	}
}

// startingWith returns the words that begin as typed. It leaves out names with blanks, or with characters that move a
// terminal's cursor.
func startingWith(typed string, words []string) []cobra.Completion {
	odd := func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }
	return slices.DeleteFunc(words, func(word string) bool {
		return !strings.HasPrefix(word, typed) || strings.ContainsFunc(word, odd)
	})
}
