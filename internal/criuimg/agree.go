package criuimg

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pagemap"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	"google.golang.org/protobuf/proto"
)

// CheckImages reads the images of a dump, or of a round if final is off, and
// returns what does not decode and what does not agree with the others. Pages
// are not read, their number is compared. Nothing means sound. Images of
// parents are checked by themselves.
func CheckImages(images fs.FS, final bool) []string {
	s := imageSet{images: images, files: map[uint32]bool{}, alive: map[uint32]bool{}}
	entries, err := fs.ReadDir(images, ".")
	if err != nil {
		return []string{err.Error()}
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".img") && !strings.HasPrefix(e.Name(), "pages-") {
			s.read(e.Name())
		}
	}
	s.want("inventory.img", "")
	if final {
		s.agree()
	}
	slices.Sort(s.problems)
	return slices.Compact(s.problems)
}

// imageSet is what the images of a directory say that others must match.
type imageSet struct {
	images   fs.FS
	problems []string
	tasks    []*pstree.PstreeEntry
	alive    map[uint32]bool // by pid: has memory
	files    map[uint32]bool // IDs in files.img
	opened   []descriptor
	tables   []descriptorTable
}

type descriptor struct {
	image string
	*fdinfo.FdinfoEntry
}

// descriptorTable is the ID of a task's fdinfo image.
type descriptorTable struct {
	image string
	id    uint32
}

func (s *imageSet) problem(format string, args ...any) {
	s.problems = append(s.problems, fmt.Sprintf(format, args...))
}

func (s *imageSet) has(name string) bool {
	_, err := fs.Stat(s.images, name)
	return err == nil
}

// want notes an image that is missing, and for whom.
func (s *imageSet) want(name, by string) {
	switch {
	case s.has(name):
	case by == "":
		s.problem("%s: missing", name)
	default:
		s.problem("%s: missing, %s has it", name, by)
	}
}

func (s *imageSet) read(name string) {
	pages := pageCount{}
	err := decode(s.images, name, func(m proto.Message) error {
		switch e := m.(type) {
		case *pstree.PstreeEntry:
			s.tasks = append(s.tasks, e)
		case *criu_core.CoreEntry:
			s.core(name, e)
		case *criu_core.TaskKobjIdsEntry:
			s.tables = append(s.tables, descriptorTable{name, e.GetFilesId()})
		case *fdinfo.FileEntry:
			s.files[e.GetId()] = true
		case *fdinfo.FdinfoEntry:
			s.opened = append(s.opened, descriptor{name, e})
		case *pagemap.PagemapHead:
			pages.id, pages.known = e.GetPagesId(), true
		case *pagemap.PagemapEntry:
			return pages.add(e)
		}
		return nil
	})
	if err != nil {
		s.problem("%s: %v", name, err)
		return
	}
	if pages.known {
		s.pages(name, pages)
	}
}

// States of a task, compel/include/uapi/task-state.h. The first and the third have
// memory.
const (
	taskAlive   = 1
	taskDead    = 2
	taskStopped = 3
	taskZombie  = 6
)

func (s *imageSet) core(name string, e *criu_core.CoreEntry) {
	state := e.GetTc().GetTaskState()
	if e.GetTc() == nil || state != taskAlive && state != taskStopped {
		return // of a thread, or a zombie
	}
	var pid uint32
	if _, err := fmt.Sscanf(name, "core-%d.img", &pid); err == nil {
		s.alive[pid] = true
	}
}

// agree compares the images of a whole dump.
func (s *imageSet) agree() {
	s.want("pstree.img", "")
	s.want("files.img", "")
	for _, t := range s.tasks {
		who := fmt.Sprintf("task %d", t.GetPid())
		s.want(fmt.Sprintf("core-%d.img", t.GetPid()), who)
		if !s.alive[t.GetPid()] {
			continue // of a zombie CRIU 4.2 writes a thread with any number
		}
		for _, thread := range t.GetThreads() {
			s.want(fmt.Sprintf("core-%d.img", thread), who)
		}
		s.want(fmt.Sprintf("mm-%d.img", t.GetPid()), who)
		s.want(fmt.Sprintf("pagemap-%d.img", t.GetPid()), who)
	}
	if s.has("pstree.img") && len(s.tasks) == 0 {
		s.problem("pstree.img: names no task")
	}
	for _, t := range s.tables {
		if t.id != 0 { // a zombie has none
			s.want(fmt.Sprintf("fdinfo-%d.img", t.id), t.image)
		}
	}
	for _, d := range s.opened {
		if !s.files[d.GetId()] {
			s.problem("%s: descriptor %d is of file %#x, which files.img has not", d.image, d.GetFd(), d.GetId())
		}
	}
}

// pageCount sums up what a pagemap says of its pages image.
type pageCount struct {
	known    bool
	id       uint32
	present  uint64
	inParent bool
}

func (p *pageCount) add(e *pagemap.PagemapEntry) error {
	n, err := nrPages(e)
	if err != nil {
		return err
	}
	flags := pageFlags(e)
	if flags&pageInParent != 0 {
		p.inParent = true
	}
	if flags&pagePresent != 0 {
		p.present += n
	}
	if p.present > maxPages {
		return fmt.Errorf("has %d pages", n)
	}
	return nil
}

// pages compares a pagemap with its pages image and its parent.
func (s *imageSet) pages(name string, p pageCount) {
	if p.inParent && !s.has("parent") {
		s.problem("%s: has pages in a parent, and there is no link to one", name)
	}
	image := fmt.Sprintf("pages-%d.img", p.id)
	info, err := fs.Stat(s.images, image)
	switch want := int64(p.present) * int64(os.Getpagesize()); {
	case err != nil && p.present > 0:
		s.want(image, name)
	case err == nil && info.Size() < want:
		s.problem("%s: has %d bytes, %s wants %d", image, info.Size(), name, want)
	}
}
