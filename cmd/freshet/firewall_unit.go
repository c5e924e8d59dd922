package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"text/template"

	"github.com/freshet/freshet/internal/durable"
)

//go:embed freshet-firewall.service
var bootUnitTemplate string

const (
	bootService   = "freshet-firewall"
	bootUnitPath  = "/etc/systemd/system/freshet-firewall.service"
	packagedBoot1 = "/lib/systemd/system/freshet-firewall.service"
	packagedBoot2 = "/usr/lib/systemd/system/freshet-firewall.service"
)

// bootUnit is the unit that restores the firewall before the network is up.
func bootUnit(u unit, stateDir string) (string, error) {
	t, err := template.New("unit").Funcs(template.FuncMap{"word": unitWord, "plain": quoted}).Parse(bootUnitTemplate)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = t.Execute(&out, struct {
		unit
		State string
	}{u, stateDir})
	return out.String(), err
}

// renderBootUnit is the boot unit for the flags.
func renderBootUnit(o *options) (string, error) {
	program, err := os.Executable()
	if err != nil {
		return "", err
	}
	return bootUnit(unitOf(program, o, nil), o.stateDir)
}

// installBootUnit installs the boot unit, or enables the one that a package
// brought. Where no rules are in force it does nothing.
func installBootUnit(ctx context.Context, text string) error {
	for _, path := range []string{packagedBoot1, packagedBoot2} {
		if _, err := os.Stat(path); err == nil {
			return systemctl(ctx, "enable", bootService)
		}
	}
	var disk durable.Disk
	if err := disk.WriteFile(bootUnitPath, []byte(text), 0o644); err != nil {
		return fmt.Errorf("installing the firewall's boot unit: %w", err)
	}
	return errors.Join(systemctl(ctx, "daemon-reload"), systemctl(ctx, "enable", bootService))
}

func removeBootUnit(ctx context.Context) error {
	if _, err := os.Stat(bootUnitPath); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := systemctl(ctx, "disable", bootService)
	var disk durable.Disk
	return errors.Join(err, disk.RemoveAll(bootUnitPath), systemctl(ctx, "daemon-reload"))
}
