package openapitest

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

var update = flag.Bool("update", false, "write docs/API.md anew")

const page = "../../docs/API.md"

// TestPage holds docs/API.md to the document that the node serves.
func TestPage(t *testing.T) {
	s, err := own()
	if err != nil {
		t.Fatal(err)
	}
	want := render(s.doc)
	if *update {
		if err := os.WriteFile(page, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil || !bytes.Equal(have, want) {
		t.Errorf("%s is not what openapi.yaml says (%v); go test ./http/openapitest -update", page, err)
	}
}

func render(doc *openapi3.T) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# HTTP interface\n\nRendered from [http/openapi.yaml](../http/openapi.yaml) by `go test ./http/openapitest -update`; a test holds the two together. The node serves the\nsource at `GET /openapi.yaml`.\n\n%s", doc.Info.Description)
	for _, tag := range doc.Tags {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", strings.ToUpper(tag.Name[:1])+tag.Name[1:], tag.Description)
		for _, path := range doc.Paths.InMatchingOrder() {
			item := doc.Paths.Value(path)
			for _, method := range []string{"POST", "PUT", "GET", "HEAD", "DELETE"} {
				if op := item.GetOperation(method); op != nil && slices.Contains(op.Tags, tag.Name) {
					renderOperation(&b, method, path, op)
				}
			}
		}
	}
	return b.Bytes()
}

func renderOperation(b *bytes.Buffer, method, path string, op *openapi3.Operation) {
	fmt.Fprintf(b, "\n### %s %s\n\n%s.", method, path, strings.TrimSuffix(op.Summary, "."))
	if op.Description != "" {
		fmt.Fprintf(b, " %s", strings.TrimSpace(op.Description))
	}
	b.WriteString("\n")
	if len(op.Parameters) > 0 {
		b.WriteString("\n| parameter | in | meaning |\n|---|---|---|\n")
	}
	for _, p := range op.Parameters {
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", p.Value.Name, p.Value.In, oneLine(p.Value.Description))
	}
	b.WriteString("\n| answer | meaning |\n|---|---|\n")
	codes := op.Responses.Map()
	keys := make([]string, 0, len(codes))
	for k := range codes {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		text := ""
		if d := codes[k].Value.Description; d != nil {
			text = *d
		}
		fmt.Fprintf(b, "| %s | %s |\n", k, oneLine(text))
	}
}

func oneLine(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}
