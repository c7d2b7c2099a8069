package httpapi

import (
	_ "embed"
	"io"
	"net/http"
	"strconv"
)

// openAPI is the wire's description, OpenAPI 3.1: the source of truth that
// every end-to-end test call is checked against. Only the embed directive
// ever sets it.
//
//go:embed openapi.yaml
var openAPI string

// TypeYAML is the media type of GET /openapi.yaml (RFC 9512).
const TypeYAML = "application/yaml"

// OpenAPI returns the document that GET /openapi.yaml serves.
func OpenAPI() string { return openAPI }

// serveOpenAPI answers GET /openapi.yaml.
func serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", TypeYAML)
	h.Set("Content-Length", strconv.Itoa(len(openAPI)))
	h.Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, openAPI) // the reader left: nobody to tell
}
