package leaderboard

import _ "embed"

// Source is this package's code, for the demo's page to show what really runs.
//
//go:embed leaderboard.go
var Source string
