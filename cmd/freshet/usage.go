package main

import (
	"fmt"
	"strings"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/api"
)

// misused is the error of a command that was called wrongly.
func misused(cmd *cobra.Command, text string) error {
	return &api.Error{Code: api.Usage, Text: text, Hint: "see " + cmd.CommandPath() + " --help"}
}

// group is a command that only holds others. Called with none of them, or with
// a word that is none, it says so. Its examples are the first of theirs.
func group(use, short string, sub ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return noSuchCommand(cmd, args[0])
			}
			return misused(cmd, cmd.CommandPath()+": which one?")
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	c.AddCommand(sub...)
	var examples []string
	for _, s := range sub {
		first, _, _ := strings.Cut(s.Example, "\n")
		examples = append(examples, first)
	}
	c.Example = strings.Join(examples, "\n")
	return c
}

// noSuchCommand says so, and which command may have been meant.
func noSuchCommand(parent *cobra.Command, word string) error {
	text := fmt.Sprintf("unknown command %q for %s", word, parent.CommandPath())
	parent.SuggestionsMinimumDistance = 2
	if near := parent.SuggestionsFor(word); len(near) > 0 {
		text += ": is " + strings.Join(near, " or ") + " meant?"
	}
	return misused(parent, text)
}

// sayArguments has every command below c refuse a wrong number of arguments in
// the words of its own use line.
func sayArguments(c *cobra.Command) {
	for _, sub := range c.Commands() {
		sayArguments(sub)
		check := sub.Args
		if check == nil || sub.HasSubCommands() {
			continue
		}
		sub.Args = func(cmd *cobra.Command, args []string) error {
			if check(cmd, args) == nil {
				return nil
			}
			_, takes, some := strings.Cut(cmd.Use, " ")
			if !some {
				takes = "no arguments"
			}
			return misused(cmd, fmt.Sprintf("%s takes %s, not %s", cmd.Name(), takes, english.Plural(len(args), "argument", "")))
		}
	}
}
