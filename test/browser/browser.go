package browser

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// Browser is a browser with one window.
type Browser struct {
	session string // URL of the WebDriver session
	client  http.Client
}

// arguments make Chromium fit for tests: no window, root allowed, and no traffic but that of the page.
func arguments(profile string) []string {
	return []string{
		"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--user-data-dir=" + profile, "--window-size=1280,1000", "--force-device-scale-factor=1", "--hide-scrollbars",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server",
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
	}
}

// Start starts a browser, which ends with the test. Without Chromium the test is skipped, or fails if INVAR_TEST_BROWSER=1.
func Start(t *testing.T) *Browser {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	driver := ""
	if err == nil {
		driver, err = exec.LookPath("chromedriver")
	}
	if err != nil {
		if os.Getenv("INVAR_TEST_BROWSER") == "1" {
			t.Fatalf("install chromium and chromium-driver: %v", err)
		}
		t.Skipf("needs chromium and chromium-driver: %v", err)
	}
	b := &Browser{session: startDriver(t, driver), client: http.Client{Timeout: time.Minute}}
	options := map[string]any{"binary": chromium, "args": arguments(t.TempDir())}
	var created struct {
		SessionID string `json:"sessionId"`
	}
	always := map[string]any{"browserName": "chrome", "goog:chromeOptions": options}
	b.call(t, http.MethodPost, "", map[string]any{"capabilities": map[string]any{"alwaysMatch": always}}, &created)
	b.session += "/" + created.SessionID
	t.Cleanup(func() { b.call(t, http.MethodDelete, "", nil, nil) })
	return b
}

var startedOn = regexp.MustCompile(`started successfully on port (\d+)`)

// startDriver starts chromedriver on a free port of the loopback interface and returns the URL to create sessions at.
func startDriver(t *testing.T, path string) string {
	t.Helper()
	home := t.TempDir() // the browser keeps what it keeps there
	cmd := exec.Command(path, "--port=0")
	cmd.Env = append(os.Environ(), "TZ=UTC", "LANG=C.UTF-8", "HOME="+home)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // may have ended
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := startedOn.FindStringSubmatch(lines.Text()); m != nil {
			return "http://127.0.0.1:" + m[1] + "/session"
		}
	}
	t.Fatalf("%s ended before it said its port: %v", path, lines.Err())
	return ""
}

// call makes a request of the WebDriver protocol, path relative to the session, and decodes the value of the answer into out,
// if that is not nil.
func (b *Browser) call(t *testing.T, method, path string, in, out any) {
	t.Helper()
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequest(method, b.session+path, &body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	var answer struct{ Value json.RawMessage }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s", method, path, answer.Value)
	}
	if out != nil {
		if err := json.Unmarshal(answer.Value, out); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, answer.Value)
		}
	}
}

// Open loads a page and waits until it is loaded.
func (b *Browser) Open(t *testing.T, url string) {
	t.Helper()
	b.call(t, http.MethodPost, "/url", map[string]any{"url": url}, nil)
}

// Eval runs the body of a JavaScript function in the page. A promise is waited for. What it returns is decoded into out.
func (b *Browser) Eval(t *testing.T, script string, out any) {
	t.Helper()
	b.call(t, http.MethodPost, "/execute/sync", map[string]any{"script": script, "args": []any{}}, out)
}

// Scheme makes the user prefer a colour scheme, light or dark.
func (b *Browser) Scheme(t *testing.T, scheme string) {
	t.Helper()
	b.devtools(t, "Emulation.setEmulatedMedia", map[string]any{
		"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}},
	}, nil)
}

// Resize sets the width and height of the window's content, in CSS pixels.
func (b *Browser) Resize(t *testing.T, width, height int) {
	t.Helper()
	b.devtools(t, "Emulation.setDeviceMetricsOverride", map[string]any{
		"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
	}, nil)
}

// Screenshot returns the whole page as PNG, also what lies below the window. If INVAR_SCREENSHOTS names a folder, it is written
// there under name, too.
func (b *Browser) Screenshot(t *testing.T, name string) []byte {
	t.Helper()
	var shot struct{ Data string }
	b.devtools(t, "Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		t.Fatalf("screenshot: %v", err)
	}
	if dir := os.Getenv("INVAR_SCREENSHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return png
}

// devtools sends a command of the Chrome DevTools Protocol.
func (b *Browser) devtools(t *testing.T, command string, params, out any) {
	t.Helper()
	b.call(t, http.MethodPost, "/goog/cdp/execute", map[string]any{"cmd": command, "params": params}, out)
}

// WaitFor waits until a JavaScript expression holds, for ten seconds at most.
func (b *Browser) WaitFor(t *testing.T, expression string) {
	t.Helper()
	script := fmt.Sprintf(`
		const until = performance.now() + 10000;
		while (!(%s)) {
			if (performance.now() > until) return document.body.innerText;
			await new Promise((go) => setTimeout(go, 20));
		}
		return "";`, expression)
	var text string
	b.Eval(t, "return (async () => {"+script+"})();", &text)
	if text != "" {
		t.Fatalf("%s does not come to hold; the page says:\n%s", expression, text)
	}
}
