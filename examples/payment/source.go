package payment

import _ "embed"

// Source is this package's code, for the demo's page to show what really runs.
//
//go:embed payment.go
var Source string
