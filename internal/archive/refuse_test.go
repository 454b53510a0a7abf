package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/signature"
)

// entry is one of a tar that is made by hand.
type entry struct {
	tar.Header
	data string
}

func file(name, data string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(data)), Mode: 0o600}, data}
}

func pack(t testing.TB, entries []entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func described(name, data string) metadata.File {
	sum := sha256.Sum256([]byte(data))
	return metadata.File{Name: name, SizeBytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
}

func sound() metadata.Record {
	r := record("x")
	r.SchemaVersion, r.ID = metadata.SchemaVersion, id
	r.Files = []metadata.File{described("core-1.img", "core"), described("dump.log", "log")}
	return r
}

func recordOf(t *testing.T, r metadata.Record) entry {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return file("container.json", string(data))
}

// hostile are archives that are refused, and what is said.
func hostile(t *testing.T) map[string]struct {
	archive []byte
	want    string
} {
	t.Helper()
	type bad = struct {
		archive []byte
		want    string
	}
	core, log := file("checkpoint/core-1.img", "core"), file("dump.log", "log")
	with := func(more ...entry) []byte { return pack(t, append([]entry{recordOf(t, sound()), core}, more...)) }
	changed := func(change func(*metadata.Record)) []byte {
		r := sound()
		change(&r)
		return pack(t, []entry{recordOf(t, r), core, log})
	}
	odd := func(kind byte, name, link string) entry {
		return entry{tar.Header{Typeflag: kind, Name: name, Linkname: link, Mode: 0o777}, ""}
	}
	text := func(replace, by string) []byte {
		e := recordOf(t, sound())
		e.data = strings.Replace(e.data, replace, by, 1)
		e.Size = int64(len(e.data))
		return pack(t, []entry{e, core, log})
	}
	sparse := file("dump.log", "log")
	sparse.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "x"}
	whole := pack(t, []entry{recordOf(t, sound()), core, log})
	return map[string]bad{
		"empty":                {nil, "shorter than any archive"},
		"no tar":               {bytes.Repeat([]byte("x"), 2000), "cut short or damaged"},
		"zeros":                {make([]byte, 4096), "cut short or damaged"},
		"of another program":   {pack(t, []entry{file("config.dump", "{}")}), `first entry is "config.dump"`},
		"no files":             {with(), `entry "dump.log" is missing`},
		"cut":                  {whole[:len(whole)-3000], "cut short or damaged"},
		"something behind":     {append(bytes.Clone(whole), 'x'), "something is behind its end"},
		"a second tar behind":  {append(bytes.Clone(whole), whole...), "something is behind its end"},
		"twice":                {with(log, log), `entry "dump.log" is there twice`},
		"twice by Podman":      {with(log, file("config.dump", "{}"), file("config.dump", "{}")), `entry "config.dump" is there twice`},
		"unknown":              {with(log, file("checkpoint/more.img", "x")), `entry "checkpoint/more.img" is there twice, or is not of the record`},
		"record twice":         {with(log, recordOf(t, sound())), `entry "container.json" is there twice`},
		"symbolic link":        {with(odd(tar.TypeSymlink, "dump.log", "/etc/passwd")), `entry "dump.log" is a symbolic link`},
		"hard link":            {with(odd(tar.TypeLink, "dump.log", "checkpoint/core-1.img")), `entry "dump.log" is a hard link`},
		"device":               {with(odd(tar.TypeBlock, "dump.log", "")), `entry "dump.log" is a device`},
		"FIFO":                 {with(odd(tar.TypeFifo, "dump.log", "")), `entry "dump.log" is a FIFO`},
		"directory":            {with(odd(tar.TypeDir, "etc/", "")), `entry "etc/" has a name`},
		"a directory twice":    {with(log, odd(tar.TypeDir, "checkpoint/", ""), odd(tar.TypeDir, "checkpoint/", "")), `entry "checkpoint/" is there twice`},
		"file as a directory":  {with(odd(tar.TypeDir, "dump.log", "")), `entry "dump.log`},
		"absolute":             {with(file("/etc/passwd", "x")), `entry "/etc/passwd" has an absolute name`},
		"up":                   {with(file("../x", "x")), `entry "../x" has a name that leads elsewhere`},
		"up in between":        {with(file("checkpoint/../../x", "x")), "leads elsewhere"},
		"not clean":            {with(file("./dump.log", "log")), "leads elsewhere"},
		"extended attributes":  {with(sparse), `entry "dump.log" has a "SCHILY.xattr`},
		"larger":               {with(file("dump.log", "logs")), "dump.log: has 4 bytes, its record says 3"},
		"other content":        {with(file("dump.log", "lag")), "dump.log: its content is not what its record says"},
		"record is no JSON":    {pack(t, []entry{file("container.json", "{")}), "container.json: unexpected end"},
		"record is long":       {text(`}]}`, `}]}x`), "after top-level value"},
		"unknown key":          {text(`{`, `{"upper":1,`), `unknown field "upper"`},
		"later schema":         {changed(func(r *metadata.Record) { r.SchemaVersion = 99 }), "schema_version 99"},
		"no schema":            {changed(func(r *metadata.Record) { r.SchemaVersion = 0 }), "schema_version 0"},
		"name leads elsewhere": {changed(func(r *metadata.Record) { r.Name = "../web" }), "bad name"},
		"hidden name":          {changed(func(r *metadata.Record) { r.Checkpoint = ".new-x" }), "bad name"},
		"rounds alone":         {changed(func(r *metadata.Record) { r.Kind = metadata.KindPreDump }), `kind "pre-dump"`},
		"a parent":             {changed(func(r *metadata.Record) { r.Parent = "y" }), "it needs y, which is not in it"},
		"no ID":                {changed(func(r *metadata.Record) { r.ID = "a" }), "is not of a container"},
		"file leads elsewhere": {changed(func(r *metadata.Record) { r.Files[0].Name = "../../x" }), `bad name "../../x"`},
		"file of no round":     {changed(func(r *metadata.Record) { r.Files[0].Name = "pre-dump/1/core-1.img" }), "is not the place of a file"},
		"file for a link":      {changed(func(r *metadata.Record) { r.Files[0].Name = "parent" }), `"parent" is not the place of a file`},
		"record as a file":     {changed(func(r *metadata.Record) { r.Files[0].Name = "container.json" }), "bad name"},
		"file twice":           {changed(func(r *metadata.Record) { r.Files[0].Name = "dump.log" }), `bad name "dump.log"`},
		"negative size":        {changed(func(r *metadata.Record) { r.Files[0].SizeBytes = -1 }), "size -1"},
		"no sum":               {changed(func(r *metadata.Record) { r.Files[0].SHA256 = "" }), `SHA-256 ""`},
		"declared bomb":        {changed(func(r *metadata.Record) { r.Files[0].SizeBytes = 1 << 50 }), "declares more than 1073741824 bytes"},
		"sum that overflows": {changed(func(r *metadata.Record) {
			r.Files[0].SizeBytes, r.Files[1].SizeBytes = 1<<62, 1<<62
		}), "declares more than"},
		"many rounds": {changed(func(r *metadata.Record) { r.PreDump = &metadata.PreDump{Rounds: make([]metadata.Round, 1001)} }), "1001 rounds"},
	}
}

func TestRefused(t *testing.T) {
	for name, test := range hostile(t) {
		t.Run(name, func(t *testing.T) {
			s := store(t)
			_, err := importer(s).Read(context.Background(), bytes.NewReader(test.archive))
			if !errors.Is(err, ErrRefused) && !errors.Is(err, metadata.ErrBadName) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			nothing(t, s)
		})
	}
}

// A bomb is not unpacked: what is declared is compared first, and more than that
// is not read.
func TestBomb(t *testing.T) {
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	e := recordOf(t, sound())
	huge := tar.Header{Typeflag: tar.TypeReg, Name: "config.dump", Size: 64 << 20, Mode: 0o600}
	for _, err := range []error{w.WriteHeader(&e.Header), func() error { _, err := w.Write([]byte(e.data)); return err }(), w.WriteHeader(&huge)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write(make([]byte, 64<<20)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	s := store(t)
	_, err = importer(s).Read(context.Background(), &out)
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), `"config.dump" has 67108864 bytes`) {
		t.Errorf("got %v", err)
	}
	nothing(t, s)
}

func TestImagesThatDoNotAgree(t *testing.T) {
	s := store(t)
	i := importer(s)
	i.Problems = func(dir string, r metadata.Record) []string {
		if data, err := os.ReadFile(filepath.Join(dir, "core-1.img")); err != nil || string(data) != "core" || r.Name != "web" {
			t.Errorf("%q, %v", data, err)
		}
		return []string{"core-1.img: its magic is not CORE"}
	}
	r := sound()
	_, err := i.Read(context.Background(), bytes.NewReader(pack(t, []entry{recordOf(t, r), file("checkpoint/core-1.img", "core"), file("dump.log", "log")})))
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "its magic is not CORE") {
		t.Errorf("got %v", err)
	}
	nothing(t, s)
}

// A signature by ssh-keygen's key is of all that the record names.
func TestSigned(t *testing.T) {
	keys := t.TempDir()
	for _, name := range []string{"mine", "other"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(keys, name)).CombinedOutput(); err != nil {
			t.Skipf("no ssh-keygen: %v: %s", err, out)
		}
	}
	key, err := signature.ReadKey(filepath.Join(keys, "mine"))
	if err != nil {
		t.Fatal(err)
	}
	allowed := func(name string) signature.Allowed {
		a, err := signature.ReadAllowed(filepath.Join(keys, name+".pub"))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	from := store(t)
	r := publish(t, from, record("x"), plain())
	signed, unsigned := export(t, Export{Store: from, Compression: None, Sign: key}, r), export(t, Export{Store: from, Compression: None}, r)
	s := store(t)
	for name, test := range map[string]struct {
		by      string
		archive []byte
	}{
		"by another":        {"other", signed},
		"unsigned":          {"mine", unsigned},
		"a changed record":  {"mine", bytes.Replace(signed, []byte(`"image": "app:1"`), []byte(`"image": "app:2"`), 1)},
		"a changed content": {"mine", bytes.Replace(signed, []byte("core"+strings.Repeat("\x00", 100)), []byte("cora"+strings.Repeat("\x00", 100)), 1)},
	} {
		i := importer(s)
		i.SignedBy = allowed(test.by)
		if _, err := i.Read(context.Background(), bytes.NewReader(test.archive)); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
		nothing(t, s)
	}
	i := importer(s)
	i.SignedBy = allowed("mine")
	got, err := i.Read(context.Background(), bytes.NewReader(signed))
	if err != nil || !strings.Contains(got.Imported.SignedBy, "SHA256:") {
		t.Errorf("%v, %v", got.Imported, err)
	}
	// Nobody asked for it.
	i = importer(store(t))
	if got, err = i.Read(context.Background(), bytes.NewReader(signed)); err != nil || got.Imported.SignedBy != "" {
		t.Errorf("%v, %v", got.Imported, err)
	}
}

// Whatever an archive holds, it is refused and leaves nothing, or what is in the
// store is as its record says, and in its own place.
func FuzzImport(f *testing.F) {
	t := &testing.T{}
	for _, h := range hostile(t) {
		f.Add(h.archive)
	}
	f.Add(pack(t, []entry{recordOf(t, sound()), file("checkpoint/core-1.img", "core"), file("dump.log", "log")}))
	f.Fuzz(func(t *testing.T, data []byte) {
		top := t.TempDir()
		s := metadata.Store{Dir: filepath.Join(top, "store")}
		i := importer(s)
		i.MaxBytes = 1 << 20
		r, err := i.Read(context.Background(), bytes.NewReader(data))
		if err != nil {
			nothing(t, s)
		} else if problems := s.Verify(r, metadata.Hashes); problems != nil {
			t.Errorf("not as recorded: %v", problems)
		}
		if beside, _ := os.ReadDir(top); len(beside) > 1 {
			t.Errorf("beside the store: %v", beside)
		}
	})
}
