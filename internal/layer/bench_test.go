package layer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkFinish is what a freeze costs more: a tree of 1 GiB of which 10 MiB
// changed since they were copied.
func BenchmarkFinish(b *testing.B) {
	for _, size := range []int{100 << 10, 1 << 20, 1 << 30} {
		b.Run(fmt.Sprintf("files of %d KiB", size>>10), func(b *testing.B) {
			root := b.TempDir()
			data := random(1, 1<<20)
			files := (1 << 30) / size
			name := func(i int) string { return filepath.Join(root, fmt.Sprint(i%100), fmt.Sprint(i)) }
			for i := range files {
				if err := os.MkdirAll(filepath.Dir(name(i)), 0o755); err != nil {
					b.Fatal(err)
				}
				f, err := os.Create(name(i))
				if err != nil {
					b.Fatal(err)
				}
				for at := 0; at < size; at += len(data) {
					if _, err := f.Write(data[:min(size, len(data))]); err != nil {
						b.Fatal(err)
					}
				}
				f.Close()
			}
			c, err := New(root, Plain, nil, filepath.Join(b.TempDir(), "stage"))
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = c.Remove() }()
			if err := c.Copy(context.Background()); err != nil {
				b.Fatal(err)
			}
			round, used := byte(2), int64(0)
			for b.Loop() {
				b.StopTimer()
				round++
				change(b, name, size, files, random(round, 10<<20))
				b.StartTimer()
				before := processor()
				if err := c.Finish(context.Background(), nil); err != nil {
					b.Fatal(err)
				}
				used += processor() - before
			}
			b.ReportMetric(float64(used)/float64(b.N)/1e6, "cpu-ms/op")
		})
	}
}

// processor is the time that this process has used, in nanoseconds: a busy machine
// does not change it much.
func processor() int64 {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

// change writes 10 MiB over what is there, spread over the tree.
func change(b *testing.B, name func(int) string, size, files int, data []byte) {
	b.Helper()
	part := min(size, 1<<20)
	for n, at := 0, 0; at < len(data); n, at = n+1, at+part {
		f, err := os.OpenFile(name(n*97%files), os.O_WRONLY, 0)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := f.WriteAt(data[at:min(at+part, len(data))], int64(n)*97<<20%int64(size)); err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}
