//go:build system

package systemtest_test

import "testing"

// step is part of a test of a machine that the steps after it need.
type step[T any] struct {
	name string
	do   func(T)
}

// inOrder does steps to what is on the machine w, up to the first that fails.
func inOrder[T any](w *packaged, on T, steps []step[T]) {
	whole := w.t
	for _, s := range steps {
		ok := whole.Run(s.name, func(t *testing.T) {
			w.t, w.p.t = t, t
			s.do(on)
		})
		w.t, w.p.t = whole, whole
		if !ok {
			whole.Fatalf("the steps after this one need it\n%s", w.journal())
		}
	}
}
