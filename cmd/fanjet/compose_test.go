package main

import (
	"context"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/nats-io/nats-server/v2/server"

	"fanjet/config"
	"fanjet/webhook"
)

// repository is the root of this module, seen from this package.
const repository = "../.."

// The services of docker-compose.yml that run fanjet.
var ownServices = []string{"gateway", "receiver", "publisher"}

// loadCompose reads docker-compose.yml as docker compose does, with every
// profile and nothing in the environment. It refuses what the specification
// does not know.
func loadCompose(t *testing.T) *types.Project {
	t.Helper()
	dir, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  dir,
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, "docker-compose.yml")}},
		Environment: types.Mapping{},
	}, loader.WithProfiles([]string{"*"}))
	if err != nil {
		t.Fatalf("docker-compose.yml: %v", err)
	}
	return project
}

func service(t *testing.T, project *types.Project, name string) types.ServiceConfig {
	t.Helper()
	s, err := project.GetService(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestComposeRefersToWhatExists checks files, the health checks that others
// wait for, and addresses on this machine.
func TestComposeRefersToWhatExists(t *testing.T) {
	t.Parallel()
	project := loadCompose(t)
	for name, s := range project.Services {
		for _, volume := range s.Volumes {
			if volume.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(volume.Source); err != nil {
				t.Errorf("%s: volumes: %v", name, err)
			}
		}
		for other, dependency := range s.DependsOn {
			target := service(t, project, other)
			if dependency.Condition == types.ServiceConditionHealthy && target.HealthCheck == nil {
				t.Errorf("%s waits until %s is healthy, but that has no health check", name, other)
			}
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is open to the network of this machine", name, port.Published)
			}
		}
		if slices.Contains(ownServices, name) != (s.Build != nil) {
			t.Errorf("%s: only what runs fanjet is built", name)
		}
		if s.Build != nil {
			if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
				t.Errorf("%s: build: %v", name, err)
			}
		}
	}
}

// TestComposeCommands runs every command line up to the point where the command
// would begin to work.
func TestComposeCommands(t *testing.T) {
	t.Parallel()
	project := loadCompose(t)
	_, entrypoint := dockerfile(t)
	for _, name := range ownServices {
		s := service(t, project, name)
		if err := parseCommandLine(t.Context(), s.Command, lookup(s)); err != nil {
			t.Errorf("%s: command: %v", name, err)
		}
		if s.HealthCheck == nil {
			continue
		}
		test := s.HealthCheck.Test
		if len(test) < 3 || test[0] != "CMD" || test[1] != entrypoint {
			t.Fatalf("%s: healthcheck: %q does not run %s, and the image has no shell", name, test, entrypoint)
		}
		if err := parseCommandLine(t.Context(), test[2:], lookup(s)); err != nil {
			t.Errorf("%s: healthcheck: %v", name, err)
		}
	}
}

// parseCommandLine reports whether the program takes a command line: the
// command, its flags, its arguments, and the variables that mirror flags.
func parseCommandLine(ctx context.Context, args []string, env func(string) (string, bool)) error {
	g := &globals{}
	root := newRootCommand(g)
	if err := g.fromEnvironment(root, env); err != nil {
		return err
	}
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	cmd.SetContext(ctx)
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// lookup finds the variables of a service.
func lookup(s types.ServiceConfig) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := s.Environment[name]
		if !ok || value == nil {
			return "", false
		}
		return *value, true
	}
}

// TestComposeConfiguration loads the gateway's configuration with the variables
// that its service has, and follows every address in it.
func TestComposeConfiguration(t *testing.T) {
	t.Parallel()
	project := loadCompose(t)
	gateway, receiver := service(t, project, "gateway"), service(t, project, "receiver")
	cfg, err := config.Load(mounted(t, gateway, flagValue(t, gateway.Command, "--config")), config.Options{LookupEnv: lookup(gateway)})
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Warnings) > 0 {
		t.Errorf("warnings: %v", cfg.Warnings)
	}
	if check := gateway.HealthCheck.Test; flagValue(t, check, "--config") != flagValue(t, gateway.Command, "--config") {
		t.Errorf("the health check reads another configuration: %q", check)
	}

	nats, err := url.Parse(cfg.NATS.URL)
	if err != nil {
		t.Fatal(err)
	}
	if nats.Host != "nats:4222" {
		t.Errorf("nats.url is %s, the service is nats", nats)
	}
	publisher := service(t, project, "publisher")
	if at, _ := lookup(publisher)("FANJET_NATS"); at != cfg.NATS.URL {
		t.Errorf("the publisher publishes at %q, the gateway reads at %q", at, cfg.NATS.URL)
	}

	_, port, err := net.SplitHostPort(flagValue(t, receiver.Command, "--addr"))
	if err != nil {
		t.Fatal(err)
	}
	endpoint := cfg.Endpoints[0]
	if endpoint.URL.Hostname() != "receiver" || endpoint.URL.Port() != port {
		t.Errorf("the endpoint is at %s, the receiver listens on port %s", endpoint.URL, port)
	}
	for _, allowed := range cfg.Egress.AllowCIDRs {
		if strconv.Itoa(int(allowed.Port)) != port {
			t.Errorf("egress allows %s to port %d, the receiver listens on %s", allowed.Prefix, allowed.Port, port)
		}
	}
	secret, _ := lookup(receiver)(listenSecretEnv)
	if _, err := webhook.NewVerifier(secret); err != nil {
		t.Errorf("the receiver's secret: %v", err)
	}
	if secret != endpoint.Secrets[0].Reveal() {
		t.Error("the receiver verifies with another secret than the gateway signs with")
	}
}

// TestComposeNATS checks the server's version, configuration and health check.
func TestComposeNATS(t *testing.T) {
	t.Parallel()
	nats := service(t, loadCompose(t), "nats")
	match := regexp.MustCompile(`^nats:(\d+)\.(\d+)-`).FindStringSubmatch(nats.Image)
	if match == nil {
		t.Fatalf("image %q does not name a version of NATS", nats.Image)
	}
	major, _ := strconv.Atoi(match[1])
	minor, _ := strconv.Atoi(match[2])
	if major < 2 || major == 2 && minor < 12 {
		t.Errorf("image %s is older than 2.12", nats.Image)
	}

	opts, err := server.ProcessConfigFile(mounted(t, nats, flagValue(t, nats.Command, "--config")))
	if err != nil {
		t.Fatal(err)
	}
	if !opts.JetStream || !opts.SyncAlways {
		t.Errorf("jetstream %v, sync always %v, want both", opts.JetStream, opts.SyncAlways)
	}
	if i := slices.IndexFunc(nats.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Target == opts.StoreDir }); i < 0 {
		t.Errorf("the streams are kept in %s, which is no volume", opts.StoreDir)
	}
	if !slices.ContainsFunc(nats.Ports, func(p types.ServicePortConfig) bool { return int(p.Target) == opts.Port }) {
		t.Errorf("the server listens on port %d, which is not published", opts.Port)
	}
	test := nats.HealthCheck.Test
	health, err := url.Parse(test[len(test)-1])
	if err != nil {
		t.Fatal(err)
	}
	if want := net.JoinHostPort(opts.HTTPHost, strconv.Itoa(opts.HTTPPort)); health.Host != want || health.Path != "/healthz" {
		t.Errorf("the health check asks %s, the server answers at %s", health, want)
	}
}

// flagValue returns the word after a flag.
func flagValue(t *testing.T, words []string, flag string) string {
	t.Helper()
	i := slices.Index(words, flag)
	if i < 0 || i+1 == len(words) {
		t.Fatalf("%q has no %s", words, flag)
	}
	return words[i+1]
}

// mounted returns the file of this machine that a service sees at target.
func mounted(t *testing.T, s types.ServiceConfig, target string) string {
	t.Helper()
	for _, volume := range s.Volumes {
		if volume.Target == target && volume.Type == types.VolumeTypeBind {
			return volume.Source
		}
	}
	t.Fatalf("%s: nothing is mounted at %s", s.Name, target)
	return ""
}
