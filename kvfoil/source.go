package kvfoil

import "embed"

//go:embed naive.go cas.go
var sources embed.FS

// Source returns the Go source of the counter "naive" or "cas", as it was
// compiled into this program; "" for any other name. The page shows it beside
// the numbers, so that what is shown cannot drift from what runs.
func Source(name string) string {
	text, err := sources.ReadFile(name + ".go")
	if err != nil {
		return ""
	}
	return string(text)
}
