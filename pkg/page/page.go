package page

import (
	"embed"
	"net/http"
)

//go:embed index.html page.css page.js icon.svg
var files embed.FS

// policy lets the page load its own files and ask for the state, and nothing else; no other page may frame it. See the
// Content Security Policy of W3C, level 3.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the page at / and its parts beside it. What it asks for is at explain.StatePath, which is for others to serve.
func Handler() http.Handler {
	mux := http.NewServeMux()
	for path, name := range map[string]string{
		"/{$}": "index.html", "/page.css": "page.css", "/page.js": "page.js", "/icon.svg": "icon.svg",
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Content-Security-Policy", policy)
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("Referrer-Policy", "no-referrer")
			h.Set("Cross-Origin-Resource-Policy", "same-origin")
			h.Set("Cross-Origin-Opener-Policy", "same-origin")
			h.Set("Cache-Control", "no-cache") // the next controller may be of another version
			http.ServeFileFS(w, r, files, name)
		})
	}
	return mux
}
