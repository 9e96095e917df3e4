package race

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Judge sums up the attempts at one counter, given its stored value before the
// first and after the last; nil stands for a value that could not be read. It
// depends on nothing else, nor on the order of the attempts.
//
// The stored value tells how many increments stuck. Somebody else's claims on the
// same counter during the run hide losses; they never make one up.
func Judge(counter string, attempts []Attempted, before, after *int) Verdict {
	v := Verdict{Type: "verdict", Counter: counter, Asked: len(attempts), Before: before, After: after}
	people := map[int]int{} // by ticket
	var took []int64
	for _, a := range attempts {
		v.Attempts += len(a.Tries)
		if len(a.Tries) > 0 && a.Tries[0].Cached {
			v.Cached++
		}
		switch a.Outcome {
		case OK:
			v.Answered++
			people[a.Ticket]++
			took = append(took, a.AnsweredUs-a.SentUs)
		case Refused, Unavailable:
			v.Refused++
		default:
			v.Unknown++
		}
	}
	v.Distinct = len(people)
	v.Duplicates = v.Answered - v.Distinct
	v.Gaps = gaps(people, v.Unknown)
	v.Lost, v.LostMax = lost(v.Answered, v.Unknown, before, after)
	slices.Sort(took)
	v.P50Us, v.P99Us = percentile(took, 0.50), percentile(took, 0.99)
	v.Sentence = sentence(v, people)
	return v
}

// lost returns how many of the answered increments are not in the stored value:
// at least, if none of the unknown claims landed, and at most, if all did.
func lost(answered, unknown int, before, after *int) (least, most int) {
	if before == nil || after == nil {
		return 0, answered
	}
	missing := answered - (*after - *before)
	return within(missing, answered), within(missing+unknown, answered)
}

// gaps returns how many numbers between the lowest and the highest ticket nobody
// holds, even if each unknown claim was given one of them.
func gaps(people map[int]int, unknown int) int {
	if len(people) == 0 {
		return 0
	}
	lowest, highest := math.MaxInt, 0
	for ticket := range people {
		lowest, highest = min(lowest, ticket), max(highest, ticket)
	}
	return max(0, highest-lowest+1-len(people)-unknown)
}

func within(n, limit int) int { return min(max(n, 0), limit) }

// percentile returns the value below or at which the share q of the sorted values
// lies (nearest rank); 0 if there are none.
func percentile(sorted []int64, q float64) int64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}

// sentence says a verdict in words: what was handed out, what was lost, and what
// did not take part.
func sentence(v Verdict, people map[int]int) string {
	var parts []string
	if v.Answered > 0 {
		parts = append(parts, handed(v, people), lostWords(v), fellWords(v), gapWords(v), cachedWords(v))
	} else {
		parts = append(parts, fmt.Sprintf("%s answered nobody.", title(v.Counter)))
	}
	parts = append(parts, refusedWords(v), unknownWords(v))
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")
}

func handed(v Verdict, people map[int]int) string {
	ticket, n := mostHanded(people)
	switch {
	case v.Duplicates > 0:
		return fmt.Sprintf("%s handed ticket #%d to %d people.", title(v.Counter), ticket, n)
	case v.Answered == 1:
		return fmt.Sprintf("%s handed out ticket #%d.", title(v.Counter), ticket)
	default:
		return fmt.Sprintf("%s handed out %d different tickets, each to one person.", title(v.Counter), v.Answered)
	}
}

// mostHanded returns the ticket that most people hold, the lowest if several are.
func mostHanded(people map[int]int) (ticket, n int) {
	for t, p := range people {
		if p > n || p == n && t < ticket {
			ticket, n = t, p
		}
	}
	return ticket, n
}

func lostWords(v Verdict) string {
	switch {
	case v.Before == nil || v.After == nil:
		return "The stored value could not be read, so nobody can say what was lost."
	case v.LostMax > 0 && v.Lost == 0:
		return fmt.Sprintf("No increment is known to be lost; at most %d of %s may be.", v.LostMax, increments(v.Answered))
	case v.LostMax > v.Lost:
		return fmt.Sprintf("Between %d and %d of %s were lost.", v.Lost, v.LostMax, increments(v.Answered))
	case v.Lost > 0:
		return fmt.Sprintf("%d of %s %s lost.", v.Lost, increments(v.Answered), was(v.Lost))
	case v.Duplicates > 0:
		return "No increment is missing, but somebody else may have claimed meanwhile."
	}
	return kept(v)
}

// fellWords tells of increments before this run that it destroyed.
func fellWords(v Verdict) string {
	if v.Before == nil || v.After == nil || *v.After >= *v.Before {
		return ""
	}
	return fmt.Sprintf("The stored value even fell, from %d to %d.", *v.Before, *v.After)
}

func gapWords(v Verdict) string {
	switch v.Gaps {
	case 0:
		return ""
	case 1:
		return "1 number in between was given to nobody."
	}
	return fmt.Sprintf("%d numbers in between were given to nobody.", v.Gaps)
}

func cachedWords(v Verdict) string {
	if v.Cached == 0 {
		return ""
	}
	return fmt.Sprintf("%s read from the cache of their region.", count(v.Cached, "request"))
}

// kept is said when nothing was lost and nothing handed out twice.
func kept(v Verdict) string {
	switch v.Counter {
	case "naive":
		if v.Asked == 1 {
			return "One request alone loses nothing: there is nobody to race."
		}
		return "No increment was lost this time. Try again, or raise the KV round trip: in production it is 5 to 50 ms."
	case "cas":
		return casPrice(v)
	}
	return "No increment was lost."
}

// casPrice says what being right cost without an owner.
func casPrice(v Verdict) string {
	extra := v.Attempts - v.Asked
	if extra <= 0 {
		return "No increment was lost, and this time nobody had to try again."
	}
	return fmt.Sprintf("No increment was lost, but %s made %s. A single owner makes none.",
		count(v.Asked, "writer"), count(extra, "extra attempt"))
}

func refusedWords(v Verdict) string {
	switch v.Refused {
	case 0:
		return ""
	case 1:
		return "1 request did not happen (refused or unavailable); it is not counted as lost."
	}
	return fmt.Sprintf("%d requests did not happen (refused or unavailable); they are not counted as lost.", v.Refused)
}

func unknownWords(v Verdict) string {
	switch v.Unknown {
	case 0:
		return ""
	case 1:
		return "1 request went unanswered; it may or may not have counted."
	}
	return fmt.Sprintf("%d requests went unanswered; they may or may not have counted.", v.Unknown)
}

func title(counter string) string {
	switch counter {
	case "object":
		return "The object"
	case "naive":
		return "KV"
	case "cas":
		return "Compare-and-set"
	}
	return counter
}

func increments(n int) string { return count(n, "increment") }

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func was(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}
