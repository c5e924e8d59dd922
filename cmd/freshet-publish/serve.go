package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/publish"
)

func (a *app) serveCommand() *cobra.Command {
	var listen string
	c := &cobra.Command{
		Use:   "serve REPO",
		Short: "serve a repository over HTTP, for trials",
		Long: `serve serves a repository over plain HTTP until it is interrupted: for trials.
Any static web server does the same. The first line on standard output is
"listening URL"; requests are logged to standard error.`,
		Example: `  freshet-publish serve /srv/repo --listen 127.0.0.1:8080`,
		Args:    needs("REPO"),
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:8080", "address and port; port 0 takes a free one")
	c.RunE = a.run(func(ctx context.Context, args []string) error { return a.serve(ctx, args[0], listen) })
	return c
}

func (a *app) serve(ctx context.Context, dir, listen string) error {
	if _, err := os.Stat(filepath.Join(dir, "metadata", "timestamp.json")); errors.Is(err, fs.ErrNotExist) {
		return &publish.Error{
			Reason: dir + " is no repository: it has no metadata/timestamp.json",
			Hint:   "freshet-publish init " + dir + " --keys DIR makes one",
		}
	}
	h, err := publish.Handler(dir)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return &publish.Error{Reason: err.Error(), Hint: "choose another port with --listen; port 0 takes a free one"}
	}
	if err != nil {
		return err
	}
	url := "http://" + l.Addr().String()
	if err := a.print(map[string]string{"listening": url}, func(w io.Writer) { fmt.Fprintf(w, "listening %s\n", url) }); err != nil {
		return err
	}
	srv := &http.Server{
		Handler:           logged(h, log.New(a.errs, "", 0)),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      time.Hour, // a full image over a slow line
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          log.New(a.errs, "freshet-publish: ", 0),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if srv.Shutdown(end) != nil {
		srv.Close()
	}
	<-done
	return nil
}

// logged writes a line for each request: client, method, path, range, status,
// bytes of the body.
func logged(h http.Handler, to *log.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		h.ServeHTTP(rec, q)
		span := q.Header.Get("Range")
		if span == "" {
			span = "-"
		}
		to.Printf("%s %s %q %q %d %d", q.RemoteAddr, q.Method, q.URL.Path, span, rec.status, rec.bytes)
	})
}

type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
