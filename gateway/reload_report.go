package gateway

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.uber.org/zap"

	"fanjet/config"
)

// problems are what is wrong with a configuration, with file, line and column. A
// log line does not repeat thousands.
func problems(err error) []string {
	const most = 100
	found, ok := errors.AsType[*config.Errors](err)
	if !ok {
		return []string{err.Error()}
	}
	var list []string
	for _, p := range found.Problems[:min(len(found.Problems), most)] {
		list = append(list, p.String())
	}
	if more := len(found.Problems) - most; more > 0 {
		list = append(list, fmt.Sprintf("and %d more: `fanjet check` shows them", more))
	}
	return list
}

// reportReload logs what a reload changes.
func (g *Gateway) reportReload(before, after *config.Config, changes config.Changes) {
	for _, w := range after.Warnings {
		if !slices.Contains(before.Warnings, w) {
			g.log.Warn("configuration", zap.String("at", w.String()))
		}
	}
	if len(changes.Restart) > 0 {
		g.log.Warn("a part of the new configuration takes effect after a restart", zap.Strings("keys", changes.Restart))
	}
	if changes.None() {
		g.log.Debug("configuration reloaded; nothing has changed")
		return
	}
	fields := append(changed("endpoints", changes.Endpoints), changed("subscriptions", changes.Subscriptions)...)
	if changes.Egress {
		fields = append(fields, zap.Bool("egress_changed", true))
	}
	if changes.Admin {
		fields = append(fields, zap.Bool("admin_changed", true))
	}
	g.log.Info("configuration reloaded", fields...)
}

// changed describes what became of endpoints or subscriptions.
func changed(what string, names config.Names) []zap.Field {
	var fields []zap.Field
	for _, list := range []struct {
		verb  string
		names []string
	}{{"added", names.Added}, {"removed", names.Removed}, {"changed", names.Changed}} {
		if len(list.names) > 0 {
			fields = append(fields, zap.Int(what+"_"+list.verb, len(list.names)), zap.String(what+"_"+list.verb+"_names", someOf(list.names)))
		}
	}
	return fields
}

// summary is a change in a few words, such as "endpoints +1 -0 ~2", followed by what
// that is, file by file. Of very many things it names the first.
func summary(c config.Changes) string {
	count := func(what string, n config.Names) string {
		return fmt.Sprintf("%s +%d -%d ~%d", what, len(n.Added), len(n.Removed), len(n.Changed))
	}
	text := count("endpoints", c.Endpoints) + ", " + count("subscriptions", c.Subscriptions)
	if c.Egress {
		text += ", egress changed"
	}
	if c.Admin {
		text += ", admin changed"
	}
	if len(c.Restart) > 0 {
		text += ", after a restart: " + strings.Join(c.Restart, ", ")
	}
	return strings.Join(append([]string{text}, changesByFile(c)...), "; ")
}

// mostNamed bounds how many things a record names.
const mostNamed = 20

// changesByFile says what changed in each file, the main one first, such as
// "teams/a.yaml: endpoint billing added".
func changesByFile(c config.Changes) []string {
	in := make(map[string][]string)
	named, more := 0, 0
	note := func(file, text string) {
		if file == "" {
			return // it is not known
		}
		if named == mostNamed {
			more++
			return
		}
		named++
		in[file] = append(in[file], text)
	}
	for _, setting := range []struct {
		key     string
		changed bool
	}{{"defaults", c.Declared.Defaults}, {"egress", c.Egress}, {"admin", c.Admin}} {
		if setting.changed {
			note(c.Declared.Main, setting.key+" changed")
		}
	}
	for _, key := range c.Restart {
		note(c.Declared.Main, key+" waits for a restart")
	}
	for _, kind := range []struct {
		what  string
		names config.Names
		files map[string]string
	}{{"endpoint", c.Endpoints, c.Declared.Endpoints}, {"subscription", c.Subscriptions, c.Declared.Subscriptions}} {
		for _, list := range []struct {
			verb  string
			names []string
		}{{"added", kind.names.Added}, {"removed", kind.names.Removed}, {"changed", kind.names.Changed}} {
			for _, name := range list.names {
				note(kind.files[name], kind.what+" "+name+" "+list.verb)
			}
		}
	}
	var lines []string
	for _, file := range slices.SortedFunc(maps.Keys(in), func(a, b string) int {
		if main := c.Declared.Main; (a == main) != (b == main) {
			if a == main {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	}) {
		lines = append(lines, file+": "+strings.Join(in[file], ", "))
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return lines
}

// whyRefused is why a configuration is not in force, in a few words.
func whyRefused(err error) string {
	found, ok := errors.AsType[*config.Errors](err)
	if !ok {
		return err.Error()
	}
	text := found.Problems[0].String()
	if more := len(found.Problems) - 1; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// someOf lists names, but not thousands of them.
func someOf(names []string) string {
	const most = 10
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + ", …"
}

// reloadMetrics tell whether the configuration in force is the one in the file.
type reloadMetrics struct {
	success prometheus.Gauge
	at      prometheus.Gauge
	reloads *prometheus.CounterVec // result
}

const (
	reloadSuccess = "success"
	reloadFailure = "failure"
)

// newReloadMetrics counts the start as a success, but not as a reload.
func newReloadMetrics(reg prometheus.Registerer) reloadMetrics {
	f := promauto.With(reg)
	m := reloadMetrics{
		success: f.NewGauge(prometheus.GaugeOpts{
			Name: "fanjet_config_reload_success", Help: "1 if the latest load of the configuration succeeded, 0 if it failed and an earlier one is in force.",
		}),
		at: f.NewGauge(prometheus.GaugeOpts{
			Name: "fanjet_config_reload_timestamp_seconds", Help: "When the configuration was last loaded successfully, in seconds since 1970.",
		}),
		reloads: f.NewCounterVec(prometheus.CounterOpts{
			Name: "fanjet_config_reloads_total", Help: "Loads of the configuration after the start, by result.",
		}, []string{"result"}),
	}
	m.reloads.WithLabelValues(reloadSuccess)
	m.reloads.WithLabelValues(reloadFailure)
	m.success.Set(1)
	m.at.Set(float64(time.Now().UnixMilli()) / 1e3)
	return m
}

func (m reloadMetrics) succeeded() {
	m.success.Set(1)
	m.at.Set(float64(time.Now().UnixMilli()) / 1e3)
	m.reloads.WithLabelValues(reloadSuccess).Inc()
}

func (m reloadMetrics) refused() {
	m.success.Set(0)
	m.reloads.WithLabelValues(reloadFailure).Inc()
}
