package imports

// module is the path of the project's main module.
const module = "github.com/invar-lb/invar"

// row says what one package may do.
type row struct {
	imports    []string // packages of the project, relative to the module
	pure       bool     // no I/O, no clock, no goroutine: see impure
	kubernetes bool     // may import k8s.io
	frames     bool     // may import github.com/mdlayher
}

// table has a row for each package below cmd and pkg. Rows come before their packages, so one may be missing on disk.
var table = map[string]row{
	"cmd/controller": {imports: []string{"pkg/daemon", "pkg/kube", "pkg/kube/api", "pkg/controller", "pkg/explain", "pkg/page"}, kubernetes: true},
	"cmd/speaker":    {imports: []string{"pkg/daemon", "pkg/kube", "pkg/kube/api", "pkg/speaker", "pkg/explain"}, kubernetes: true},
	"cmd/invar": {
		kubernetes: true,
		// The daemons' version is its own, too; texts to check are read offline.
		imports: []string{"pkg/daemon", "pkg/kube", "pkg/explain", "pkg/config", "pkg/ipam", "pkg/migrate", "pkg/doctor"},
	},

	"pkg/ipam":     {pure: true},
	"pkg/config":   {pure: true, imports: []string{"pkg/ipam"}},
	"pkg/election": {pure: true},
	"pkg/explain":  {pure: true, imports: []string{"pkg/config", "pkg/ipam", "pkg/election"}},
	"pkg/doctor":   {pure: true, imports: []string{"pkg/config", "pkg/explain", "pkg/ipam"}},
	"pkg/migrate":  {pure: true, imports: []string{"pkg/config", "pkg/ipam"}},

	"pkg/page": {},

	"pkg/membership": {imports: []string{"pkg/election"}},
	"pkg/netif":      {},
	"pkg/responder":  {frames: true},
	"pkg/layer2":     {imports: []string{"pkg/netif", "pkg/responder"}},

	"pkg/daemon":           {kubernetes: true}, // klog, which client-go logs to
	"pkg/kube/api":         {kubernetes: true},
	"pkg/kube/api/apitest": {kubernetes: true, imports: []string{"pkg/kube/api"}},
	// At the border the ConfigMap's text becomes pools, and a Service a request for addresses.
	"pkg/kube": {kubernetes: true, imports: []string{"pkg/kube/api", "pkg/config", "pkg/explain", "pkg/ipam"}},
	"pkg/controller": {
		kubernetes: true,
		imports:    []string{"pkg/kube", "pkg/kube/api", "pkg/config", "pkg/ipam", "pkg/explain", "pkg/election", "pkg/membership"}, // it listens to the speakers
	},
	"pkg/speaker": {
		kubernetes: true,
		imports:    []string{"pkg/kube", "pkg/kube/api", "pkg/config", "pkg/election", "pkg/explain", "pkg/membership", "pkg/layer2", "pkg/netif"},
	},
}

// Import paths that some packages are kept from; with a slash at the end: everything below.
const (
	kubernetesPrefix = "k8s.io/"
	framesPrefix     = "github.com/mdlayher/"
)

// impure is what a pure package may not import, and why.
var impure = map[string]string{
	"os":                "it answers from its arguments alone, not from files or the environment",
	"os/":               "it answers from its arguments alone, not from processes or signals",
	"syscall":           "it answers from its arguments alone, not from the kernel",
	"golang.org/x/sys/": "it answers from its arguments alone, not from the kernel",
	"log":               "it returns what is worth telling, and its caller logs it",
	"log/":              "it returns what is worth telling, and its caller logs it",
}

// clock is what of package time a pure package may not use: a time is an argument, so that tests and simulations own it.
var clock = map[string]bool{
	"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true, "AfterFunc": true, "Tick": true,
	"NewTimer": true, "NewTicker": true,
}

// vague are package names that say nothing of what is inside, so that everything ends there.
var vague = map[string]bool{
	"util": true, "utils": true, "common": true, "helper": true, "helpers": true, "misc": true,
}
