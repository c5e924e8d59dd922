// Command conformance speaks the protocol of the public TUF client
// conformance suite (github.com/theupdateframework/tuf-conformance) for
// package trust. It is for tests only and is not installed; README.md says how
// to run the suite.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/trust"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "conformance: error:", err)
		os.Exit(1)
	}
}

type options struct {
	metadataDir, metadataURL string
	targets                  []string
	targetURL, targetDir     string
}

func run(ctx context.Context, args []string) error {
	var o options
	flags := flag.NewFlagSet("conformance", flag.ContinueOnError)
	flags.StringVar(&o.metadataDir, "metadata-dir", "", "folder of trusted metadata")
	flags.StringVar(&o.metadataURL, "metadata-url", "", "where the repository's metadata is")
	flags.StringVar(&o.targetURL, "target-base-url", "", "where the repository's targets are")
	flags.StringVar(&o.targetDir, "target-dir", "", "folder for targets")
	flags.Func("target-name", "path of a target; may be repeated", func(name string) error {
		o.targets = append(o.targets, name)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.Arg(0) == "init" && flags.NArg() == 2:
		return initialize(o, flags.Arg(1))
	case flags.Arg(0) == "refresh" && flags.NArg() == 1:
		return download(ctx, o, nil)
	case flags.Arg(0) == "download" && flags.NArg() == 1:
		return download(ctx, o, o.targets)
	}
	return errors.New("usage: conformance [flags] init ROOT | refresh | download")
}

func initialize(o options, root string) error {
	data, err := os.ReadFile(root)
	if err != nil {
		return err
	}
	var disk *durable.Disk
	return disk.WriteFile(filepath.Join(o.metadataDir, "root.json"), data, 0o644)
}

func download(ctx context.Context, o options, paths []string) error {
	now, err := now()
	if err != nil {
		return err
	}
	f := source{metadata: o.metadataURL, targets: o.targetURL}
	client := &trust.Client{Dir: o.metadataDir, Clock: &clock.Clock{Wall: func() time.Time { return now }}, AnyHash: true, Sets: true}
	view, err := client.Refresh(ctx, f)
	if err != nil {
		return err
	}
	if err := view.Complete(); err != nil {
		return err
	}
	for _, path := range paths {
		target, err := view.Target(ctx, f, path)
		if err != nil {
			return err
		}
		if err := downloadOne(ctx, f, target, filepath.Join(o.targetDir, url.PathEscape(path))); err != nil {
			return err
		}
	}
	return nil
}

func downloadOne(ctx context.Context, f source, target trust.Target, path string) error {
	if data, err := os.ReadFile(path); err == nil && check(target, data) == nil {
		return nil
	}
	data, err := f.Fetch(ctx, target.FetchPath, target.Length)
	if err != nil {
		return err
	}
	if err := check(target, data); err != nil {
		return err
	}
	var disk *durable.Disk
	return disk.WriteFile(path, data, 0o644)
}

func check(target trust.Target, data []byte) error {
	if int64(len(data)) != target.Length {
		return fmt.Errorf("%s has %d bytes, not %d", target.Path, len(data), target.Length)
	}
	sum256, sum512 := sha256.Sum256(data), sha512.Sum512(data)
	is := map[string]string{"sha256": hex.EncodeToString(sum256[:]), "sha512": hex.EncodeToString(sum512[:])}
	for algorithm, want := range target.Hashes {
		if is[algorithm] != want {
			return fmt.Errorf("%s has another %s", target.Path, algorithm)
		}
	}
	return nil
}

// now is the time that faketime(1) pretends: it sets FAKETIME, and preloads a
// library that Go programs do not notice but date(1) does.
func now() (time.Time, error) {
	if os.Getenv("FAKETIME") == "" {
		return time.Now(), nil
	}
	out, err := exec.Command("date", "+%s").Output()
	if err != nil {
		return time.Time{}, fmt.Errorf("asking date for the time: %w", err)
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	return time.Unix(seconds, 0), err
}

// source fetches by HTTP.
type source struct{ metadata, targets string }

func (s source) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	base, rest := s.metadata, strings.TrimPrefix(path, "metadata/")
	if strings.HasPrefix(path, "targets/") {
		base, rest = s.targets, strings.TrimPrefix(path, "targets/")
	}
	where := strings.TrimSuffix(base, "/") + "/" + rest
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Timeout: time.Minute}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusForbidden, http.StatusGone:
		return nil, fmt.Errorf("%s: %w", resp.Status, trust.ErrNotFound)
	default:
		return nil, fmt.Errorf("%s answers %s", where, resp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: %w: more than %d bytes", where, trust.ErrTooLarge, limit)
	}
	return data, nil
}
