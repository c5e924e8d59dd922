// Command freshet-launch is what the service starts: it becomes the supervisor
// of the version that is installed. See package launch.
//
//	freshet-launch [--state-dir DIR] [--socket SOCKET] [FLAGS OF freshet supervise]
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/freshet/freshet/internal/launch"
)

func main() {
	p := launch.Place{
		Dir:     flag("--state-dir", "FRESHET_STATE_DIR", "/var/lib/freshet"),
		Runtime: filepath.Dir(flag("--socket", "FRESHET_SOCKET", "/run/freshet/agent.sock")),
		Package: "/usr/lib/freshet/freshet",
	}
	if own, err := os.Executable(); err == nil {
		p.Package = filepath.Join(filepath.Dir(own), "freshet") // beside it, wherever that is
	}
	launch.Exec(p, append([]string{"supervise"}, os.Args[1:]...))
	fmt.Fprintln(os.Stderr, "freshet-launch: no program can be started: install the package again")
	os.Exit(1)
}

// flag is the value of a flag, of the environment, or the usual one.
func flag(name, env, usual string) string {
	for i, arg := range os.Args {
		if value, ok := strings.CutPrefix(arg, name+"="); ok {
			return value
		}
		if arg == name && i+1 < len(os.Args) {
			return os.Args[i+1]
		}
	}
	if v := os.Getenv(env); v != "" {
		return v
	}
	return usual
}
