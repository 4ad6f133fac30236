//go:build e2e

package security

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// request is one of Invar's in the API server's audit log.
type request struct {
	At   time.Time `json:"requestReceivedTimestamp"`
	Verb string    `json:"verb"`
	User struct {
		Username string `json:"username"`
	} `json:"user"`
	Object struct {
		Group       string `json:"apiGroup"`
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	URI    string `json:"requestURI"`
	Status struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

// refused reports whether the API server did not let it pass.
func (r request) refused() bool {
	return r.Status.Code == http.StatusForbidden || r.Status.Code == http.StatusUnauthorized
}

// account returns the name of the service account that asked.
func (r request) account() string {
	return r.User.Username[strings.LastIndexByte(r.User.Username, ':')+1:]
}

// String returns what is asked for, in the words of a right, and by whom.
func (r request) String() string {
	resource := r.Object.Resource
	if r.Object.Subresource != "" {
		resource += "/" + r.Object.Subresource
	}
	if r.Object.Group != "" {
		resource += "." + r.Object.Group
	}
	return fmt.Sprintf("%s: %s %s %s", r.account(), r.Verb, resource, r.Object.Name)
}

// auditLog reads the audit log as it grows.
type auditLog struct {
	file *os.File
	rest *bufio.Reader
	half string // a line that was not yet written to its end
}

// openAudit opens the audit log at its beginning.
func openAudit(t *testing.T) *auditLog {
	t.Helper()
	f, err := os.Open(lab.LogFile("audit"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &auditLog{file: f, rest: bufio.NewReader(f)}
}

// skip goes to the end of the log.
func (l *auditLog) skip(t *testing.T) {
	t.Helper()
	l.next(t)
}

// next returns what was added since the last call.
func (l *auditLog) next(t *testing.T) (requests []request) {
	t.Helper()
	for {
		line, err := l.rest.ReadString('\n')
		l.half += line
		if err == io.EOF {
			return requests
		}
		if err != nil {
			t.Fatal(err)
		}
		var r request
		if err := json.Unmarshal([]byte(l.half), &r); err != nil {
			t.Fatalf("read audit log: %v in %q", err, l.half)
		}
		l.half = ""
		requests = append(requests, r)
	}
}
