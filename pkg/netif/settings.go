package netif

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Settings are what the kernel is told to do on an interface, as far as it decides what reaches it and is let in.
type Settings struct {
	// RPFilter is the reverse path filter in effect for IPv4 (ip-sysctl.rst, rp_filter): 0 none, 1 strict, 2 loose.
	RPFilter int
	// Promiscuous: frames for other MACs are taken in, too (IFF_PROMISC).
	Promiscuous bool
	// Wireless: the interface is a radio, whose firmware may drop what is not for its own address.
	Wireless bool
	// DefaultRoute: an IPv4 default route of the main table leads out of it.
	DefaultRoute bool
}

// SettingsOf reads the settings of an interface now. What can't be read has its zero value.
func SettingsOf(name string) Settings { return settings(os.DirFS("/proc"), os.DirFS("/sys"), name) }

// settings reads proc(5) and sysfs(5).
func settings(proc, sys fs.FS, name string) Settings {
	device := path.Join("class/net", name)
	flags, _ := strconv.ParseUint(word(sys, path.Join(device, "flags")), 0, 32)
	_, err := fs.Stat(sys, path.Join(device, "phy80211"))
	return Settings{
		// The kernel takes the higher of the two (IN_DEV_RPFILTER).
		RPFilter:     max(rpFilter(proc, "all"), rpFilter(proc, name)),
		Promiscuous:  flags&unix.IFF_PROMISC != 0,
		Wireless:     err == nil,
		DefaultRoute: hasDefaultRoute(proc, name),
	}
}

func rpFilter(proc fs.FS, name string) int {
	n, _ := strconv.Atoi(word(proc, fmt.Sprintf("sys/net/ipv4/conf/%s/rp_filter", name)))
	return n
}

// word returns a file's only word, or nothing if it can't be read.
func word(files fs.FS, name string) string {
	text, err := fs.ReadFile(files, name)
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(text))
}

// hasDefaultRoute looks for a line with interface, destination 0 and mask 0 in the routing table, whose numbers are hexadecimal.
func hasDefaultRoute(proc fs.FS, name string) bool {
	text, err := fs.ReadFile(proc, "net/route")
	if err != nil {
		return false
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) > 7 && f[0] == name && f[1] == "00000000" && f[7] == "00000000" {
			return true
		}
	}
	return false
}
