package crashtest

import (
	"hash/fnv"
	"math/rand/v2"
	"os"
	"strconv"
	"time"
)

// Logger is a test.
type Logger interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
}

// Seed is what a random test begins with: FRESHET_SEED, else another each time.
// It logs what repeats the test.
func Seed(t Logger) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("FRESHET_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("FRESHET_SEED=%d repeats it", seed)
	return seed
}

// Random is a source for the test t alone, by [Seed]: that other tests run, or in
// another order, changes nothing of it.
func Random(t Logger) *rand.Rand {
	t.Helper()
	h := fnv.New64a()
	h.Write([]byte(t.Name()))
	return rand.New(rand.NewPCG(Seed(t), h.Sum64()))
}
