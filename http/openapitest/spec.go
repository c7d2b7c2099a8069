package openapitest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	httpapi "micronode/http"
)

// spec is the loaded document and the ways into it.
type spec struct {
	doc    *openapi3.T
	router routers.Router
}

// load reads and checks a document. Servers are dropped: a path is matched
// whatever host or socket the test talks to.
func load(data []byte) (*spec, error) {
	doc, err := openapi3.NewLoader().LoadFromData(data)
	if err != nil {
		return nil, fmt.Errorf("read openapi.yaml: %w", err)
	}
	doc.Servers = nil
	router, err := legacy.NewRouter(doc)
	if err != nil {
		return nil, fmt.Errorf("check openapi.yaml: %w", err)
	}
	return &spec{doc: doc, router: router}, nil
}

// own loads the document that this build serves.
func own() (*spec, error) { return load([]byte(httpapi.OpenAPI())) }

// find returns the operation that a request means, nil when none is described.
// HEAD goes with GET where it is not described by itself.
func (s *spec) find(req *http.Request) (*routers.Route, map[string]string) {
	route, params := s.match(req)
	if route == nil && req.Method == http.MethodHead {
		get := req.Clone(req.Context())
		get.Method = http.MethodGet
		route, params = s.match(get)
	}
	return route, params
}

// match asks the router, which takes /o for /o/{addr} with an empty address
// where only the latter has the method: that is no match.
func (s *spec) match(req *http.Request) (*routers.Route, map[string]string) {
	route, params, err := s.router.FindRoute(req)
	if err != nil {
		return nil, nil
	}
	for _, value := range params {
		if value == "" {
			return nil, nil
		}
	}
	return route, params
}

// schema returns a named schema of the document.
func (s *spec) schema(name string) *openapi3.Schema {
	if ref := s.doc.Components.Schemas[name]; ref != nil {
		return ref.Value
	}
	return nil
}

// strayQuery names query parameters that the operation does not describe.
func strayQuery(route *routers.Route, query url.Values) []string {
	var stray []string
	for name := range query {
		if route.Operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, name) == nil &&
			route.PathItem.Parameters.GetByInAndName(openapi3.ParameterInQuery, name) == nil {
			stray = append(stray, name)
		}
	}
	slices.Sort(stray)
	return stray
}

// hopHeaders belong to HTTP itself and need no word in the document.
func hopHeaders() []string {
	return []string{"Connection", "Content-Length", "Content-Type", "Date", "Keep-Alive", "Trailer", "Transfer-Encoding"}
}

// strayHeaders names response headers that the response does not describe.
func strayHeaders(resp *openapi3.Response, got http.Header) []string {
	var stray []string
	for name := range got {
		described := slices.Contains(hopHeaders(), name)
		for known := range resp.Headers {
			described = described || strings.EqualFold(known, name)
		}
		if !described {
			stray = append(stray, name)
		}
	}
	slices.Sort(stray)
	return stray
}
