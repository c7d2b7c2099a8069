package config

import (
	"maps"
	"slices"
	"strings"
)

const envPrefix = "RON_"

// Source is all that Load looks at. The zero Source is the defaults.
type Source struct {
	Args map[string]string // key → text, for dedicated flags given on the command line
	Set  []string          // --set section.key=value, in order, the last one wins
	Env  []string          // K=V, as os.Environ gives it; only RON_* is looked at
	File string            // --config; empty = RON_CONFIG, else no file
	// ReadFile stands in for reading from disk; nil reads File; more than 256 KiB is a fault.
	ReadFile func(path string) ([]byte, error)

	named bool // --config was given, be it empty
	alone bool // nothing but the file is looked at, and nobody but its path names it
}

// entry is one setting as a source gave it.
type entry struct {
	key  string // dotted name as given
	raw  any    // string from flags and environment, a TOML value from a file
	from Origin
}

// ignored are variables of the same family that belong to ronctl, and the one
// that names the file.
func ignored(name string) bool {
	return slices.Contains([]string{"RON_CONFIG", "RON_CAP", "RON_SOCKET", "RON_ADDR"}, name)
}

// environ gives the RON_* variables, of doubled ones the last.
func (s Source) environ() map[string]string {
	vars := map[string]string{}
	for _, kv := range s.Env {
		if name, v, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(name, envPrefix) {
			vars[name] = v
		}
	}
	return vars
}

// file is the path of the file to load, and who named it.
func (s Source) file() (path string, from Origin) {
	if s.named || s.File != "" {
		return s.File, Origin{Source: fromFlag, Name: "--config"}
	}
	return s.environ()["RON_CONFIG"], Origin{Source: fromEnv, Name: "RON_CONFIG"}
}

// envEntries reads the environment. An unknown RON_* is a fault, since a
// misspelt variable would otherwise be a setting silently lost.
func (s Source) envEntries() (entries []entry, faults Faults) {
	byName, names := map[string]Key{}, []string(nil)
	for _, k := range Keys() {
		for _, n := range k.Env() {
			byName[n] = k
			names = append(names, n)
		}
	}
	vars, given := s.environ(), map[string]entry{}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		from := Origin{Source: fromEnv, Name: name}
		k, ok := byName[name]
		if ignored(name) {
			continue
		}
		if !ok {
			faults = append(faults, from.fault("", "unknown variable", didYouMean(name, names)))
			continue
		}
		if first, twice := given[k.Name]; twice && first.raw != vars[name] {
			faults = append(faults, from.fault(k.Name, "differs from "+first.from.Name, "unset one of the two"))
			continue
		}
		given[k.Name] = entry{k.Name, vars[name], from}
		entries = append(entries, given[k.Name])
	}
	return entries, faults
}

// flagEntries reads the command line. A dedicated flag and --set that disagree
// are a fault, because neither is above the other.
func (s Source) flagEntries() (entries []entry, faults Faults) {
	for _, name := range slices.Sorted(maps.Keys(s.Args)) {
		entries = append(entries, entry{name, s.Args[name], Origin{Source: fromFlag, Name: flagOf(name)}})
	}
	for _, kv := range s.Set {
		from := Origin{Source: fromFlag, Name: "--set"}
		name, v, ok := strings.Cut(kv, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" {
			faults = append(faults, from.fault("", "takes section.key=value", "as --set limits.rps=1000"))
			continue
		}
		if arg, both := s.Args[name]; both && arg != v {
			faults = append(faults, from.fault(name, "differs from "+flagOf(name), "give one of the two"))
			continue
		}
		entries = append(entries, entry{name, v, from})
	}
	return entries, faults
}

func flagOf(key string) string {
	for _, k := range Keys() {
		if k.Name == key && k.Flag != "" {
			return "--" + k.Flag
		}
	}
	return "--set"
}

func didYouMean(name string, candidates []string) string {
	if n := nearest(name, candidates); n != "" {
		return "did you mean " + n + "?"
	}
	return "`micronode config schema` lists what there is"
}
