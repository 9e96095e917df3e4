package room

import _ "embed"

// Source is the class as it runs, for the demo's page.
//
//go:embed room.go
var Source string
