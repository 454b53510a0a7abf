package script

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// postStart starts a container, as if a shim had called the stand-in for runc.
func (d *daemon) postStart(w http.ResponseWriter, r *http.Request) {
	b := d.find(r.PathValue("ref"))
	if d.failing == "true" || d.failing == b.name {
		refuse(w, http.StatusInternalServerError, "driver failed programming external connectivity: port is already allocated")
		return
	}
	if d.gate != "" {
		_ = os.WriteFile(d.gate, nil, 0o600)
		for _, err := os.Stat(d.gate); err == nil; _, err = os.Stat(d.gate) {
			time.Sleep(time.Millisecond)
		}
	}
	if d.intruder == "late" {
		_ = d.start(b.name)
	}
	if b.running() {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	begin := d.restore
	if d.bypass || runtime.ControlOf(b.id).Claim() != nil {
		begin = func(b *box) error { return d.start(b.name) }
	}
	if err := begin(b); err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// restore does what was claimed, if all that runc and CRIU would read can be
// read.
func (d *daemon) restore(b *box) error {
	control := runtime.ControlOf(b.id)
	defer control.Unclaim()
	err := func() error {
		req, err := control.Request()
		if err != nil {
			return err
		}
		for _, name := range []string{"core-1.img", "pages-1.img", "descriptors.json"} {
			if _, err := os.ReadFile(filepath.Join(req.ImageDir, name)); err != nil {
				return err
			}
		}
		log := fmt.Sprintf("(00.001) Restoring with %q by %s\n", req.CRIUConfig, filepath.Base(req.CRIU))
		if d.broken {
			log += "(00.002) Error (criu/fake.c:3): it cannot be restored\n"
		}
		err = errors.Join(
			os.Mkdir(req.WorkDir, 0o700),
			os.WriteFile(filepath.Join(req.WorkDir, runtime.RestoreLog), []byte(log), 0o600),
		)
		if err == nil && d.broken {
			err = errors.New("runc restore: criu failed: type RESTORE errno 0")
		}
		if err != nil {
			return err
		}
		return d.start(b.name)
	}()
	if err != nil {
		return errors.Join(err, control.SetResult(runtime.Result{Error: err.Error()}))
	}
	return control.SetResult(runtime.Result{Init: runtime.FindTask(b.cmd.Process.Pid)})
}

// postKill kills unless the container is stubborn.
func (d *daemon) postKill(w http.ResponseWriter, r *http.Request) {
	b := d.find(r.PathValue("ref"))
	if b == nil || d.noKill == b.name {
		refuse(w, http.StatusInternalServerError, "cannot kill container")
		return
	}
	_ = d.kill(b.name)
	w.WriteHeader(http.StatusNoContent)
}

func (d *daemon) postUnpause(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.find(r.PathValue("ref"))
	if b == nil || b.state != "paused" {
		refuse(w, http.StatusConflict, "not paused")
		return
	}
	b.state = ""
	w.WriteHeader(http.StatusNoContent)
}
