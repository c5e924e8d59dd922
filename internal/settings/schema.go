package settings

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Bounds of the settings, and defaults that depend on others.
const (
	day = 24 * time.Hour

	defaultRandomDelay = 5 * time.Minute
	defaultWatch       = time.Minute
	maxConnectTimeout  = 120 * time.Second
	defaultTryTimeout  = 15 * time.Minute // clamscan takes a minute of CPU for 8 million signatures, and hosts are busy
	maxTryTimeout      = 6 * time.Hour
	minEventBytes      = 64 << 10
	maxEventBytes      = 1 << 30
	maxSupport         = 1 << 10
)

func (d *decoder) settings(doc *yaml.Node) *Settings {
	s := Default()
	d.mapping(doc, "", fields{
		"version": func(*yaml.Node) {},
		"sources": func(n *yaml.Node) {
			d.list(n, "sources", func(i int, n *yaml.Node) {
				s.Sources = append(s.Sources, d.source(n, fmt.Sprintf("sources[%d]", i)))
			})
		},
		"root": d.str(&s.Root, "root", absolute),
		"bases": func(n *yaml.Node) {
			d.list(n, "bases", func(i int, n *yaml.Node) {
				b := d.base(n, fmt.Sprintf("bases[%d]", i))
				if slices.ContainsFunc(s.Bases, func(other Base) bool { return other.Name == b.Name && b.Name != "" }) {
					d.problem(n.Line, "bases[%d]: base %s stands here again", i, b.Name)
				}
				s.Bases = append(s.Bases, b)
			})
		},
		"update":   func(n *yaml.Node) { d.update(n, &s.Update) },
		"import":   func(n *yaml.Node) { s.Import = d.imports(n) },
		"firewall": func(n *yaml.Node) { s.Firewall = d.firewall(n) },
		"log": func(n *yaml.Node) {
			d.mapping(n, "log", fields{
				"to":    d.str(&s.Log.To, "log.to", logTo),
				"level": d.str(&s.Log.Level, "log.level", oneOf(Levels())),
			})
		},
		"events": func(n *yaml.Node) {
			d.mapping(n, "events", fields{"max_bytes": d.size(&s.Events.MaxBytes, "events.max_bytes", minEventBytes, maxEventBytes)})
		},
		"modules":  func(n *yaml.Node) { d.modules(n, &s.Modules) },
		"disk":     func(n *yaml.Node) { d.disk(n, &s.Disk) },
		"metrics":  func(n *yaml.Node) { s.Metrics = d.metrics(n) },
		supportKey: d.str(&s.Support, supportKey, supportText),
	})
	return s
}

func (d *decoder) source(n *yaml.Node, what string) Source {
	var s Source
	d.mapping(n, what, fields{
		"url":               d.str(&s.URL, what+".url", sourceURL),
		"proxy":             d.str(&s.Proxy, what+".proxy", proxy),
		"proxy_credentials": d.str(&s.ProxyCredentials, what+".proxy_credentials", secretFile),
		"ca":                d.str(&s.CA, what+".ca", absolute),
		"token":             d.str(&s.Token, what+".token", secretFile),
		"credentials":       d.str(&s.Credentials, what+".credentials", secretFile),
		"plain_http":        d.boolean(&s.PlainHTTP, what+".plain_http"),
	})
	_, folder := s.Folder()
	switch {
	case s.URL == "":
		d.required(n, what, "url")
	case folder && (s.Proxy != "" || s.ProxyCredentials != ""):
		d.problem(n.Line, "%s: a folder has no proxy", what)
	case s.ProxyCredentials != "" && !strings.Contains(s.Proxy, "://"):
		d.problem(n.Line, "%s: proxy_credentials go with a proxy given by its URL", what)
	case !folder && s.Proxy == "":
		s.Proxy = "system"
	}
	d.who(n, what, s)
	return s
}

// who checks what a source is told of who asks.
func (d *decoder) who(n *yaml.Node, what string, s Source) {
	_, folder := s.Folder()
	u, err := url.Parse(s.URL)
	named := s.Token != "" || s.Credentials != ""
	switch {
	case folder && (named || s.CA != "" || s.PlainHTTP):
		d.problem(n.Line, "%s: a folder is read without ca, token, credentials and plain_http", what)
	case s.Token != "" && s.Credentials != "":
		d.problem(n.Line, "%s: token and credentials say twice who asks: keep one", what)
	case named && err == nil && u.User != nil:
		d.problem(n.Line, "%s: the url has credentials already: take them out of it", what)
	case named && !s.PlainHTTP && err == nil && u.Scheme == "http":
		d.problem(n.Line, "%s: the credentials would go unencrypted: make the url https, or add plain_http: true", what)
	case s.PlainHTTP && !named:
		d.problem(n.Line, "%s: plain_http goes with token or credentials", what)
	}
}

func (d *decoder) base(n *yaml.Node, what string) Base {
	b := DefaultBase("")
	at := func(key string) string { return what + "." + key }
	watch, timeout, tryTimeout := Duration(-1), Duration(0), Duration(0)
	var later engineNodes
	d.mapping(n, what, fields{
		"name":                d.str(&b.Name, at("name"), baseName),
		"engine":              d.str(&b.Engine, at("engine"), oneOf(Engines())),
		"clamav":              func(n *yaml.Node) { later.clamav = n },
		"yara":                func(n *yaml.Node) { later.yara = n },
		"samples":             func(n *yaml.Node) { later.samples = n },
		"deliver":             func(n *yaml.Node) { later.deliver = n },
		"try":                 d.command(&b.Try, at("try")),
		"took":                d.command(&b.Took, at("took")),
		"signal":              func(n *yaml.Node) { b.Signal = d.signal(n, at("signal")) },
		"health":              d.command(&b.Health, at("health")),
		"health_every":        d.duration(&b.HealthEvery, at("health_every"), time.Second, time.Hour),
		"watch":               d.duration(&watch, at("watch"), 0, day),
		"timeout":             d.duration(&timeout, at("timeout"), time.Second, time.Hour),
		"try_timeout":         d.duration(&tryTimeout, at("try_timeout"), time.Second, maxTryTimeout),
		"out_of_date":         d.duration(&b.OutOfDate, at("out_of_date"), time.Minute, 36500*day),
		"totally_out_of_date": d.duration(&b.TotallyOutOfDate, at("totally_out_of_date"), time.Minute, 36500*day),
	})
	if b.Name == "" {
		d.required(n, what, "name")
	}
	if b.Took != nil && b.Signal != nil {
		d.problem(n.Line, "%s: took and signal tell the engine twice: keep one", what)
	}
	d.engine(n, &b, what, later)
	if timeout > 0 {
		b.Timeout, b.TryTimeout = timeout, timeout // as whoever set it alone means it
	}
	if tryTimeout > 0 {
		b.TryTimeout = tryTimeout
	}
	switch {
	case !b.watched() && watch > 0:
		d.problem(n.Line, "%s: watch needs a health command to watch by", what)
	case b.watched() && watch < 0:
		b.Watch = Duration(defaultWatch)
	case watch > 0:
		b.Watch = watch
	}
	if (b.OutOfDate == 0) != (b.TotallyOutOfDate == 0) || b.OutOfDate != 0 && b.OutOfDate >= b.TotallyOutOfDate {
		d.problem(n.Line, "%s: set out_of_date and, longer than it, totally_out_of_date, or neither", what)
	}
	return b
}

// deliver reads where to deliver to; def is what the engine would have, or nil.
func (d *decoder) deliver(n *yaml.Node, what string, def *Deliver) *Deliver {
	v := &Deliver{Mode: 0o644}
	if def != nil {
		*v = *def
	}
	d.mapping(n, what, fields{
		"to":    d.str(&v.To, what+".to", deliverTo),
		"owner": d.str(&v.Owner, what+".owner", account),
		"group": d.str(&v.Group, what+".group", account),
		"mode": func(n *yaml.Node) {
			s, ok := d.text(n, what+".mode")
			if !ok {
				return
			}
			m, err := ParseMode(s)
			if err != nil {
				d.problem(n.Line, "%s.mode: %v", what, err)
				return
			}
			v.Mode = m
		},
	})
	if v.To == "" {
		d.required(n, what, "to")
	}
	return v
}

func (d *decoder) signal(n *yaml.Node, what string) *Signal {
	v := &Signal{Signal: "HUP"}
	d.mapping(n, what, fields{
		"pidfile": d.str(&v.Pidfile, what+".pidfile", absolute),
		"signal":  d.str(&v.Signal, what+".signal", oneOf(Signals())),
	})
	if v.Pidfile == "" {
		d.required(n, what, "pidfile")
	}
	return v
}

func (d *decoder) update(n *yaml.Node, u *Update) {
	delay := Duration(-1)
	d.mapping(n, "update", fields{
		"every":           d.duration(&u.Every, "update.every", time.Minute, 30*day),
		"random_delay":    d.duration(&delay, "update.random_delay", 0, 30*day),
		"bandwidth":       d.rate(&u.Bandwidth, "update.bandwidth"),
		"connect_timeout": d.duration(&u.ConnectTimeout, "update.connect_timeout", 0, maxConnectTimeout),
	})
	if u.ConnectTimeout == 0 {
		u.ConnectTimeout = Duration(maxConnectTimeout)
	}
	switch {
	case delay > u.Every:
		d.problem(n.Line, "update: random_delay %s is longer than every %s", delay, u.Every)
	case delay >= 0:
		u.RandomDelay = delay
	default:
		u.RandomDelay = min(Duration(defaultRandomDelay), u.Every/2)
	}
}

func (d *decoder) imports(n *yaml.Node) *Import {
	v := &Import{}
	d.mapping(n, "import", fields{"watch": d.str(&v.Watch, "import.watch", absolute)})
	if v.Watch == "" {
		d.required(n, "import", "watch")
	}
	return v
}

func (d *decoder) required(n *yaml.Node, what, key string) {
	if d.hasKey(n, key) {
		return // what is wrong with it was said
	}
	d.problem(n.Line, "%s: %s is missing", what, key)
}

func (d *decoder) hasKey(n *yaml.Node, key string) bool {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key && !isNull(n.Content[i+1]) {
			return true
		}
	}
	return n.Kind != yaml.MappingNode && !isNull(n)
}
