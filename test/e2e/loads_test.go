//go:build e2e && apps

package e2e

import (
	"fmt"
	"strconv"
	"strings"
)

// wrk's connections, and what it is started with. It waits 2 ms before each request.
const (
	connections = "8"
	wrk         = "exec wrk -t1 -c" + connections + " -d10h --timeout 60s -s /apps/answers.lua http://$SERVER:8000/"
)

// applications are those of the table. backend is the address of a server for
// haproxy.
func applications(backend string) []application {
	// Go listens by MPTCP, which CRIU cannot dump.
	plain := []string{"--sysctl", "net.mptcp.enabled=0"}
	return append([]application{
		servesPage("nginx", "nginx -v 2>&1 | sed 's,.*/,,'", "exec nginx -c /apps/nginx.conf -e /dev/stderr"),
		servesPage("haproxy", "haproxy -v | sed -n '1s,.*version \\([0-9.]*\\).*,\\1,p'", "exec haproxy -f /apps/haproxy.cfg", "-e", "BACKEND="+backend),
		// Java ends a connection over which nothing came for 30 s, if it is not told otherwise.
		countsAnswers("Java", javaBin+" -version 2>&1 | sed -n '1s,.*\"\\(.*\\)\".*,\\1,p'", "exec "+javaBin+" -Xmx128m -Dsun.net.httpserver.idleInterval=3600 /apps/Counter.java"),
		countsAnswers("Node.js", "node --version", "exec node /apps/counter.js"),
		countsAnswers("Erlang", "cat /usr/lib/erlang/releases/*/OTP_VERSION", "export HOME=/root; exec escript /apps/counter.erl"),
		countsAnswers("PHP", "php8.2 -r 'echo PHP_VERSION;'", "exec php8.2 /apps/counter.php"),
		countsAnswers("Python", "python3 --version | cut -d' ' -f2", "exec python3 /apps/counter.py"),
		countsAnswers("Go", "strings /apps/counter | grep -m1 -o 'go1[.][0-9.]*'", "exec /apps/counter", plain...),
	}, databases()...)
}

// javaBin is no package's /usr/bin/java: that is a link which only an installation makes.
const javaBin = "/usr/lib/jvm/java-17-openjdk-amd64/bin/java"

// servesPage is a server of one file. wrk compares each answer with it.
func servesPage(name, version, server string, options ...string) application {
	return application{
		name: name, version: version, options: options, server: server, port: "8000",
		load: "wrk, " + connections + " connections, a page of 36 KB", client: wrk + "page -- /apps/page " + connections, done: answers, end: endOfAnswers,
	}
}

// countsAnswers is a server that counts its answers in memory. wrk finds none left
// out, and none given twice.
func countsAnswers(name, version, server string, options ...string) application {
	return application{
		name: name, version: version, options: options, server: server, port: "8000",
		load: "wrk, " + connections + " connections, a counter", client: wrk + " -- " + connections, done: answers, end: endOfAnswers,
	}
}

// answers is the count that answers.lua prints.
func answers(p *loaded) int { return p.client.count() }

func endOfAnswers(p *loaded) string {
	out := p.endClient("INT")
	lines := strings.Split(out, "\n")
	n, err := strconv.Atoi(lines[len(lines)-1])
	if err != nil || complaintsBut(out, "errors: 0") {
		p.t.Fatalf("wrk says: %s", out[max(0, len(out)-2000):])
	}
	return fmt.Sprintf("%d answers, all right", n)
}

// complaintsBut says whether a client complains of more than the line given, which it
// must say.
func complaintsBut(out, line string) bool {
	return !strings.Contains(out, line) || complaints.MatchString(strings.ReplaceAll(out, line, ""))
}

func databases() []application {
	return []application{
		{
			name: "redis", version: "redis-server --version | sed 's,.*v=\\([0-9.]*\\).*,\\1,'", port: "6379",
			server: "exec redis-server --dir /data --appendonly yes --save '' --protected-mode no --enable-debug-command yes",
			load:   "redis-benchmark, 4 connections, INCR of 1000 keys, append-only file", client: "exec redis-benchmark -h $SERVER -c 4 -n 1000000000 -r 1000 -t incr",
			done: increments, check: func(p *loaded) { increments(p) },
			end: func(p *loaded) string {
				p.endClient("KILL")
				n := increments(p)
				if out := p.sh("cd /data/appendonlydir && for f in *.manifest; do redis-check-aof $f; done"); !strings.Contains(out, "is valid") {
					p.t.Errorf("redis-check-aof: %s", out)
				}
				p.sh("redis-cli debug loadaof")
				if loaded := p.sh(`redis-cli eval "` + sumOfKeys + ` return sum" 0`); loaded != strconv.Itoa(n) {
					p.t.Errorf("the append-only file has %s of %d increments", loaded, n)
				}
				return fmt.Sprintf("%d increments, no error", n)
			},
		},
		{
			name: "PostgreSQL", version: postgres + "postgres --version | sed 's,.* \\([0-9.]*\\) .*,\\1,'", port: "5432",
			server: postgres + "export LD_PRELOAD=/apps/user1000.so; mkdir -p /data/db; chown 1000 /data/db; initdb -D /data/db -U app --auth trust --no-locale -E UTF8 --no-sync; " +
				postgresServe,
			prepare: postgresReady + pgbench + pgbenchFill + "4",
			load:    "pgbench, 4 connections, TPC-B", client: pgbench + pgbenchLoad,
			done: balances, check: func(p *loaded) { balances(p) },
			end: func(p *loaded) string {
				p.endClient("KILL")
				n := balances(p)
				p.sh(amcheck)
				return fmt.Sprintf("%d transactions, no error", n)
			},
		},
		{
			name: "MariaDB", version: "mariadbd --version | sed 's,.*Ver \\([0-9.]*\\).*,\\1,'", port: "3306",
			server: `mkdir -p /data/db; mariadb-install-db --user=root --datadir=/data/db --skip-test-db >/dev/null
exec mariadbd --user=root --datadir=/data/db --socket=/tmp/mariadb.sock --skip-grant-tables --bind-address=0.0.0.0 --innodb-use-native-aio=0`,
			prepare: "mariadb --socket=/tmp/mariadb.sock -e 'CREATE DATABASE bank' && " + sysbench + "prepare",
			load:    "sysbench, 4 connections, transactions of three writes", client: "exec " + sysbench + "--threads=4 --time=36000 --report-interval=1 run",
			done: transfers, check: func(p *loaded) { transfers(p) },
			end: func(p *loaded) string {
				p.endClient("KILL")
				n := transfers(p)
				out := p.sh("mariadb --socket=/tmp/mariadb.sock -N bank -e 'CHECK TABLE accounts, tellers, history EXTENDED'")
				if strings.Count(out, "\n") != 2 || strings.Count(out, "OK") != 3 {
					p.t.Errorf("CHECK TABLE: %s", out)
				}
				return fmt.Sprintf("%d transactions, no error", n)
			},
		},
		{
			name: "memcached", version: "memcached --version | cut -d' ' -f2", port: "11211",
			server: "exec memcached -u root -m 256",
			load:   "memcaslap, 8 connections, half of the values compared", client: "exec memcaslap -s $SERVER:11211 -T 1 -c 8 -w 1k -t 10h -v 0.5 -S 1s",
			prepare: "printf 'set before 0 0 5\\r\\nvalue\\r\\nquit\\r\\n' | nc $SERVER 11211",
			done:    gets,
			check: func(p *loaded) {
				if out := p.sh("printf 'get before\\r\\nquit\\r\\n' | nc 127.0.0.1 11211"); !strings.Contains(out, "value") {
					p.t.Errorf("a value from before is gone: %q", out)
				}
			},
			end: func(p *loaded) string {
				out := p.endClient("KILL")
				for line := range strings.Lines(out) {
					name, n, ok := strings.Cut(strings.TrimSpace(line), ": ")
					if ok && (name == "verify_failed" || name == "get_misses" || name == "verify_misses") && n != "0" {
						p.t.Errorf("memcaslap says: %s", line)
					}
				}
				return fmt.Sprintf("%d gets, none missed, none wrong", gets(p))
			},
		},
	}
}

// sumOfKeys adds up the counters of redis-benchmark.
const sumOfKeys = "local sum = 0 for _, k in ipairs(redis.call('keys', 'counter:*')) do sum = sum + redis.call('get', k) end"

// increments are as many as the counters say together; a script sees both at one
// moment.
func increments(p *loaded) int {
	p.t.Helper()
	return p.equal("increments and counters", p.sh(`redis-cli eval "`+sumOfKeys+
		` return {sum, tonumber(redis.call('info', 'commandstats'):match('cmdstat_incr:calls=(%d+)') or 0)}" 0`))
}

const sysbench = "sysbench /apps/bank.lua --db-driver=mysql --mysql-host=$SERVER --mysql-user=root --mysql-db=bank "

// transfers returns the number of transactions. One statement sees one moment.
func transfers(p *loaded) int {
	p.t.Helper()
	query := func(text string) string {
		return p.sh(`mariadb --socket=/tmp/mariadb.sock -N bank -e "` + text + `"`)
	}
	p.equal("totals", query("SELECT (SELECT sum(total) FROM accounts), (SELECT sum(total) FROM tellers), (SELECT coalesce(sum(amount), 0) FROM history)"))
	n, err := strconv.Atoi(query("SELECT count(*) FROM history"))
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// gets is what memcached says.
func gets(p *loaded) int {
	p.t.Helper()
	for line := range strings.Lines(p.sh("printf 'stats\\r\\nquit\\r\\n' | nc 127.0.0.1 11211")) {
		if f := strings.Fields(line); len(f) == 3 && f[1] == "cmd_get" {
			n, _ := strconv.Atoi(f[2])
			return n
		}
	}
	p.t.Fatal("memcached has no cmd_get")
	return 0
}
