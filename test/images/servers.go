package images

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Servers makes an image of the applications that are checkpointed under load, and
// of their clients. It is large, and made for that test only.
func Servers(e2e, tmp string) (string, error) {
	packages := []string{
		"busybox-static", "nginx-light", "haproxy", "redis-server", "postgresql-15", "mariadb-server-core", "mariadb-client-core", "memcached",
		"openjdk-17-jdk-headless", "nodejs", "erlang-base", "php8.2-cli", "python3", "wrk", "apache2-utils", "sysbench", "libmemcached-tools",
	}
	inputs, err := filepath.Glob(filepath.Join(e2e, "testdata/apps/*"))
	if err != nil || inputs == nil {
		return "", fmt.Errorf("no files of the applications: %w", err)
	}
	counter := filepath.Join(tmp, "counter")
	if err := compile(e2e, "./counter", counter); err != nil {
		return "", err
	}
	inputs = append(inputs, counter)
	return importOnce("servers", packages, tmp, func(root string) error {
		if err := lighten(root); err != nil {
			return err
		}
		apps := filepath.Join(root, "apps")
		if err := addUser1000(apps, e2e); err != nil {
			return err
		}
		for _, file := range inputs {
			if err := copyInto(apps, file, 0o755); err != nil {
				return err
			}
		}
		page := strings.Repeat("what nginx serves and haproxy relays\n", 1000)
		if err := os.WriteFile(filepath.Join(apps, "page"), []byte(page), 0o644); err != nil {
			return err
		}
		return finishRoot(root, "")
	}, inputs...)
}

// PostgreSQL makes an image of PostgreSQL with a new database of user 1000 in /data/db,
// which would take half a minute where all is slow.
func PostgreSQL(e2e, tmp string) (string, error) {
	return importOnce("postgres", []string{"busybox-static", "postgresql-15"}, tmp, func(root string) error {
		if err := lighten(root); err != nil {
			return err
		}
		if err := finishRoot(root, ""); err != nil {
			return err
		}
		if err := addUser1000(filepath.Join(root, "apps"), e2e); err != nil {
			return err
		}
		return initDB(root)
	}, user1000(e2e))
}

func user1000(e2e string) string { return filepath.Join(e2e, "testdata/apps/user1000.c") }

// addUser1000 makes a directory with what lets root start PostgreSQL.
func addUser1000(dir, e2e string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	source := user1000(e2e)
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-o", filepath.Join(dir, "user1000.so"), source).CombinedOutput(); err != nil {
		return fmt.Errorf("cc %s: %w: %s", source, err, out)
	}
	return nil
}

func initDB(root string) error {
	const user = 1000
	// initdb looks which kinds of shared memory there are.
	shm := filepath.Join(root, "dev", "shm")
	if err := os.Mkdir(shm, 0o700); err != nil {
		return err
	}
	null := filepath.Join(root, "dev", "null")
	if err := unix.Mknod(null, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil {
		return fmt.Errorf("making %s: %w", null, err)
	}
	defer func() { _ = os.Remove(null) }() // it cannot be in the image
	for _, path := range []string{filepath.Join(root, "data"), shm, null} {
		if err := os.Chown(path, user, user); err != nil {
			return err
		}
	}
	cmd := exec.Command("/usr/lib/postgresql/15/bin/initdb", "-D", "/data/db", "-U", "app", "--auth", "trust",
		"--no-locale", "-E", "UTF8", "--no-sync", "--wal-segsize", "1")
	cmd.Dir, cmd.Env = "/", []string{"PATH=/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: user, Gid: user}}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

// lighten removes what is large and not needed: half of the time is Docker's import.
func lighten(root string) error {
	for _, heavy := range []string{
		"usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/i18n", "usr/share/perl", "usr/lib/jvm/*/jmods",
		"usr/lib/x86_64-linux-gnu/libLLVM*", "usr/lib/x86_64-linux-gnu/libz3*", "usr/lib/postgresql/*/lib/bitcode",
	} {
		found, err := filepath.Glob(filepath.Join(root, heavy))
		if err != nil {
			return err
		}
		for _, path := range found {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}
