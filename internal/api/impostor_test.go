package api_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/freshet/freshet/internal/api"
)

// TestMain is also another user, who has put a socket where the agent's was.
func TestMain(m *testing.M) {
	if socket := os.Getenv("TEST_IMPOSTOR"); socket != "" {
		beImpostor(socket)
		return
	}
	os.Exit(m.Run())
}

func beImpostor(socket string) {
	ln, err := net.Listen("unix", socket)
	if err != nil {
		fmt.Println(err)
		return
	}
	os.Chmod(socket, 0o666)
	fmt.Println("listens")
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Println("asked")
		io.WriteString(w, `{"state":"up to date"}`)
	}))
	io.Copy(io.Discard, os.Stdin)
}

// TestAClientAsksNobodyButRootAndItsOwnUser: what is asked may hold a root of
// trust, and what is answered is believed.
func TestAClientAsksNobodyButRootAndItsOwnUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("to be another user takes root")
	}
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "fsi")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "impostor") // in a folder that the other user may enter
	if err := os.Link(own, program); err != nil {
		if out, err := exec.Command("cp", own, program).CombinedOutput(); err != nil {
			t.Fatalf("%s%v", out, err)
		}
	}
	socket := filepath.Join(dir, "agent.sock")
	for _, err := range []error{os.Chmod(dir, 0o777), os.Chmod(program, 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command(program)
	c.Env, c.Dir = append(os.Environ(), "TEST_IMPOSTOR="+socket), "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 60001, Gid: 60001}}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(out)
	if line, err := said.ReadString('\n'); line != "listens\n" {
		t.Fatal(line, err)
	}
	var answer map[string]any
	err = api.Dial(socket).Get(t.Context(), "/v1/status", &answer)
	if err == nil || api.CodeOf(err) != api.Unreachable || !strings.Contains(err.Error(), "user 60001 listens there") {
		t.Errorf("got %v, %v", answer, err)
	}
	in.Close()
	rest, _ := io.ReadAll(said)
	if c.Wait(); len(rest) > 0 {
		t.Errorf("the other user was asked: %s", rest)
	}
}
