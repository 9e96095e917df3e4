package jobs

import _ "embed"

// Source is this package's code, for the demo's page to show what really runs.
//
//go:embed jobs.go
var Source string
