// Package images makes the images that the e2e suite and the benchmark run, from
// Debian packages: nothing is pulled.
package images

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Base makes an image of busybox and the workload, with a user and a
// directory behind a symbolic link. e2e is the directory of the e2e suite.
func Base(e2e, tmp string) (string, error) {
	workload, err := Workload(e2e, tmp)
	if err != nil {
		return "", err
	}
	return importOnce("base", []string{"busybox-static"}, tmp, func(root string) error {
		return finishRoot(root, workload)
	}, workload)
}

// Workload builds the program that runs in the containers, and returns its path.
func Workload(e2e, tmp string) (string, error) {
	workload := filepath.Join(tmp, "workload")
	return workload, compile(e2e, "./workload", workload)
}

// compile builds a static Go program.
func compile(dir, program, to string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-o", to, program)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", program, err, out)
	}
	return nil
}

// Apps makes an image of real servers, with busybox to look into it.
func Apps(e2e, tmp string) (string, error) {
	packages := []string{"busybox-static", "nginx-light", "redis-server", "python3"}
	config := []string{filepath.Join(e2e, "testdata/nginx.conf"), filepath.Join(e2e, "testdata/workers.py")}
	return importOnce("apps", packages, tmp, func(root string) error {
		for _, file := range config {
			if err := copyInto(root, file, 0o644); err != nil {
				return err
			}
		}
		return finishRoot(root, "")
	}, config...)
}

// Registry makes an image of a registry, docker-registry serve /registry.yml, and of
// skopeo.
func Registry(e2e, tmp string) (string, error) {
	config := filepath.Join(e2e, "testdata/registry.yml")
	return importOnce("registry", []string{"busybox-static", "docker-registry", "skopeo"}, tmp, func(root string) error {
		if err := copyInto(root, config, 0o644); err != nil {
			return err
		}
		return finishRoot(root, "")
	}, config)
}

func finishRoot(root, workload string) error {
	dirs := []string{"bin", "etc", "tmp", "proc", "sys", "dev", "run", "root", "data", "real", "var/lib/nginx", "var/log/nginx"}
	for _, d := range dirs {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(root, "tmp"), 0o1777); err != nil {
		return err
	}
	if err := os.Symlink("real", filepath.Join(root, "link")); err != nil {
		return err
	}
	users := "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"
	groups := "root:x:0:\napp:x:1000:\nnogroup:x:65534:\n"
	for name, text := range map[string]string{"passwd": users, "group": groups} {
		if err := os.WriteFile(filepath.Join(root, "etc", name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if workload != "" {
		if err := copyInto(root, workload, 0o755); err != nil {
			return err
		}
	}
	bin := filepath.Join(root, "bin")
	applets, err := exec.Command(filepath.Join(bin, "busybox"), "--list").Output()
	if err != nil {
		return err
	}
	for _, a := range strings.Fields(string(applets)) {
		if err := os.Symlink("busybox", filepath.Join(bin, a)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return nil
}

func copyInto(root, file string, mode fs.FileMode) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, filepath.Base(file)), data, mode)
}

// importOnce imports a root of unpacked packages, unless an image of the same
// recipe is there. Nothing is pulled. It waits for others that make an image: the name
// would go to another image while the first is in use.
func importOnce(name string, packages []string, tmp string, finish func(root string) error, inputs ...string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, "recipe 1", packages)
	for _, file := range inputs {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%x\n", sha256.Sum256(data))
	}
	image := fmt.Sprintf("checkpointctl-e2e/%s:%s", name, hex.EncodeToString(h.Sum(nil))[:12])
	lock, err := os.Open(os.TempDir())
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("locking %s: %w", lock.Name(), err)
	}
	if exec.Command("docker", "image", "inspect", image).Run() == nil {
		return image, nil
	}
	root := filepath.Join(tmp, name+"-root")
	if err := unpack(root, packages); err != nil {
		return "", err
	}
	if err := finish(root); err != nil {
		return "", err
	}
	cmd := exec.Command("docker", "import", "-", image)
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return "", err
	}
	tarErr := writeTar(in, root)
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		return "", fmt.Errorf("docker import: %w: %s", err, out)
	}
	if tarErr != nil {
		return "", tarErr
	}
	return image, os.RemoveAll(root)
}

// unpack downloads packages with their dependencies by this machine's apt and
// unpacks them. An empty status file makes apt see nothing as installed.
func unpack(root string, packages []string) error {
	cache, err := os.MkdirTemp("", "ckpt-e2e-apt-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(cache)
	status := filepath.Join(cache, "status")
	if err := os.WriteFile(status, nil, 0o644); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(cache, "archives", "partial"), 0o755); err != nil {
		return err
	}
	args := append([]string{
		"-qq", "-y", "-o", "Dir::State::status=" + status, "-o", "Dir::Cache=" + cache, "-o", "APT::Sandbox::User=root",
		"-o", "APT::Install-Recommends=false", "-o", "Debug::NoLocking=true", "--download-only", "install",
	}, packages...)
	if exec.Command("apt-get", args...).Run() != nil {
		// The package lists may be missing or old.
		if out, err := exec.Command("apt-get", "-qq", "update").CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get update: %w: %s", err, out)
		}
		if out, err := exec.Command("apt-get", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("downloading %v: %w: %s", packages, err, out)
		}
	}
	debs, err := filepath.Glob(filepath.Join(cache, "archives", "*.deb"))
	if err != nil || debs == nil {
		return fmt.Errorf("apt downloaded nothing for %v", packages)
	}
	for _, deb := range debs {
		if out, err := exec.Command("dpkg-deb", "-x", deb, root).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", filepath.Base(deb), err, out)
		}
	}
	return nil
}

func writeTar(w io.Writer, root string) error {
	tw := tar.NewWriter(w)
	if err := tw.AddFS(os.DirFS(root)); err != nil {
		return err
	}
	return tw.Close()
}
