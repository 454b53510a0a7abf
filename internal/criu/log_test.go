package criu

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const rlimitNoise = "(00.000010) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted\n"

func TestFirstError(t *testing.T) {
	for name, test := range map[string]struct {
		log, first, hint string
	}{
		"tcp": {
			"(00.1) a\n(00.2) Error (criu/sk-inet.c:191): inet: Connected TCP socket, consider using --tcp-established option.\n(00.3) Error (criu/cr-dump.c:2128): Dumping FAILED.\n",
			"Connected TCP socket", "--tcp-established",
		},
		"lock": {
			"(00.2) Error (criu/file-lock.c:110): Some file locks are hold by dumping tasks! You can try --file-locks to dump them.\n",
			"Some file locks", "--file-locks",
		},
		"unix socket": {
			"(00.2) Error (criu/sk-unix.c:864): unix: External socket is used. Consider using --ext-unix-sk option.\n",
			"External socket", "--ext-unix-sk",
		},
		"ghost": {
			"(00.2) Error (criu/files-reg.c:1031): Can't dump ghost file /x of 2097152 size, increase limit\n",
			"ghost file", "--ghost-limit",
		},
		"bad size": {
			"(00.2)      1: Error (criu/files-reg.c:2138): File data/file has bad size 19 (expect 4)\n",
			"bad size", "changed since the checkpoint",
		},
		"address gone": {
			"(00.2)      7: Error (criu/sk-inet.c:1104): inet: Can't bind inet socket (id 12): Cannot assign requested address\n",
			"Can't bind inet socket", "--tcp-close",
		},
		"pid taken": {
			"(00.2) Error (criu/cr-restore.c:1213): Can't fork for 7: File exists\n",
			"Can't fork for 7", "pid is taken",
		},
		"old criu": {
			"(00.2) Error (criu/vdso.c:621): vdso: Unexpected rt vDSO area bounds\n",
			"rt vDSO", "too old",
		},
		"device": {
			"(00.2) Error (criu/files-ext.c:98): Can't dump file 5 of that type [20666] (chr 10:200 /dev/net/tun)\n",
			"of that type", "cannot dump",
		},
		"first of several": {
			"(00.1) Error (criu/a.c:1): the cause\n(00.2) Error (criu/b.c:2): the consequence\n",
			"the cause", "",
		},
		// The meaning may stand in a later line than the first error.
		"cause later": {
			"(00.1) Error (criu/a.c:1): write failed\n(00.2) Error (criu/b.c:2): No space left on device\n",
			"write failed", "filesystem is full",
		},
		"cut by a full disk":   {"(00.1) page-xfer: buf 100/1\n(00.2) Error (criu/page-xfe", "criu/page-xfe", "filesystem is full"},
		"cut without an error": {"(00.1) page-xfer: buf", "", ""},
		"noise only":           {rlimitNoise, "", ""},
		"noise before":         {rlimitNoise + "(00.2) Error (criu/x.c:1): real\n", "real", ""},
		"the word only": {
			"(00.1) Errors so far: 0\n(00.2) Dumping finished successfully\n", "", "",
		},
		"empty": {"", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := FirstError(strings.NewReader(test.log))
			if err != nil {
				t.Fatal(err)
			}
			last := ""
			if len(got.Lines) > 0 {
				last = got.Lines[len(got.Lines)-1]
			}
			if (test.first == "") != (last == "") || !strings.Contains(last, test.first) {
				t.Errorf("first error %q, want %q", last, test.first)
			}
			if (test.hint == "") != (got.Hint == "") || !strings.Contains(got.Hint, test.hint) {
				t.Errorf("hint %q, want %q", got.Hint, test.hint)
			}
		})
	}
}

func TestFirstErrorShowsFiveLinesBefore(t *testing.T) {
	got, err := FirstError(strings.NewReader("1\n2\n3\n4\n5\n6\n7\n(0) Error (a.c:1): x\n8\n"))
	if want := "3 4 5 6 7 (0) Error (a.c:1): x"; err != nil || strings.Join(got.Lines, " ") != want {
		t.Errorf("got %q, %v", got.Lines, err)
	}
}

// A log of a dump that went well has no error in it.
func TestFirstErrorOfASuccess(t *testing.T) {
	f, err := os.Open(filepath.Join("testdata", "success.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := FirstError(f)
	if err != nil || got.Lines != nil || got.Hint != "" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func FuzzFirstError(f *testing.F) {
	f.Add(rlimitNoise + "(00.2) Error (criu/x.c:1): real\n")
	f.Fuzz(func(t *testing.T, log string) {
		got, err := FirstError(strings.NewReader(log))
		if err != nil {
			return // a line beyond all measure
		}
		if len(got.Lines) > before+1 {
			t.Errorf("%d lines", len(got.Lines))
		}
		for _, line := range got.Lines {
			if !strings.Contains(log, line) {
				t.Errorf("%q is not of the log", line)
			}
		}
		if len(got.Lines) > 0 && !isError(got.Lines[len(got.Lines)-1]) {
			t.Errorf("ends with %q", got.Lines[len(got.Lines)-1])
		}
		if got.Lines == nil && got.Hint != "" {
			t.Errorf("hint %q on no error", got.Hint)
		}
	})
}
