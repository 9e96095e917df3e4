// Package js carries the client for browsers and node, so that a gateway can serve it to pages.
//
// It is plain ES modules with types and without dependencies, and the folder is an npm package as it
// stands. There is no build step.
package js

import "embed"

// Files are the modules. Their tests stay out of the binary.
//
//go:embed index.js addresses.js backoff.js call.js connection.js session.js turns.js watch.js index.d.ts
var Files embed.FS
