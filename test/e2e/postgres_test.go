//go:build e2e && apps

package e2e

import (
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// PostgreSQL with its data in the layer, and once more in a volume, checkpointed under
// load: all transactions that were committed are there, and tables and indexes agree,
// in memory and once more after a restart from the files.
func TestPostgreSQLTravels(t *testing.T) {
	image := servers(t)
	all := applications("")
	pg := all[slices.IndexFunc(all, func(a application) bool { return a.name == "PostgreSQL" })]
	for name, options := range map[string][]string{"postgres-layer": nil, "postgres-volume": {"-v", "/data"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			travel(t, name, func(file string) {
				p := &loaded{t: t, server: start(t, append(slices.Clone(options), image, "sh", "-c", pg.server)...)}
				p.listens(pg.port)
				p.sh("SERVER=127.0.0.1; " + pg.prepare)
				p.client = start(t, "--cpus", share, "-e", "SERVER="+p.server.address(), image, "sh", "-c", pg.client)
				p.goesOn(balances)
				committed := balances(p)
				p.server.checkpoint("--leave-running=false", "--volumes")
				if err := os.WriteFile(file+".committed", []byte(strconv.Itoa(committed)), 0o600); err != nil {
					t.Fatal(err)
				}
				p.server.gone(file)
			}, func(file string) {
				data, err := os.ReadFile(file + ".committed")
				if err != nil {
					t.Fatal(err)
				}
				committed, err := strconv.Atoi(string(data))
				if err != nil {
					t.Fatal(err)
				}
				p := &loaded{t: t, server: arrived(t, file, "--tcp-close")}
				p.listens(pg.port)
				n := balances(p)
				if n < committed {
					t.Errorf("%d transactions, %d were committed", n, committed)
				}
				p.sh(postgres + "pg_amcheck -h 127.0.0.1 -U app --install-missing --heapallindexed postgres")
				docker(t, "restart", "-t", "30", p.server.name)
				p.listens(pg.port)
				p.sh(postgres + "until pg_isready -q -h 127.0.0.1; do sleep 0.1; done") // it listens before it is ready
				if got := balances(p); got != n {
					t.Errorf("%d transactions from the files, %d in memory", got, n)
				}
			})
		})
	}
}

// listens waits until the server takes connections.
func (p *loaded) listens(port string) {
	p.t.Helper()
	if !until(2*time.Minute, func() bool { return p.server.state() != "running" || accepts(p.server.address()+":"+port) }) || p.server.state() != "running" {
		p.t.Fatalf("the server does not listen: %s", p.server.logs("20"))
	}
}
