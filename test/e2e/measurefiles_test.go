//go:build e2e && measure

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"
)

// TestMeasureFreezeWithFiles prints for how long a container with a layer of 1 GiB
// is frozen that writes 10 MiB of it all the while, with and without its files.
func TestMeasureFreezeWithFiles(t *testing.T) {
	const runs = 5
	for _, layer := range []struct{ name, fill, write string }{
		{"1024 files of 1 MiB", `for i in $(seq 1024); do dd if=/dev/urandom of=/f/$i bs=1M count=1 2>/dev/null; done`,
			`for i in 1 2 3 4 5 6 7 8 9 10; do dd if=/dev/zero of=/f/$i bs=1M count=1 conv=notrunc 2>/dev/null; done`},
		{"10,000 files of 100 KiB", `dd if=/dev/urandom of=/f/0 bs=100k count=1 2>/dev/null; for d in $(seq 100); do mkdir /f/d$d; for i in $(seq 100); do cp /f/0 /f/d$d/$i; done; done`,
			`for i in $(seq 100); do dd if=/dev/zero of=/f/d$i/7 bs=100k count=1 conv=notrunc 2>/dev/null; done`},
		{"one file of 1 GiB", `dd if=/dev/urandom of=/f/1 bs=1M count=1024 2>/dev/null`,
			`for i in 1 2 3 4 5 6 7 8 9 10; do dd if=/dev/zero of=/f/1 bs=1M count=1 seek=$((i*97)) conv=notrunc 2>/dev/null; done`},
	} {
		b := start(t, baseImage, "sh", "-c", "mkdir /f; "+layer.fill+"; i=0; while :; do i=$((i+1)); echo $i; "+layer.write+"; sleep 0.02; done")
		if !until(240*time.Second, func() bool { return b.count() > 3 }) {
			t.Fatal("the layer does not get full")
		}
		frozen := map[string][]time.Duration{}
		took := map[string][]time.Duration{}
		for range runs {
			for _, how := range []string{"--rootfs=false", "--rootfs"} {
				var made []struct{ Record record }
				took[how] = append(took[how], timed(func() {
					out := b.must(0, "checkpoint", b.name, "--name", "measured", how, "--json").stdout
					if err := json.Unmarshal([]byte(out), &made); err != nil {
						t.Fatal(err)
					}
				}))
				frozen[how] = append(frozen[how], time.Duration(made[0].Record.Stats.FrozenUS)*time.Microsecond)
				b.must(0, "rm", b.name, "measured")
			}
		}
		fmt.Fprintf(os.Stdout, "measure| %s | frozen %d ms without files, %d ms with | took %d ms, %d ms |\n", layer.name,
			median(frozen["--rootfs=false"]).Milliseconds(), median(frozen["--rootfs"]).Milliseconds(),
			median(took["--rootfs=false"]).Milliseconds(), median(took["--rootfs"]).Milliseconds())
		docker(t, "rm", "-f", b.name)
	}
}
