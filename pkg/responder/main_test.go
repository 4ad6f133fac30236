package responder

import (
	"testing"

	"github.com/invar-lb/invar/test/netns"
)

func TestMain(m *testing.M) { netns.Main(m) }
