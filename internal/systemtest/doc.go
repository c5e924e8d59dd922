// Package systemtest proves the two programs with real parts: every corpus
// through real web servers, kill -9 at every disk step, a real systemd. It
// holds tests alone, under the build tag "system"; `make system` runs them as
// root. docs/proof.md says what they show.
//
// A test whose part is missing here (root, a Debian package, the corpora)
// skips and says which; where CI=true is set it fails.
package systemtest
