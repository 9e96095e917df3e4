// Package web is the demo's page: plain HTML, one style sheet and ES modules, carried in the binary.
//
// There is no build step, and no file comes from elsewhere, so the page works with the network cut and under a
// Content-Security-Policy of default-src 'self'. The files are served unchanged: index.html at /, everything else below
// /web/.
package web

import "embed"

// Files holds the page. Its tests (test/*.mjs) stay out of the binary.
//
//go:embed index.html style.css favicon.svg *.js
var Files embed.FS
