package config

// Origin tells where the effective value of a key came from.
type Origin struct {
	Source string `json:"source"`         // default, file, env or flag
	Name   string `json:"name,omitempty"` // path, variable or flag
	Line   int    `json:"line,omitempty"` // of a file, 1-based
	Col    int    `json:"col,omitempty"`  // of a file, 1-based, in bytes
}

const (
	fromDefault = "default"
	fromFile    = "file"
	fromEnv     = "env"
	fromFlag    = "flag"
)

// String is "flag --http-addr", "env RON_LOG", "file x.toml:3" or "default".
func (o Origin) String() string {
	switch o.Source {
	case "", fromDefault:
		return fromDefault
	case fromFile:
		return o.Source + " " + position(o.Name, o.Line, 0)
	}
	return o.Source + " " + printable(o.Name)
}

// fault is a Fault that points at the origin.
func (o Origin) fault(key, msg, hint string) Fault {
	f := Fault{Key: printable(key), Msg: msg, Hint: hint}
	switch o.Source {
	case fromFile:
		f.File, f.Line, f.Col = o.Name, o.Line, o.Col
	case fromEnv, fromFlag:
		f.Source = o.String()
	}
	return f
}

// removal is how to take back what the origin said.
func (o Origin) removal() string {
	switch o.Source {
	case fromEnv:
		return "unset the variable"
	case fromFlag:
		return "drop the flag"
	}
	return "remove the key"
}
