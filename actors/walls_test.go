package actors_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// What embeds a node pays for a node: no command line, no terminal, no
// validator; and the kernel knows none of the other rooms.
func TestWalls(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		of   string
		bans []string
	}{
		{"micronode/actors", []string{"github.com/spf13/cobra", "charm.land/", "github.com/getkin/kin-openapi", "micronode/http/ronctl", "micronode/http/openapitest", "micronode/store/pebble", "github.com/cockroachdb", "testing"}},
		{"micronode/kernel", []string{"github.com/spf13/", "charm.land/", "github.com/getkin/kin-openapi", "github.com/knadh/", "micronode/config", "micronode/http", "micronode/store", "micronode/actors", "testing"}},
	} {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", tt.of).Output()
		if err != nil {
			t.Fatalf("go list -deps %s: %v", tt.of, err)
		}
		deps := strings.Fields(string(out))
		if !slices.Contains(deps, tt.of) {
			t.Fatalf("go list -deps %s lists %d packages without it", tt.of, len(deps))
		}
		for _, ban := range tt.bans {
			for _, d := range deps {
				if d == ban || strings.HasPrefix(d, strings.TrimSuffix(ban, "/")+"/") {
					t.Errorf("%s depends on %s", tt.of, d)
				}
			}
		}
	}
}
