package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/agent"
	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
)

const operations = "../../docs/operations.md"

// TestOperationsDocumentIsTrue holds the tables of docs/operations.md against
// those of the code.
func TestOperationsDocumentIsTrue(t *testing.T) {
	data, err := os.ReadFile(operations)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for name, table := range map[string]string{"errors": errorTable(), "events": eventTable(), "routes": routeTable()} {
		section := regexp.MustCompile(`(?s)(<!-- table: ` + name + ` -->\n).*?(<!-- end -->)`)
		if !section.MatchString(text) {
			t.Fatalf("no table %q", name)
		}
		text = section.ReplaceAllStringFunc(text, func(string) string {
			return "<!-- table: " + name + " -->\n" + table + "<!-- end -->"
		})
	}
	golden(t, operations, text)
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if group := c.Parent(); c.HasParent() && c.Runnable() && !c.HasSubCommands() && c.Name() != "help" {
			line := regexp.MustCompile("(?m)^\\| `freshet " + strings.TrimSpace(strings.TrimPrefix(group.CommandPath(), "freshet")) + ".*\\b" + c.Name() + "\\b")
			if !line.MatchString(text) {
				t.Errorf("%s is not among the commands of %s", c.CommandPath(), operations)
			}
		}
	}
	walk(rootCommand(&options{}))
}

func errorTable() string {
	var b strings.Builder
	b.WriteString("| code | HTTP status | exit code | hint |\n| --- | --- | --- | --- |\n")
	for _, m := range api.Meanings {
		status := "-"
		if m.Status != 0 {
			status = fmt.Sprint(m.Status)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %d | %s |\n", m.Code, status, m.Exit, m.Hint)
	}
	return b.String()
}

func eventTable() string {
	var b strings.Builder
	b.WriteString("| code | severity | text | hint |\n| --- | --- | --- | --- |\n")
	for _, k := range event.Table {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.Code, k.Severity, k.Text, k.Hint)
	}
	return b.String()
}

func routeTable() string {
	var b strings.Builder
	b.WriteString("| request | who | does |\n| --- | --- | --- |\n")
	for _, r := range agent.Routes() {
		who := "everyone"
		if r.Changes {
			who = "those who may change"
		}
		fmt.Fprintf(&b, "| `%s %s` | %s | %s |\n", r.Method, r.Path, who, r.Does)
	}
	return b.String()
}
