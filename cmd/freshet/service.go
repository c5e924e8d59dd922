package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/kardianos/service"
	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/settings"
)

const serviceName = "freshet"

// installedUnit is where install puts the unit.
const installedUnit = "/etc/systemd/system/freshet.service"

// packagedUnits are where a package puts its own.
var packagedUnits = []string{"/lib/systemd/system/freshet.service", "/usr/lib/systemd/system/freshet.service"}

func serviceCommand(o *options) *cobra.Command {
	return group("service", "Install and control the agent as a service",
		serviceInstallCommand(o),
		controlCommand(o, "uninstall", "Stop the service and remove it; settings and state stay", uninstallService),
		controlCommand(o, "start", "Start the service", func(s service.Service) error { return s.Start() }),
		controlCommand(o, "stop", "Stop the service", func(s service.Service) error { return s.Stop() }),
		serviceStatusCommand(o))
}

func serviceInstallCommand(o *options) *cobra.Command {
	var dry bool
	c := &cobra.Command{
		Use: "install", Short: "Install the agent as a service that starts at boot",
		Long: `Install writes a systemd unit, with the flags given here, and enables it. The
folders that the settings deliver to are made writable for it: install again
after adding one. A second unit puts the firewall's rules back at boot, before
the network is up, where there are any. Where a package brought the units,
install only enables them.`,
		Example: "  freshet service install\n  freshet service install --dry-run\n  freshet service start",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := renderUnit(o)
			if err != nil {
				return err
			}
			boot, err := renderBootUnit(o)
			if err != nil {
				return err
			}
			if dry {
				fmt.Fprintf(cmd.OutOrStdout(), "%s\n# %s\n%s", text, bootUnitPath, boot)
				return nil
			}
			s, err := systemdService(text, true)
			if err != nil {
				return err
			}
			// The unit lets the agent write there, but not make the folders.
			for _, dir := range []string{o.stateDir, o.runtime()} {
				if err := durable.MkdirAll(dir, 0o755); err != nil {
					return fmt.Errorf("making the service's folders: %w", err)
				}
			}
			where, err := installService(cmd.Context(), s, text)
			if err == nil {
				err = installBootUnit(cmd.Context(), boot)
			}
			if err != nil {
				return err
			}
			return done(cmd, o, "installed", where)
		},
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "print the units, and do nothing")
	return c
}

func renderUnit(o *options) (string, error) {
	program, err := os.Executable()
	if err != nil {
		return "", err
	}
	for _, path := range []*string{&o.config, &o.stateDir, &o.socket} {
		if *path, err = filepath.Abs(*path); err != nil {
			return "", err
		}
	}
	s, err := settings.Load(o.config)
	if err != nil && !errors.Is(err, settings.ErrMissing) {
		return "", &api.Error{Code: api.SettingsInvalid, Text: err.Error()}
	}
	return unitOf(program, o, s).render()
}

// systemdService is the service, on a host that systemd runs.
func systemdService(unitText string, change bool) (service.Service, error) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return nil, &api.Error{
			Code: api.NoSystemd, Text: "this host is not run by systemd",
			Hint: "run freshet agent under the supervisor you have: it stays in the foreground and ends on SIGTERM",
		}
	}
	if change && os.Geteuid() != 0 {
		return nil, &api.Error{Code: api.Forbidden, Text: "services are changed by root alone", Hint: "run it as root"}
	}
	return service.New(&program{}, &service.Config{
		Name: serviceName, Description: "Freshet",
		Option: service.KeyValue{"SystemdScript": unitText},
	})
}

// installService installs the unit, or enables the one that a package brought.
// Installing again replaces the unit.
func installService(ctx context.Context, s service.Service, text string) (string, error) {
	for _, path := range packagedUnits {
		if _, err := os.Stat(path); err == nil {
			return path, systemctl(ctx, "enable", serviceName)
		}
	}
	_, err := os.Stat(installedUnit)
	if errors.Is(err, fs.ErrNotExist) {
		return installedUnit, s.Install()
	}
	var disk durable.Disk
	if err := disk.WriteFile(installedUnit, []byte(text), 0o644); err != nil {
		return "", fmt.Errorf("replacing the unit: %w", err)
	}
	return installedUnit, errors.Join(systemctl(ctx, "daemon-reload"), systemctl(ctx, "enable", serviceName))
}

func uninstallService(s service.Service) error {
	for _, path := range packagedUnits {
		if _, err := os.Stat(path); err == nil {
			return &api.Error{Code: api.Usage, Text: path + " belongs to a package", Hint: "remove the package, or systemctl disable --now freshet"}
		}
	}
	if st, err := s.Status(); err == nil && st == service.StatusRunning {
		if err := s.Stop(); err != nil {
			return err
		}
	}
	return errors.Join(s.Uninstall(), removeBootUnit(context.Background()))
}

func systemctl(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// controlCommand is a command that does one thing with the service.
func controlCommand(o *options, verb, short string, do func(service.Service) error) *cobra.Command {
	return &cobra.Command{
		Use: verb, Short: short,
		Example: "  freshet service " + verb,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := systemdService("", true)
			if err != nil {
				return err
			}
			if err := do(s); err != nil {
				return err
			}
			return done(cmd, o, map[string]string{"uninstall": "uninstalled", "start": "started", "stop": "stopped"}[verb], "")
		},
	}
}

func done(cmd *cobra.Command, o *options, what, unit string) error {
	if o.json {
		return printJSON(cmd.OutOrStdout(), map[string]string{"service": serviceName, "done": what, "unit": unit})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "service %s %s %s\n", serviceName, what, unit)
	return nil
}

func serviceStatusCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Say whether the service is installed and runs",
		Example: "  freshet service status",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := systemdService("", false)
			if err != nil {
				return err
			}
			word := "unknown"
			st, err := s.Status()
			switch {
			case errors.Is(err, service.ErrNotInstalled):
				word = "not installed"
			case err != nil:
				word = err.Error()
			case st == service.StatusRunning:
				word = "running"
			case st == service.StatusStopped:
				word = "stopped"
			}
			return done(cmd, o, word, "")
		},
	}
}
