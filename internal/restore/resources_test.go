package restore

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/linux/sockdiag"
)

func TestTaken(t *testing.T) {
	at := netip.MustParseAddrPort
	listens := func(a string) criuimg.Inet { return criuimg.Inet{Listens: true, Local: at(a)} }
	for name, test := range map[string]struct {
		want criuimg.Inet
		have sockdiag.Inet
		why  string // empty for nothing
	}{
		"same":           {listens("127.0.0.1:80"), sockdiag.Inet{Listens: true, Local: at("127.0.0.1:80")}, "needs the port 80"},
		"other address":  {listens("127.0.0.1:80"), sockdiag.Inet{Listens: true, Local: at("127.0.0.2:80")}, ""},
		"other port":     {listens("127.0.0.1:80"), sockdiag.Inet{Listens: true, Local: at("127.0.0.1:81")}, ""},
		"any":            {listens("127.0.0.1:80"), sockdiag.Inet{Listens: true, Local: at("[::]:80")}, "needs the port 80"},
		"any IPv4":       {listens("[::1]:80"), sockdiag.Inet{Listens: true, Local: at("0.0.0.0:80")}, ""},
		"for any":        {listens("0.0.0.0:80"), sockdiag.Inet{Listens: true, Local: at("127.0.0.2:80")}, "needs the port 80"},
		"not listening":  {listens("127.0.0.1:80"), sockdiag.Inet{Local: at("127.0.0.1:80"), Remote: at("127.0.0.1:99")}, ""},
		"shared":         {criuimg.Inet{Listens: true, Local: at("0.0.0.0:80"), Reuse: true}, sockdiag.Inet{Listens: true, Local: at("0.0.0.0:80")}, ""},
		"UDP":            {criuimg.Inet{UDP: true, Local: at("0.0.0.0:53")}, sockdiag.Inet{Local: at("0.0.0.0:53")}, "needs the port 53"},
		"its own wait":   {criuimg.Inet{Local: at("127.0.0.1:80"), Remote: at("127.0.0.1:99")}, sockdiag.Inet{Local: at("127.0.0.1:80"), Remote: at("127.0.0.1:99")}, "which this host has still"},
		"another's wait": {criuimg.Inet{Local: at("127.0.0.1:80"), Remote: at("127.0.0.1:98")}, sockdiag.Inet{Local: at("127.0.0.1:80"), Remote: at("127.0.0.1:99")}, ""},
	} {
		why := taken(test.want, []sockdiag.Inet{test.have}, false)
		if (why == "") != (test.why == "") || !strings.Contains(why, test.why) {
			t.Errorf("%s: %q, want %q", name, why, test.why)
		}
	}
	one := criuimg.Inet{Local: at("127.0.0.1:80"), Remote: at("127.0.0.1:99")}
	if why := taken(one, []sockdiag.Inet{{Local: one.Local, Remote: one.Remote}}, true); why != "" {
		t.Error(why)
	}
}
