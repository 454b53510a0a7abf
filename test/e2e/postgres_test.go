//go:build e2e

package e2e

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/test/images"
)

// What runs PostgreSQL on a database in /data/db, fills it, puts load on it and looks at
// its tables and indexes: shell scripts, with $SERVER, the server's address.
const (
	postgres      = "export PATH=/usr/lib/postgresql/15/bin:$PATH; "
	postgresServe = `echo 'host all all all trust' >>/data/db/pg_hba.conf
LD_PRELOAD=/apps/user1000.so exec postgres -D /data/db -c listen_addresses='*' -k /tmp -c jit=off -c max_wal_size=256MB`
	postgresReady = postgres + "n=0; until pg_isready -q -h $SERVER; do [ $((n+=1)) -lt 600 ] || exit 1; sleep 0.1; done; "
	pgbench       = postgres + "exec pgbench -h $SERVER -U app postgres "
	pgbenchFill   = "-i -q -s "
	pgbenchLoad   = "-n -c 4 -T 36000 -P 1"
	amcheck       = postgres + "pg_amcheck -h 127.0.0.1 -U app --install-missing --heapallindexed postgres"
)

// PostgreSQL with its data in the layer, and once more in a volume, checkpointed under
// load: all transactions that were committed are there, and tables and indexes agree,
// in memory and once more after a restart from the files.
func TestPostgreSQLTravels(t *testing.T) {
	t.Parallel()
	image := postgresImage(t)
	for name, options := range map[string][]string{"postgres-layer": nil, "postgres-volume": {"-v", "/data"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			travel(t, name, func(file string) {
				p := &loaded{t: t, server: start(t, append(slices.Clone(options), image, "sh", "-c", postgres+postgresServe)...)}
				p.sh("SERVER=127.0.0.1; " + postgresReady + pgbench + pgbenchFill + "1")
				p.client = start(t, "--cpus", share, "-e", "SERVER="+p.server.address(), image, "sh", "-c", pgbench+pgbenchLoad)
				committed := 0
				if !until(patience, func() bool { committed = balances(p); return committed > 0 }) {
					t.Fatalf("pgbench does nothing: %s", p.client.logs("5"))
				}
				p.server.checkpoint("--leave-running=false", "--volumes")
				writeCount(t, file, committed)
				p.server.gone(file)
			}, func(file string) {
				committed := readCount(t, file)
				p := &loaded{t: t, server: arrived(t, file, "--tcp-close")}
				n := balances(p)
				if n < committed {
					t.Errorf("%d transactions, %d were committed", n, committed)
				}
				p.sh(amcheck)
				docker(t, "restart", "-t", "30", p.server.name)
				if got := balances(p); got != n {
					t.Errorf("%d transactions from the files, %d in memory", got, n)
				}
			})
		})
	}
}

// postgresImage returns the image of PostgreSQL, and makes it unless it was given.
func postgresImage(t *testing.T) string {
	t.Helper()
	if names := givenImages(); names != nil {
		return names[2]
	}
	image, err := images.PostgreSQL(".", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// balances returns the number of transactions, when the server is ready. One statement
// sees one moment.
func balances(p *loaded) int {
	p.t.Helper()
	sums, n, _ := strings.Cut(p.sh("SERVER=127.0.0.1; "+postgresReady+`psql -h 127.0.0.1 -U app -At -F ' ' postgres -c "SELECT (SELECT sum(abalance) FROM pgbench_accounts),
		(SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(tbalance) FROM pgbench_tellers), coalesce(sum(delta), 0), '=', count(*) FROM pgbench_history"`), " = ")
	p.equal("balances", sums)
	count, err := strconv.Atoi(n)
	if err != nil {
		p.t.Fatal(err)
	}
	return count
}
