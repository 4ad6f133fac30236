package page_test

import (
	"bytes"
	"encoding/json"
	"image/png"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/invar-lb/invar/pkg/daemon"
	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/page"
	"github.com/invar-lb/invar/test/browser"
)

// update writes testdata/page.txt anew; read the difference before committing it.
var update = os.Getenv("GOLDEN_UPDATE") == "1"

// site serves the page and a state as the controller does, on the loopback interface.
type site struct {
	url string

	mu    sync.Mutex
	state *explain.ControllerState // nil: there is no answer
	asked map[string]int           // requests by path
}

// golden is the state of testdata/state.json. A field that the controller does not have is an error.
func golden(t *testing.T) *explain.ControllerState {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	var state explain.ControllerState
	if err := dec.Decode(&state); err != nil {
		t.Fatalf("state.json: %v", err)
	}
	return &state
}

// serve serves the page with a state, until the test ends.
func serve(t *testing.T, state *explain.ControllerState) *site {
	t.Helper()
	s := &site{state: state, asked: map[string]int{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opts := daemon.Options{StatePort: l.Addr().(*net.TCPAddr).Port}
	s.url = "http://" + l.Addr().String() + "/"
	l.Close()
	task := opts.ServeState(s.handler(), slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- task(t.Context()) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if resp, err := http.Get(s.url); err == nil {
			resp.Body.Close()
			return s
		}
		if time.Now().After(deadline) {
			t.Fatal("the page is not served")
		}
	}
}

func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /", page.Handler())
	mux.Handle("GET "+explain.StatePath, daemon.JSON(func(*http.Request) (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.state == nil {
			return nil, io.ErrUnexpectedEOF
		}
		return s.state, nil
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked[r.URL.Path]++
		s.mu.Unlock()
		mux.ServeHTTP(w, r)
	})
}

func (s *site) set(state *explain.ControllerState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
}

func TestHeaders(t *testing.T) {
	s := serve(t, golden(t))
	for _, tt := range []struct {
		path, host string
		code       int
		kind       string
	}{
		{"", "", 200, "text/html; charset=utf-8"},
		{"page.css", "", 200, "text/css; charset=utf-8"},
		{"page.js", "", 200, "text/javascript; charset=utf-8"},
		{"icon.svg", "localhost:7471", 200, "image/svg+xml"},
		{"state", "", 200, "application/json"},
		{"nothing", "", 404, ""},
		{"index.html", "", 404, ""},
		{"", "rebound.example", 403, ""},
		{"state", "rebound.example:7471", 403, ""},
	} {
		t.Run(tt.path+" "+tt.host, func(t *testing.T) {
			req, err := http.NewRequest(http.MethodGet, s.url+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = tt.host
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != tt.code {
				t.Fatalf("code %d, want %d", resp.StatusCode, tt.code)
			}
			if got := resp.Header.Get("Content-Type"); tt.kind != "" && got != tt.kind {
				t.Errorf("type %q, want %q", got, tt.kind)
			}
			policy := resp.Header.Get("Content-Security-Policy")
			if want := tt.code == 200 && tt.path != "state"; strings.HasPrefix(policy, "default-src 'none'; ") != want {
				t.Errorf("policy %q", policy)
			}
		})
	}
}

// outline writes what the page shows: each section in sight with its texts, a line for a row, and bars by their width.
const outline = `
	const text = (e) => e.innerText.replace(/\s+/g, " ").trim(), lines = [];
	for (const e of document.querySelectorAll("header p, h2, h3, .head > span, .bar, th, td, li, pre, section p")) {
		if (!e.checkVisibility()) continue;
		if (e.matches("td:not(:first-child), th:not(:first-child)")) lines[lines.length - 1] += " | " + text(e);
		else if (e.matches(".bar")) {
			const share = e.firstChild.getBoundingClientRect().width / e.getBoundingClientRect().width;
			lines.push("  [" + Math.round(100 * share) + " % wide, " + e.getAttribute("aria-valuetext") + "]");
		}
		else lines.push((e.matches("h2") ? "== " : "") + text(e));
	}
	return lines.join("\n") + "\n";`

// dim are texts whose contrast with what is behind them is less than WCAG 2.2 asks for (4.5, success criterion 1.4.3).
const dim = `
	const parts = (c) => c.match(/[\d.]+/g).map(Number);
	const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
		.map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = (e) => {
		for (; e; e = e.parentElement) {
			const c = parts(getComputedStyle(e).backgroundColor);
			if (c.length === 3 || c[3] > 0) return c;
		}
		return [255, 255, 255];
	};
	const found = [];
	for (const e of document.querySelectorAll("body *")) {
		const own = [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.data.trim());
		if (!own || !e.checkVisibility()) continue;
		const [a, b] = [light(parts(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
		if ((a + 0.05) / (b + 0.05) < 4.5) found.push(((a + 0.05) / (b + 0.05)).toFixed(2) + " " + e.innerText);
	}
	return found;`

// checkGolden compares got with testdata/page.txt.
func checkGolden(t *testing.T, got string) {
	t.Helper()
	file := filepath.Join("testdata", "page.txt")
	if update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("page (-want +got):\n%s", diff)
	}
}

func TestShows(t *testing.T) {
	s := serve(t, golden(t))
	b := browser.Start(t)
	for scheme, background := range map[string]uint32{"light": 0xf6f7f8, "dark": 0x12171c} {
		t.Run(scheme, func(t *testing.T) {
			b.Scheme(t, scheme)
			b.Open(t, s.url)
			b.WaitFor(t, `document.getElementById("freshness").innerText.startsWith("As of")`)
			var got string
			b.Eval(t, outline, &got)
			checkGolden(t, got)
			var faint []string
			if b.Eval(t, dim, &faint); len(faint) > 0 {
				t.Errorf("hard to read: %q", faint)
			}
			shot, err := png.Decode(bytes.NewReader(b.Screenshot(t, scheme)))
			if err != nil {
				t.Fatal(err)
			}
			red, green, blue, _ := shot.At(2, 2).RGBA()
			if got := red>>8<<16 | green>>8<<8 | blue>>8; got != background {
				t.Errorf("background is #%06x, want #%06x", got, background)
			}
		})
	}
	b.Resize(t, 400, 900)
	var overflow int
	b.Eval(t, "return document.documentElement.scrollWidth - document.documentElement.clientWidth;", &overflow)
	if overflow > 0 {
		t.Errorf("on a narrow screen the page is %d pixels too wide", overflow)
	}
	b.Screenshot(t, "narrow")
}

// TestFollows changes the state under an open page, and takes the controller away.
func TestFollows(t *testing.T) {
	s := serve(t, golden(t))
	b := browser.Start(t)
	b.Open(t, s.url)
	b.WaitFor(t, `document.querySelector("[data-node=node2] details")`)
	b.Eval(t, `document.querySelector("[data-node=node2] details").open = false;`, nil)

	// An answer with another time alone leaves the page as the user has it.
	later := golden(t)
	later.Now = later.Now.Add(time.Minute)
	s.set(later)
	b.WaitFor(t, `document.getElementById("freshness").innerText.endsWith("10:16:30")`)
	var open bool
	if b.Eval(t, `return document.querySelector("[data-node=node2] details").open;`, &open); open {
		t.Error("what the user has folded is unfolded by an answer that says nothing new")
	}

	moved := golden(t)
	moved.Holders[2].Node = "node3"
	moved.Conflicts, moved.Config.Error = nil, ""
	s.set(moved)
	b.WaitFor(t, `document.querySelector("[data-node=node3]").innerText.includes("192.168.1.161")`)
	b.WaitFor(t, `!document.querySelector("[data-node=node2]").innerText.includes("192.168.1.161")`)
	b.WaitFor(t, `document.getElementById("conflicts").hidden`)
	b.WaitFor(t, `document.getElementById("config").innerText.includes("newest configuration is in force")`)

	s.set(nil)
	b.WaitFor(t, `document.getElementById("freshness").innerText ===
		"No answer from the controller (unexpected EOF). What is shown is of 10:15:30."`)

	s.set(&explain.ControllerState{Identity: "other", Version: "v9", Pools: []explain.Pool{}, Services: []explain.Service{}})
	b.WaitFor(t, `document.getElementById("problems").innerText.includes("This controller stands by")`)
	b.WaitFor(t, `document.getElementById("pools").hidden && document.getElementById("controller").innerText.startsWith("other stands by")`)
}

// TestIsClosed checks that the page takes no text for HTML, runs no script but its own, and reaches nothing but the controller.
func TestIsClosed(t *testing.T) {
	s := serve(t, golden(t))
	other := serve(t, golden(t))
	b := browser.Start(t)
	b.Open(t, s.url)
	b.WaitFor(t, `document.getElementById("waiting").innerText.includes("not HTML")`)
	var got map[string]any
	b.Eval(t, `
		const script = document.createElement("script");
		script.textContent = "window.inlined = true";
		document.head.append(script);
		const image = new Image();
		image.src = "`+other.url+`icon.svg";
		const fetched = await fetch("`+other.url+`state", { mode: "no-cors" }).then(() => true, () => false);
		return { injected: !!document.getElementById("injected"), inlined: !!window.inlined, fetched };`, &got)
	if diff := cmp.Diff(map[string]any{"injected": false, "inlined": false, "fetched": false}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	other.mu.Lock()
	defer other.mu.Unlock()
	if n := other.asked["/icon.svg"] + other.asked["/state"]; n > 0 {
		t.Errorf("%d requests to another origin", n)
	}
}
