package netif

import (
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestSettings(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	proc := fstest.MapFS{
		"sys/net/ipv4/conf/all/rp_filter":       file("1\n"),
		"sys/net/ipv4/conf/eth0/rp_filter":      file("0\n"),
		"sys/net/ipv4/conf/bond0.100/rp_filter": file("2\n"),
		"net/route": file("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
			"eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n" +
			"bond0.100\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n" +
			"wlan0\t00000000\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"),
	}
	sys := fstest.MapFS{
		"class/net/eth0/flags":      file("0x1003\n"),
		"class/net/bond0.100/flags": file("0x1103\n"),
		"class/net/wlan0/flags":     file("0x1003\n"),
		"class/net/wlan0/phy80211":  &fstest.MapFile{},
	}
	for name, want := range map[string]Settings{
		"eth0":      {RPFilter: 1, DefaultRoute: true},
		"bond0.100": {RPFilter: 2, Promiscuous: true},
		"wlan0":     {RPFilter: 1, Wireless: true},
		"gone":      {RPFilter: 1},
	} {
		if diff := cmp.Diff(want, settings(proc, sys, name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if diff := cmp.Diff(Settings{}, settings(fstest.MapFS{}, fstest.MapFS{}, "eth0")); diff != "" {
		t.Errorf("nothing to read (-want +got):\n%s", diff)
	}
}

// TestSettingsHere reads what this machine has: loopback is neither promiscuous nor a radio.
func TestSettingsHere(t *testing.T) {
	if got := SettingsOf("lo"); got.Promiscuous || got.Wireless || got.DefaultRoute {
		t.Errorf("lo: %+v", got)
	}
}
