package main

import "fmt"

// spec is a case to measure.
type spec struct {
	name, about string
	image       string // base or apps
	command     []string
	mib         int // of memory that must be written
	tcp         bool
	count       int // of containers, or of checkpoints
	runs        int
	dockerRuns  int  // Docker takes 25 s for each GiB
	lazy        bool // restored by lazy pages, too
	restores    int  // of all but Docker
	dockerBacks int  // restores by Docker
	measure     func(*lab, spec) ([]Series, error)
	sizes       []int          // of what grows, and
	ofSize      func(int) spec // the case of one
	size        int            // of that
}

func cases(short bool) []spec {
	if short {
		list := []spec{small(1), memory(64, 1)}
		list = append(list, batch(2, 1), store(100, 1), lookIntoMemory(64, 1), lookIntoProcesses(20, 1))
		return append(list, growths(1, true)[:2]...) // the others are measured as the first
	}
	half, two, big := memory(512, 5), memory(2048, 5), redis(5)
	half.dockerBacks = 3
	two.dockerRuns, two.dockerBacks = 2, 1
	big.dockerRuns, big.dockerBacks = 2, 1
	list := []spec{
		small(9), memory(64, 7), half, two, sparse(5), processes(200, 5), files(5), tcp(200, 5), big,
		batch(8, 5), batch(32, 3), batch(100, 1), store(10000, 5),
		lookIntoMemory(2048, 5), lookIntoProcesses(200, 5),
	}
	return append(list, growths(3, false)...)
}

func (s spec) atMost(runs int) spec {
	s.runs, s.dockerRuns = min(s.runs, runs), min(s.dockerRuns, runs)
	s.restores, s.dockerBacks = min(s.restores, runs), min(s.dockerBacks, runs)
	return s
}

// one is a case of one container.
func one(s spec) spec {
	s.measure = measureContainer
	s.dockerRuns, s.restores, s.dockerBacks = s.runs, s.runs, min(s.runs, 3)
	if s.image == "" {
		s.image = "base"
	}
	return s
}

func tick(settings ...string) []string {
	return append([]string{"/workload", "tick", "file=" + beatInside}, settings...)
}

// beside runs a script in the background of the ticking program.
func beside(script string) []string {
	return []string{"sh", "-c", script + "\nexec /workload tick file=" + beatInside}
}

func small(runs int) spec {
	return one(spec{
		name: "small", about: "a shell loop beside the ticking program", runs: runs,
		command: beside(`(i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done) &`),
	})
}

func memory(mib, runs int) spec {
	return one(spec{
		name: fmt.Sprintf("%d-MiB", mib), about: fmt.Sprintf("%d MiB of incompressible memory, 1 %% of it written again each second", mib),
		runs: runs, mib: mib, lazy: mib >= 2048,
		command: tick(fmt.Sprintf("memory=%d", mib), fmt.Sprintf("rate=%d", mib<<10/100)),
	})
}

func sparse(runs int) spec {
	return one(spec{
		name: "2-GiB-sparse", about: "2 GiB, of which 64 MiB are incompressible, 448 MiB zeros that were written, the rest never touched",
		runs: runs, mib: 64 + 448,
		command: tick("memory=64", "zero=448", "untouched=1536", "rate=655"),
	})
}

func processes(count, runs int) spec {
	return one(spec{
		name: fmt.Sprintf("%d-processes", count), about: fmt.Sprintf("%d processes that sleep", count), runs: runs,
		command: beside(fmt.Sprintf(`for i in $(seq %d); do sleep 1000000 & done`, count)),
	})
}

func files(runs int) spec {
	return one(spec{name: "1000-files", about: "1000 open files", runs: runs, command: tick("files=1000")})
}

func tcp(count, runs int) spec {
	return one(spec{
		name: fmt.Sprintf("%d-connections", count), about: fmt.Sprintf("%d established TCP connections, both ends in the container", count),
		runs: runs, tcp: true, command: tick(fmt.Sprintf("tcp=%d", count)),
	})
}

// redis is loaded over a unix socket: Docker refuses TCP connections.
func redis(runs int) spec {
	return one(spec{
		name: "redis-1-GiB", about: "redis with 1 GiB of data, loaded by redis-benchmark", image: "apps", runs: runs, mib: 1024,
		command: beside(`redis-server --port 0 --unixsocket /tmp/redis --save '' --enable-debug-command yes >/dev/null &
until redis-cli -s /tmp/redis debug populate 900000 key 1024; do sleep 0.1; done
redis-benchmark -s /tmp/redis -c 4 -r 900000 -l -q -t set,get >/dev/null 2>&1 &`),
	})
}

func batch(count, runs int) spec {
	return spec{
		name: fmt.Sprintf("batch-of-%d", count), about: fmt.Sprintf("%d containers, each with a shell loop", count),
		image: "base", count: count, runs: runs, dockerRuns: 1, measure: measureBatch,
	}
}

func store(count, runs int) spec {
	return spec{
		name: fmt.Sprintf("store-of-%d", count), about: fmt.Sprintf("%d checkpoints of %d containers", count, count/perContainer(count)),
		count: count, runs: runs, image: "base", measure: measureStore,
	}
}

// perContainer is how many checkpoints each container of a store has.
func perContainer(count int) int { return min(100, count/10) }
