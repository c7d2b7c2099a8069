package kernel_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// arrows says which rooms of ours each room may import (docs/ARCHITECTURE.md).
// A room is the longest matching prefix; main.go is ".".
var arrows = map[string][]string{
	"kernel":           {},
	"store":            {},
	"store/mbox":       {"store"},
	"store/mem":        {"store"},
	"store/pebble":     {"store"},
	"store/storetest":  {"store"},
	"config":           {},
	"http":             {"http/admit", "http/caps", "http/inflate", "http/oap", "http/policy", "store"},
	"http/admit":       {},
	"http/caps":        {},
	"http/policy":      {},
	"http/inflate":     {},
	"http/oap":         {"http/inflate"},
	"http/openapitest": {"http"},
	"http/ronctl":      {"config", "http", "http/caps", "http/policy", "http/ronctl", "store"},
	"actors":           {"actors", "config", "kernel", "http", "http/admit", "http/caps", "http/policy", "store"},
	"actors/mailbox":   {"kernel", "http", "store"},
	"actors/amnesia":   {},
	"actors/redact":    {},
	"actors/seal":      {},
	".":                {"actors", "config", "http", "http/caps", "kernel", "store"},
}

// walls says where a third-party package, or a name of the standard library,
// may be used.
var walls = map[string][]string{
	"github.com/asynkron/protoactor-go": {"kernel/", "actors/"},
	"go.uber.org/zap":                   {"main.go", "actors/"},
	"github.com/prometheus":             {"actors/metrics.go"},
	"github.com/knadh/koanf":            {"config/load.go"},
	"lukechampine.com/blake3":           {"store/hash.go", "store/tree.go"},
	"net/http":                          {"http/", "actors/metrics.go"},
	"os/signal":                         {"main.go", "http/ronctl/"},
	"github.com/spf13/cobra":            {"main.go", "http/ronctl/"},
	"gopkg.in/macaroon.v2":              {"http/caps/"},
	"github.com/cedar-policy":           {"http/policy/"},
	"github.com/landlock-lsm":           {"actors/amnesia/"},
	"github.com/cockroachdb":            {"store/pebble/"},
	"filippo.io/age":                    {"actors/seal/"},
	"charm.land":                        {"http/ronctl/"},
	"github.com/getkin/kin-openapi":     {"http/openapitest/"},
	"name os.Getenv":                    {"main.go", "http/ronctl/main.go"},
	"name os.Environ":                   {"main.go", "http/ronctl/main.go"},
	"name os.Exit":                      {"main.go", "http/ronctl/main.go"},
}

const module = "micronode"

func room(file string) string {
	best := "."
	for r := range arrows {
		if strings.HasPrefix(file, r+"/") && len(r) > len(best) {
			best = r
		}
	}
	return best
}

// TestWalls reads every source file of the module: rooms import only along the
// arrows, third parties stay behind their fence, and there is no init.
func TestWalls(t *testing.T) {
	files := 0
	err := filepath.WalkDir("..", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return fs.SkipDir
		}
		if !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
			return nil
		}
		files++
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, fault := range judge(strings.TrimPrefix(filepath.ToSlash(p), "../"), f) {
			t.Error(fault)
		}
		return nil
	})
	if err != nil || files < 10 {
		t.Fatalf("read %d files: %v", files, err)
	}
}

func judge(file string, f *ast.File) (faults []string) {
	for _, spec := range f.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		if p == module || strings.HasPrefix(p, module+"/") {
			if to := strings.TrimPrefix(p, module+"/"); !reaches(room(file), to) {
				faults = append(faults, file+": room "+room(file)+" must not import "+to)
			}
			continue
		}
		for fenced, homes := range walls {
			if (p == fenced || strings.HasPrefix(p, fenced+"/")) && !at(file, homes) {
				faults = append(faults, file+": "+p+" belongs in "+strings.Join(homes, ", "))
			}
		}
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			faults = append(faults, file+": has an init")
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if pkg, ok := sel.X.(*ast.Ident); ok {
				name := "name " + pkg.Name + "." + sel.Sel.Name
				if homes, fenced := walls[name]; fenced && !at(file, homes) {
					faults = append(faults, file+": "+name+" belongs in "+strings.Join(homes, ", "))
				}
			}
		}
		return true
	})
	return faults
}

func reaches(from, to string) bool {
	for _, ok := range arrows[from] {
		if to == ok || strings.HasPrefix(to, ok+"/") && ok != "http" || to == "store/mem" && from == "actors" {
			return true
		}
	}
	return to == from
}

func at(file string, homes []string) bool {
	for _, h := range homes {
		if file == h || strings.HasSuffix(h, "/") && strings.HasPrefix(file, h) {
			return true
		}
	}
	return false
}

// TestWallsSeeFaults plants one fault of each kind.
func TestWallsSeeFaults(t *testing.T) {
	for src, file := range map[string]string{
		`import "micronode/http"`:                                 "kernel/x.go",
		`import "micronode/kernel"`:                               "http/x.go",
		`import httpapi "micronode/http"`:                         "http/admit/x.go",
		`import "micronode/http/oap"`:                             "http/inflate/x.go",
		`import "micronode/http/ronctl/cli"`:                      "actors/x.go",
		`import "github.com/asynkron/protoactor-go/actor"`:        "http/x.go",
		`import "go.uber.org/zap/zapcore"`:                        "kernel/x.go",
		`import "github.com/prometheus/client_golang/prometheus"`: "actors/tree.go",
		`import "net/http"`:                                       "store/x.go",
		`func init() {}`:                                          "config/x.go",
		`import "os"; var _ = os.Getenv("X")`:                     path.Join("actors", "x.go"),
	} {
		f, err := parser.ParseFile(token.NewFileSet(), file, "package x; "+src, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if got := judge(file, f); len(got) != 1 {
			t.Errorf("%s in %s: %q", src, file, got)
		}
	}
}
