package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/durable"
)

func supportCommand(o *options) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "support",
		Short: "Write one file for whoever helps",
		Long: `Support writes one JSON file with what it takes to help: version, status, the
last 200 events, tasks, settings, generations, state, versions of the metadata
and disk space. Credentials in URLs are left out, and no file that the settings
name is read but the root of trust. Asked by those who may change things, it
has commands in the settings and what engines' programs wrote as they are: read
the file before you give it away.`,
		Example: "  freshet support\n  freshet support --out /tmp/freshet.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var answer json.RawMessage
			if err := o.ask(cmd.Context(), http.MethodGet, "/v1/support", nil, &answer); err != nil {
				return err
			}
			return writeSupport(cmd, o, out, answer)
		},
	}
	c.Flags().StringVar(&out, "out", "", "file to write (default freshet-support-TIME.json in this folder)")
	return c
}

func writeSupport(cmd *cobra.Command, o *options, out string, answer json.RawMessage) error {
	var s api.Support
	if err := json.Unmarshal(answer, &s); err != nil {
		return fmt.Errorf("reading the agent's answer: %w", err)
	}
	if out == "" {
		out = "freshet-support-" + time.Now().UTC().Format("20060102T150405Z") + ".json"
	}
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := json.Indent(&text, answer, "", "  "); err != nil {
		return err
	}
	text.WriteByte('\n')
	var disk *durable.Disk
	if err := disk.WriteFile(out, text.Bytes(), 0o600); err != nil {
		return fmt.Errorf("writing the file: %w", err)
	}
	w := cmd.OutOrStdout()
	if o.json {
		err = printJSON(w, map[string]any{"file": out, "bytes": text.Len(), "errors": s.Errors})
	} else {
		fmt.Fprintf(w, "%s: %s\n", out, size(int64(text.Len())))
		fmt.Fprintf(w, "in it: version, status, %s, %s, settings, state, generations, metadata, disk\n", english.Plural(len(s.Events), "event", ""), english.Plural(len(s.Tasks), "task", ""))
		fmt.Fprintln(w, "not in it: credentials, keys, the content of bases; read it before you give it away")
		for _, e := range s.Errors {
			fmt.Fprintf(w, "could not be read: %s\n", oneLine(e))
		}
	}
	return err
}
