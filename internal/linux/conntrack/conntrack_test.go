package conntrack

import (
	"encoding/json"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/ti-mo/conntrack"

	"github.com/checkpointctl/checkpointctl/internal/linux/netns"
	"github.com/checkpointctl/checkpointctl/internal/linux/netns/netnstest"
)

func TestMain(m *testing.M) { os.Exit(netnstest.Main(m)) }

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// The kinds of connections of a container 172.17.0.2 or fd00::2.
func kinds() map[string]Entry {
	return map[string]Entry{
		"published": {
			Protocol: TCP, Source: at("192.0.2.7:40000"), Destination: at("198.51.100.1:8080"),
			ReplySource: at("172.17.0.2:80"), ReplyDestination: at("192.0.2.7:40000"),
			TimeoutSeconds: 400000, State: 3, Flags: flagWindowScale | flagSackPerm, ReplyFlags: flagWindowScale, WindowScale: 7, ReplyWindowScale: 9,
		},
		"outgoing with another port": {
			Protocol: TCP, Source: at("172.17.0.2:41000"), Destination: at("192.0.2.9:443"),
			ReplySource: at("192.0.2.9:443"), ReplyDestination: at("198.51.100.1:1025"), TimeoutSeconds: 100, State: 5, Mark: 0xbeef,
		},
		"both, to itself": {
			Protocol: TCP, Source: at("172.17.0.2:42000"), Destination: at("198.51.100.1:8080"),
			ReplySource: at("172.17.0.2:80"), ReplyDestination: at("172.17.0.1:42000"), TimeoutSeconds: 100, State: 3, Zone: 7,
		},
		"direct": {
			Protocol: TCP, Source: at("172.17.0.1:43000"), Destination: at("172.17.0.2:80"),
			ReplySource: at("172.17.0.2:80"), ReplyDestination: at("172.17.0.1:43000"), TimeoutSeconds: 100, State: 3,
		},
		"published, IPv6": {
			Protocol: TCP, Source: at("[2001:db8::7]:40000"), Destination: at("[2001:db8::1]:8080"),
			ReplySource: at("[fd00::2]:80"), ReplyDestination: at("[2001:db8::7]:40000"), TimeoutSeconds: 100, State: 3,
		},
		"published, UDP": {
			Protocol: UDP, Source: at("192.0.2.7:40000"), Destination: at("198.51.100.1:53"),
			ReplySource: at("172.17.0.2:5353"), ReplyDestination: at("192.0.2.7:40000"), TimeoutSeconds: 100,
		},
	}
}

var container = []netip.Addr{netip.MustParseAddr("172.17.0.2"), netip.MustParseAddr("fd00::2")}

// alone runs f in a namespace with no entries.
func alone(t *testing.T, f func()) {
	t.Helper()
	if err := netns.Fresh(func() error { f(); return nil }); err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T) []Entry {
	t.Helper()
	got, err := List("", container)
	if err != nil {
		t.Error(err)
	}
	return got
}

func TestPutIsListed(t *testing.T) {
	const dstNAT, srcNAT = 1 << 5, 1 << 4
	for name, want := range kinds() {
		alone(t, func() {
			if err := Put("", []Entry{want}); err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			found := list(t)
			if len(found) != 1 {
				t.Errorf("%s: %v", name, found)
				return
			}
			got := found[0]
			status := uint32(statusSeenReply | statusAssured | statusConfirmed)
			destination, source := want.translated()
			if destination {
				status |= dstNAT
			}
			if source {
				status |= srcNAT
			}
			if got.Status&(status|dstNAT|srcNAT) != status {
				t.Errorf("%s: status %#x, want %#x", name, got.Status, status)
			}
			if got.TimeoutSeconds > want.TimeoutSeconds || got.TimeoutSeconds+5 < want.TimeoutSeconds {
				t.Errorf("%s: timeout %d, want %d", name, got.TimeoutSeconds, want.TimeoutSeconds)
			}
			if want.Protocol == TCP && (got.Flags&flagBeLiberal == 0 || got.ReplyFlags&flagBeLiberal == 0) {
				t.Errorf("%s: flags %#x %#x", name, got.Flags, got.ReplyFlags)
			}
			got.Status, got.TimeoutSeconds, got.Flags, got.ReplyFlags = 0, want.TimeoutSeconds, got.Flags&^flagBeLiberal, got.ReplyFlags&^flagBeLiberal
			if got != want {
				t.Errorf("%s: %+v, want %+v", name, got, want)
			}
		})
	}
}

func TestPutReplacesWhatIsInTheWay(t *testing.T) {
	want := kinds()["published"]
	untranslated := want // a client's packet to the host while the container was down
	untranslated.ReplySource = want.Destination
	taken := Entry{ // the answers would be another connection's
		Protocol: TCP, Source: want.ReplyDestination, Destination: want.ReplySource,
		ReplySource: want.ReplySource, ReplyDestination: want.ReplyDestination, TimeoutSeconds: 9, State: 3,
	}
	for name, before := range map[string]Entry{"other translation": untranslated, "same answers": taken, "itself": want} {
		alone(t, func() {
			before.TimeoutSeconds = 9
			if err := Put("", []Entry{before}); err != nil {
				t.Errorf("%s: before: %v", name, err)
			}
			if err := Put("", []Entry{want}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			got := list(t)
			if len(got) != 1 || got[0].Source != want.Source || got[0].Destination != want.Destination || got[0].ReplySource != want.ReplySource || got[0].TimeoutSeconds < 1000 {
				t.Errorf("%s: %v", name, got)
			}
		})
	}
}

func TestPutNamesWhatCannotBe(t *testing.T) {
	mixed, sctp, good := kinds()["published"], kinds()["published"], kinds()["direct"]
	mixed.Source, sctp.Protocol = at("[::1]:1"), "sctp"
	alone(t, func() {
		err := Put("", []Entry{mixed, sctp, good})
		if err == nil || strings.Count(err.Error(), "connection tracking entry") != 2 || !strings.Contains(err.Error(), sctp.String()) {
			t.Errorf("error %v", err)
		}
		if got := list(t); len(got) != 1 || got[0].Source != good.Source {
			t.Errorf("put %v", got)
		}
	})
}

// What is not open, or not the container's, is not listed.
func TestList(t *testing.T) {
	closing := conntrack.NewFlow(6, conntrack.StatusConfirmed|conntrack.StatusSeenReply, container[0], netip.MustParseAddr("192.0.2.1"), 1, 2, 100, 0)
	closing.ProtoInfo.TCP = &conntrack.ProtoInfoTCP{State: 7} // TIME_WAIT
	opening := closing
	opening.TupleOrig.Proto.SourcePort, opening.TupleReply.Proto.DestinationPort = 3, 3
	opening.ProtoInfo.TCP = &conntrack.ProtoInfoTCP{State: 1} // SYN_SENT
	unanswered := conntrack.NewFlow(17, conntrack.StatusConfirmed, container[0], netip.MustParseAddr("192.0.2.1"), 1, 2, 100, 0)
	others := kinds()["direct"]
	others.Destination, others.ReplySource = at("172.17.0.20:80"), at("172.17.0.20:80")
	alone(t, func() {
		c, err := conntrack.Dial(nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = c.Close() }()
		for _, f := range []conntrack.Flow{closing, opening, unanswered} {
			if err := c.Create(f); err != nil {
				t.Error(err)
			}
		}
		if err := Put("", []Entry{others, kinds()["direct"]}); err != nil {
			t.Error(err)
		}
		if flows, err := c.Dump(nil); err != nil || len(flows) != 5 {
			t.Errorf("%d entries, %v", len(flows), err)
		}
		if got := list(t); len(got) != 1 || got[0].Destination != kinds()["direct"].Destination {
			t.Errorf("listed %v", got)
		}
	})
}

func TestJSON(t *testing.T) {
	for name, want := range kinds() {
		data, err := json.Marshal(want)
		var got Entry
		if err == nil {
			err = json.Unmarshal(data, &got)
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func BenchmarkList(b *testing.B) {
	var many []Entry
	for i := range 10000 {
		e := kinds()["published"]
		e.Source = netip.AddrPortFrom(e.Source.Addr(), uint16(1024+i))
		e.ReplyDestination = e.Source
		many = append(many, e)
	}
	if err := Put("", many); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if got, err := List("", container); err != nil || len(got) != len(many) {
			b.Fatal(len(got), err)
		}
	}
}
