package metadata

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func at(s string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", s)
	if err != nil {
		panic(err)
	}
	return t
}

// made returns records "NAME TIME [SIZE] [<PARENT] [pre]".
func made(lines ...string) []Summary {
	var list []Summary
	for _, line := range lines {
		f := strings.Fields(line)
		r := Summary{Checkpoint: f[0], Kind: KindCheckpoint, Timestamp: at(f[1] + " " + f[2]), SizeBytes: 10}
		for _, word := range f[3:] {
			switch {
			case word == "pre":
				r.Kind = KindPreDump
			case word[0] == '<':
				r.Parent = word[1:]
			default:
				n, err := strconv.ParseInt(word, 10, 64)
				if err != nil {
					panic(err)
				}
				r.SizeBytes = n
			}
		}
		list = append(list, r)
	}
	return list
}

func kept(list []Verdict) string {
	var names []string
	for _, v := range list {
		if v.Keep {
			names = append(names, v.Summary.Checkpoint)
		}
	}
	return strings.Join(names, " ")
}

// What is kept was worked out by hand. 2024-12-30 is a Monday, in the first
// ISO week of 2025.
func TestKeep(t *testing.T) {
	days := made(
		"a 2024-12-27 10:00", "b 2024-12-29 23:59", "c 2024-12-30 00:00", "d 2024-12-31 10:00",
		"e 2025-01-01 09:10", "f 2025-01-01 09:50", "g 2025-01-01 11:00",
	)
	chain := made("pre 2025-01-01 10:00 pre", "x 2025-01-01 11:00 <pre", "y 2025-01-01 12:00 <x", "z 2025-01-01 13:00")
	for name, test := range map[string]struct {
		records []Summary
		keep    Keep
		want    string
	}{
		"none":                    {nil, Keep{Last: 1}, ""},
		"last 2":                  {days, Keep{Last: 2}, "g f"},
		"last of more than exist": {days, Keep{Last: 100}, "g f e d c b a"},
		"the newest always":       {days, Keep{MaxSize: 1}, "g"},
		"hours with one":          {days, Keep{Hourly: 3}, "g f d"},
		"days":                    {days, Keep{Daily: 3}, "g d c"},
		"weeks by ISO":            {days, Keep{Weekly: 2}, "g b"},
		"within, of the newest":   {days, Keep{Within: 2 * time.Hour}, "g f e"},
		"rules add up":            {days, Keep{Last: 1, Daily: 2, Weekly: 2}, "g d b"},
		"size alone":              {days, Keep{MaxSize: 35}, "g f e"},
		"size and rules":          {days, Keep{Daily: 4, MaxSize: 25}, "g d"},
		"parents stay":            {chain, Keep{Last: 2}, "z y x pre"},
		"parents of none go":      {chain, Keep{Last: 1}, "z"},
		"a pre-dump on top stays": {made("x 2025-01-01 10:00", "p 2025-01-01 11:00 pre"), Keep{Last: 1}, "p x"},
		"a pre-dump left behind":  {made("p 2025-01-01 10:00 pre", "x 2025-01-01 11:00"), Keep{Last: 9}, "x"},
		"in any order":            {made("b 2025-01-02 10:00", "a 2025-01-01 10:00"), Keep{Last: 1}, "b"},
	} {
		if got := kept(test.keep.Apply(test.records, nil)); got != test.want {
			t.Errorf("%s: kept %q, want %q", name, got, test.want)
		}
	}
}

// Whatever the rules and the records: nothing is lost from the list, the newest
// checkpoint stays, so do the parents of all that stay, and each has a reason.
func TestKeepInvariants(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var records []Summary
		for i := range random.IntN(12) {
			r := Summary{Checkpoint: strconv.Itoa(i), Kind: KindCheckpoint, SizeBytes: random.Int64N(50), Timestamp: at("2025-01-01 00:00").Add(time.Duration(random.IntN(60*24*30)) * time.Minute)}
			if random.IntN(4) == 0 {
				r.Kind = KindPreDump
			}
			if random.IntN(3) == 0 {
				r.Parent = strconv.Itoa(random.IntN(12)) // also missing ones, and circles
			}
			records = append(records, r)
		}
		k := Keep{Last: random.IntN(4), Hourly: random.IntN(3), Daily: random.IntN(3), Weekly: random.IntN(3), Within: time.Duration(random.IntN(3)) * time.Hour, MaxSize: random.Int64N(200)}
		list := k.Apply(records, nil)
		if len(list) != len(records) {
			t.Fatalf("%d verdicts on %d records", len(list), len(records))
		}
		stays := map[string]bool{}
		for _, v := range list {
			stays[v.Summary.Checkpoint] = v.Keep
			if len(v.Reasons) == 0 {
				t.Fatalf("no reason: %+v", v)
			}
		}
		newest := slices.IndexFunc(list, func(v Verdict) bool { return v.Summary.Kind == KindCheckpoint })
		if newest >= 0 && !list[newest].Keep {
			t.Fatalf("%+v removes the newest of %+v", k, records)
		}
		for _, v := range list {
			if there, ok := stays[v.Summary.Parent]; v.Keep && ok && !there {
				t.Fatalf("%+v keeps %s without its parent %s", k, v.Summary.Checkpoint, v.Summary.Parent)
			}
		}
	}
}

// What a container still reads stays, with what it needs, whatever the rules say.
func TestKeepWhatIsInUse(t *testing.T) {
	records := made("a 2025-01-01 09:00", "b 2025-01-01 10:00 <a", "c 2025-01-01 11:00", "d 2025-01-01 12:00")
	list := Keep{Last: 1}.Apply(records, func(r Summary) string {
		if r.Checkpoint == "b" {
			return "being fetched"
		}
		return ""
	})
	if got := kept(list); got != "d b a" {
		t.Errorf("kept %s", got)
	}
	if got := list[2].Reasons; !slices.Equal(got, []string{"being fetched"}) {
		t.Errorf("b: %v", got)
	}
}
