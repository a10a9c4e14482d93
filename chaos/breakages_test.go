package chaos

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/failpoint"
)

// breakages are the faults that a plan may have, by their kind. Each has ended when
// it returns, but for a death that is still to come.
func breakages() map[string]func(m *metamorphic, arg string) {
	return map[string]func(m *metamorphic, arg string){
		"kill":       func(m *metamorphic, arg string) { m.kill(m.gateway(arg)) },
		"stop":       func(m *metamorphic, arg string) { m.stop(m.gateway(arg)); m.start(m.gateway(arg)) },
		"die":        (*metamorphic).die,
		"freeze":     (*metamorphic).freeze,
		"server":     func(m *metamorphic, _ string) { m.restartServer(syscall.SIGTERM) },
		"serverkill": func(m *metamorphic, _ string) { m.restartServer(syscall.SIGKILL) },
		"reload":     func(m *metamorphic, _ string) { m.reload() },
		"pause":      (*metamorphic).pauseEndpoint,
		"lose":       (*metamorphic).lose, // never drawn: what it breaks is the promise
	}
}

// gateway is the one with a number, of those that there are.
func (m *metamorphic) gateway(number string) *gateway {
	n, _ := strconv.Atoi(number)
	return m.gateways[max(0, n)%len(m.gateways)]
}

// mend starts again what has killed itself.
func (m *metamorphic) mend() {
	m.Helper()
	for _, g := range m.gateways {
		if g.gone() {
			g.died()
			m.start(g)
		}
	}
}

// start starts a gateway that is not to die.
func (m *metamorphic) start(g *gateway) {
	m.Helper()
	if !g.start() {
		m.Fatalf("%s does not start", g.name)
	}
}

func (m *metamorphic) kill(g *gateway) {
	g.kill()
	m.pause(m.soon(300))
	m.start(g)
}

// stop ends a gateway in order, if it does not kill itself meanwhile.
func (m *metamorphic) stop(g *gateway) {
	m.Helper()
	cmd := g.cmd
	g.fault("SIGTERM "+g.name, 0)
	g.end(syscall.SIGTERM)
	switch {
	case bySIGKILL(cmd.ProcessState):
		g.fault("the death of "+g.name, killReach)
	case cmd.ProcessState.ExitCode() != 0:
		m.Errorf("%s ended with: %v", g.name, cmd.ProcessState)
	}
}

// die starts a gateway again, and tells it at which point to die, and the how
// manieth time that it gets there: "0:accepted:3". It may do so at once, later, or
// never.
func (m *metamorphic) die(arg string) {
	m.Helper()
	part := strings.Split(arg+"::", ":")
	g := m.gateway(part[0])
	hit, err := strconv.Atoi(part[2])
	if err != nil {
		m.Fatalf("die: %q: %v", arg, err)
	}
	m.stop(g)
	if !g.start(arm(failpoint.Point(part[1]), hit)) {
		g.died()
		m.start(g)
	}
}

// freeze stops a gateway for a while: it neither works nor hears anything.
func (m *metamorphic) freeze(arg string) {
	g := m.gateway(arg)
	fault := m.fault("SIGSTOP "+g.name, 0)
	// It may have killed itself: that is mended later.
	_ = g.cmd.Process.Signal(syscall.SIGSTOP)
	m.pause(m.soon(800))
	_ = g.cmd.Process.Signal(syscall.SIGCONT)
	m.pause(stopGrace)
	m.healed(fault)
}

// restartServer ends the NATS server and starts it again. One that is embedded
// takes its gateway with it.
func (m *metamorphic) restartServer(how syscall.Signal) {
	m.Helper()
	switch {
	case m.server == nil && how == syscall.SIGKILL:
		m.kill(m.gateways[0])
		return
	case m.server == nil:
		m.stop(m.gateways[0])
		m.start(m.gateways[0])
		return
	}
	fault := m.fault(map[syscall.Signal]string{syscall.SIGKILL: "kill -9", syscall.SIGTERM: "SIGTERM"}[how]+" the server", killReach)
	m.server.end(how)
	m.pause(m.soon(300))
	m.server.run()
	m.until("the gateways are ready again", func() bool {
		for _, g := range m.gateways {
			m.mend()
			if g.readyz() != "" {
				return false
			}
		}
		return true
	})
	m.healed(fault)
}

// reload gives the gateways another edition of the configuration.
func (m *metamorphic) reload() {
	m.Helper()
	m.edition++
	for _, g := range m.gateways {
		g.configure(m.nats, m.plan.yaml(m.edition))
		_ = g.cmd.Process.Signal(syscall.SIGHUP) // if it has died, it reads it at the start
	}
}

// pauseEndpoint pauses an endpoint, if the plan has it, and resumes it.
func (m *metamorphic) pauseEndpoint(endpoint string) {
	m.Helper()
	path := "/api/v1/endpoints/" + endpoint + "/"
	for _, known := range m.plan.endpoints {
		if known != endpoint {
			continue
		}
		m.until(endpoint+" is paused", func() bool { m.mend(); return m.gateways[0].post(path + "pause") })
		m.pause(m.soon(500))
		m.until(endpoint+" is resumed", func() bool { m.mend(); return m.gateways[0].post(path + "resume") })
	}
}

// lose takes deliveries of an endpoint away, which nothing can bring back.
func (m *metamorphic) lose(endpoint string) {
	m.Helper()
	path := "/api/v1/endpoints/" + endpoint + "/"
	m.until(endpoint+" is paused", func() bool { return m.gateways[0].post(path + "pause") })
	nc := m.operator(m.url()())
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		m.Fatal(err)
	}
	m.until("deliveries wait in its lane", func() bool {
		lanes, err := js.Stream(m.Context(), "FANJET_LANES")
		return err == nil && lanes.CachedInfo().State.Msgs > 0 && lanes.Purge(m.Context()) == nil
	})
	m.until(endpoint+" is resumed", func() bool { return m.gateways[0].post(path + "resume") })
}

// resumeAll resumes what has been paused, such as by answers 410.
func (m *metamorphic) resumeAll() {
	_, text, err := m.gateways[0].get("/api/v1/endpoints")
	var views []struct {
		Endpoint string          `json:"endpoint"`
		Pause    json.RawMessage `json:"pause"`
	}
	if err != nil || json.Unmarshal(text, &views) != nil {
		return // it is asked again
	}
	for _, v := range views {
		if v.Pause != nil {
			m.gateways[0].post("/api/v1/endpoints/" + v.Endpoint + "/resume")
		}
	}
}

// post acts over the API, and reports whether that succeeded.
func (g *gateway) post(path string) bool {
	g.mu.Lock()
	admin := g.admin
	g.mu.Unlock()
	client := http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Post(admin+path, "application/json", bytes.NewReader([]byte(`{"reason":"a test"}`)))
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
