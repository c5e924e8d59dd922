package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/firewall"
	"github.com/freshet/freshet/internal/api"
)

func firewallCommand(o *options) *cobra.Command {
	return group("firewall", "Show, apply, try and take back the host's firewall rules",
		firewallShowCommand(o), firewallCheckCommand(o), firewallApplyCommand(o),
		firewallChange(o, "confirm", "Keep the rules that are on trial", "/v1/firewall/confirm", "confirmed"),
		firewallMechanismCommand(o), firewallSnapshotCommand(o), firewallRestoreCommand(o),
		firewallChange(o, "off", "Take Freshet's rules away until they are applied again", "/v1/firewall/off", "taken away: Freshet has no rules on this host"))
}

func firewallShowCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show what is in force, and the rules with their counters",
		Example: "  freshet firewall show",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var f api.Firewall
			if err := o.ask(cmd.Context(), http.MethodGet, "/v1/firewall", nil, &f); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), f)
			}
			printFirewall(cmd.OutOrStdout(), f)
			return nil
		},
	}
}

func firewallMechanismCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "mechanism", Short: "Say which tools hold the rules, and why",
		Long: `Mechanism says by which tools the rules are put into the kernel: iptables, or
nftables as the major line before did. It is part of the generation, so that an
update of modules changes it and a rollback changes it back.`,
		Example: "  freshet firewall mechanism",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var f api.Firewall
			if err := o.ask(cmd.Context(), http.MethodGet, "/v1/firewall?counters=0", nil, &f); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), f)
			}
			printMechanism(cmd.OutOrStdout(), f)
			return nil
		},
	}
}

func firewallCheckCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Say what others changed, and what the settings' rules would cut off",
		Long: `Check compares the kernel with what is in force, and tries the rules of the
settings against this session, the update sources, the name servers, and who
will log in where sshd listens. It changes nothing, and exits with 1 if there is
anything to say.`,
		Example: "  freshet firewall check",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var f api.Firewall
			if err := o.ask(cmd.Context(), http.MethodGet, "/v1/firewall?counters=0&contents=1", nil, &f); err != nil {
				return err
			}
			var a api.FirewallApplied
			if err := o.ask(cmd.Context(), http.MethodPost, "/v1/firewall/apply", api.FirewallApply{DryRun: true, Session: os.Getenv("SSH_CONNECTION")}, &a); err != nil {
				return err
			}
			a.Texts, a.Diff = nil, f.Diff
			if o.json {
				if err := printJSON(cmd.OutOrStdout(), a); err != nil {
					return err
				}
			} else {
				printWallCheck(cmd.OutOrStdout(), f, a)
			}
			if len(a.Cut)+len(f.Diff) > 0 {
				return exit(api.ExitFailed)
			}
			return nil
		},
	}
}

func firewallApplyCommand(o *options) *cobra.Command {
	var ask api.FirewallApply
	var confirm time.Duration
	c := &cobra.Command{
		Use: "apply", Short: "Put the rules of the settings in force",
		Long: `Apply puts the rules of the settings in force, whole or not at all, unless they
would cut off this session, an update source, a name server, or everybody who
would log in where sshd listens. With --confirm-within they are on trial: unless freshet firewall confirm follows in
that time, the rules of before come back by themselves, whatever became of this
command, of its terminal and of the agent.`,
		Example: `  freshet firewall apply --dry-run
  freshet firewall apply --confirm-within 60s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ask.Confirm, ask.Session = api.Duration(confirm), os.Getenv("SSH_CONNECTION")
			s, err := o.connect(cmd.Context())
			if err != nil {
				return err
			}
			var a api.FirewallApplied
			err = s.Do(cmd.Context(), http.MethodPost, "/v1/firewall/apply", ask, &a)
			if err == nil && (s.own != nil || os.Geteuid() == 0) && confirm > 0 && !ask.DryRun {
				err = o.watchTrial()
			}
			if err := errors.Join(err, s.close()); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), a)
			}
			printApplied(cmd.OutOrStdout(), ask, a)
			return nil
		},
	}
	c.Flags().BoolVar(&ask.DryRun, "dry-run", false, "print what the tools would be given, and do nothing")
	c.Flags().BoolVar(&ask.Force, "force", false, "also if it cuts off this session or an update source")
	c.Flags().DurationVar(&confirm, "confirm-within", 0, "take it back after this time unless it is confirmed, from 5s to 1h")
	return c
}

// watchTrial has a process of its own end the trial that was begun here, also
// where an agent would: that may be stopped by then, and this command, its
// terminal and its session be gone.
func (o *options) watchTrial() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	state, err := filepath.Abs(o.stateDir)
	if err != nil {
		return err
	}
	c := exec.Command(program, "--state-dir", state, "--config", o.config, "firewall", "restore", "--after-trial")
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		return fmt.Errorf("watching the trial: %w", err)
	}
	return c.Process.Release()
}

// endTrial ends a trial when its time is over, and has that among the events. It
// takes the state folder for a moment then, and not before: an agent may start.
func (o *options) endTrial(ctx context.Context) error {
	f := &firewall.Firewall{Dir: filepath.Join(o.stateDir, "firewall")}
	if err := f.EndTrial(ctx); err != nil {
		return err
	}
	own, err := o.agent()
	if err != nil {
		return err
	}
	if err := own.Open(); err != nil {
		return err
	}
	return errors.Join(own.TellFirewall(ctx), own.Close())
}

func firewallChange(o *options, verb, short, path, done string) *cobra.Command {
	return &cobra.Command{
		Use: verb, Short: short, Example: "  freshet firewall " + verb, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.changeFirewall(cmd, path, nil, done)
		},
	}
}

func firewallSnapshotCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "snapshot NAME", Short: "Put the rules in force aside, to go back to",
		Example: "  freshet firewall snapshot before-holidays",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.changeFirewall(cmd, "/v1/firewall/snapshot", api.FirewallName{Name: args[0]}, "put aside as "+args[0])
		},
	}
}

func firewallRestoreCommand(o *options) *cobra.Command {
	var boot, afterTrial, previous, force bool
	c := &cobra.Command{
		Use: "restore [NAME]", Short: "Set right what others changed, or go back to a snapshot",
		Long: `Restore brings the kernel to the rules that are in force. With the name of a
snapshot, or --previous, it goes back to those, which then hold until freshet
firewall apply, unless they would cut off this session, an update source or a
name server. With --boot it needs neither network, agent nor settings, and
does nothing where no rules are in force.`,
		Example: `  freshet firewall restore
  freshet firewall restore before-holidays`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case boot:
				return o.restoreAtBoot(cmd)
			case afterTrial:
				return o.endTrial(cmd.Context())
			}
			ask := api.FirewallName{Previous: previous, Force: force, Session: os.Getenv("SSH_CONNECTION")}
			if len(args) > 0 {
				ask.Name = args[0]
			}
			return o.changeFirewall(cmd, "/v1/firewall/restore", ask, "in force")
		},
	}
	c.Flags().BoolVar(&boot, "boot", false, "as the boot unit does")
	c.Flags().BoolVar(&previous, "previous", false, "go back to the rules before those in force")
	c.Flags().BoolVar(&force, "force", false, "go back also if that cuts off this session or an update source")
	c.Flags().BoolVar(&afterTrial, "after-trial", false, "wait for the end of a trial")
	c.Flags().MarkHidden("after-trial")
	return c
}

// restoreAtBoot is for the boot unit: it must not keep a host from booting.
func (o *options) restoreAtBoot(cmd *cobra.Command) error {
	disk, err := testDisk()
	if err != nil {
		return err
	}
	f := &firewall.Firewall{Dir: filepath.Join(o.stateDir, "firewall"), Disk: disk}
	if !f.Used() {
		return nil
	}
	n, err := f.Restore(cmd.Context())
	if err != nil {
		return &api.Error{Code: api.FirewallFailed, Text: err.Error()}
	}
	if n > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "freshet: firewall rules of set %d are in force\n", n)
	}
	return nil
}

func (o *options) changeFirewall(cmd *cobra.Command, path string, in any, done string) error {
	var set api.FirewallSet
	if err := o.ask(cmd.Context(), http.MethodPost, path, in, &set); err != nil {
		return err
	}
	if o.json {
		return printJSON(cmd.OutOrStdout(), set)
	}
	if set.Set > 0 {
		done = fmt.Sprintf("set %d is %s", set.Set, done)
	}
	fmt.Fprintln(cmd.OutOrStdout(), strings.TrimSpace("firewall: "+done))
	return nil
}
