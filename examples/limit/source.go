package limit

import _ "embed"

// Source is this package's code, for the demo's page to show what really runs.
//
//go:embed limit.go
var Source string
