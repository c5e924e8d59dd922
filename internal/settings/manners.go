package settings

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of what an agent takes of its machine. A source that gives less than
// 4 KiB a second is given up: the least rate is well above that.
const (
	minRate        = 16 << 10
	maxRate        = 100 << 30
	defaultCeiling = 3e9
	minCeiling     = 64 << 20
	maxCeiling     = 1 << 50
)

// Rate is a speed in bytes a second, written as 2MiB/s.
type Rate int64

// ParseRate reads a Rate: a size, with or without /s.
func ParseRate(s string) (Rate, error) {
	b, err := ParseBytes(strings.TrimSuffix(s, "/s"))
	if err != nil {
		return 0, fmt.Errorf("%s is no rate as 2MiB/s", quote(s))
	}
	return Rate(b), nil
}

func (r Rate) String() string { return Bytes(r).String() + "/s" }

// MarshalText is the form of JSON and YAML.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads it back.
func (r *Rate) UnmarshalText(text []byte) error {
	v, err := ParseRate(string(text))
	*r = v
	return err
}

// Disk bounds the state folder.
type Disk struct {
	Ceiling Bytes `yaml:"ceiling" json:"ceiling"`
}

// Metrics says where Prometheus finds the agent's metrics.
type Metrics struct {
	Listen string `yaml:"listen,omitempty" json:"listen,omitempty" public:"yes"` // host:port of an HTTP listener; "": none
	Remote bool   `yaml:"remote,omitempty" json:"remote,omitempty"`              // Listen may be reached from other machines
	File   string `yaml:"file,omitempty" json:"file,omitempty" public:"yes"`     // absolute path that ends in .prom; "": none
}

func (d *decoder) rate(to *Rate, what string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		s, ok := d.text(n, what)
		if !ok {
			return
		}
		v, err := ParseRate(s)
		if err == nil && (v < minRate || v > maxRate) {
			err = fmt.Errorf("%s is not from %s to %s", quote(s), Rate(minRate), Rate(maxRate))
		}
		if err != nil {
			d.problem(n.Line, "%s: %v", what, err)
			return
		}
		*to = v
	}
}

func (d *decoder) disk(n *yaml.Node, v *Disk) {
	d.mapping(n, "disk", fields{"ceiling": d.size(&v.Ceiling, "disk.ceiling", minCeiling, maxCeiling)})
}

func (d *decoder) metrics(n *yaml.Node) *Metrics {
	v := &Metrics{}
	d.mapping(n, "metrics", fields{
		"listen": d.str(&v.Listen, "metrics.listen", listenOn),
		"remote": d.boolean(&v.Remote, "metrics.remote"),
		"file":   d.str(&v.File, "metrics.file", metricsFile),
	})
	switch {
	case v.Listen == "" && v.File == "" && !d.hasKey(n, "listen") && !d.hasKey(n, "file"):
		d.problem(n.Line, "metrics: listen or file is missing")
	case v.Listen == "" && v.Remote:
		d.problem(n.Line, "metrics: remote goes with listen")
	case v.Listen != "" && !v.Remote && !loopback(v.Listen):
		d.problem(n.Line, "metrics: %s can be reached from other machines, without any password: listen on 127.0.0.1:PORT, or add remote: true", v.Listen)
	}
	return v
}

func listenOn(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err == nil && host != "localhost" && net.ParseIP(host) == nil {
		err = fmt.Errorf("%s is no address", quote(host))
	}
	if n, e := strconv.ParseUint(port, 10, 16); err == nil && (e != nil || n == 0) {
		err = fmt.Errorf("%s is no port", quote(port))
	}
	if err != nil {
		return fmt.Errorf("%s is no address and port as 127.0.0.1:9764", quote(s))
	}
	return nil
}

// loopback says whether nobody but this machine reaches an address.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// metricsFile is as node_exporter's textfile collector wants it.
func metricsFile(s string) error {
	if err := absolute(s); err != nil {
		return err
	}
	if !strings.HasSuffix(s, ".prom") {
		return fmt.Errorf("%s does not end in .prom, and node_exporter passes it over", quote(s))
	}
	return nil
}
