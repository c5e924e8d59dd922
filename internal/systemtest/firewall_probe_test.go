//go:build system

package systemtest_test

import "github.com/freshet/freshet/internal/systemtest/probe"

// probe sends to the machine what its rules allow, and what they forbid.
func (m *machine) probe() *probe.Probe {
	m.t.Helper()
	_, guest := m.addresses()
	return probe.Begin(m.t, probe.Path{
		To:       "/proc/" + m.leader + "/ns/net",
		Standing: guest + ":8080", New: guest + ":8080", Forbidden: guest + ":9999",
	})
}
