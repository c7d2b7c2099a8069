package config

import (
	"strings"
	"time"
)

// Key is one row of the table: all there is to know about one setting.
type Key struct {
	Name     string   // dotted, as in TOML and --set: "limits.rps"
	Type     string   // string, bool, int, size, duration, strings, ints or table
	Default  string   // in text form; empty for a reserved key
	Doc      string   // one line, with units
	Flag     string   // dedicated flag without dashes; empty = --set only
	Live     bool     // may change without a restart (contract §11)
	Secret   bool     // value is never shown
	Min, Max int64    // inclusive: a count, bytes or nanoseconds; both 0 = no bounds
	Choices  []string // the only values of a string; empty = free text
	Reserved string   // what this build lacks ("OAP door"); empty = the key is honoured

	off      []string // texts that mean "feature off" and so are true of this build
	flagMean string   // what the bare flag means ("--dev" is auth.mode=dev)
	flagDoc  string
	def      any
	get      func(*Config) any
	set      func(*Config, any)
}

type value interface {
	string | bool | int | Size | time.Duration | []string | []int | Weights
}

// row is a key that this build honours; its type and default are the field's.
func row[T value](name string, def T, field func(*Config) *T, doc string) Key {
	return Key{
		Name: name, Type: typeOf(def), Default: text(def), Doc: doc, def: def,
		get: func(c *Config) any { return *field(c) },
		set: func(c *Config, v any) {
			x, _ := v.(T) // nil is the empty list
			*field(c) = x
		},
	}
}

// reserved is a key of the contract whose feature this build does not have.
// The texts in off say "leave it off" and are accepted.
func reserved(name, typ, lacks string, off ...string) Key {
	return Key{Name: name, Type: typ, Reserved: lacks, off: off, Doc: "no effect: this build has no " + lacks}
}

func (k Key) in(low, high int64) Key           { k.Min, k.Max = low, high; return k }
func (k Key) span(low, high time.Duration) Key { return k.in(int64(low), int64(high)) }
func (k Key) oneOf(choices ...string) Key      { k.Choices = choices; return k }
func (k Key) live() Key                        { k.Live = true; return k }
func (k Key) secret() Key                      { k.Secret = true; return k }
func (k Key) flag(name string) Key             { k.Flag = name; return k }
func (k Key) toggle(name, means, doc string) Key {
	k.Flag, k.flagMean, k.flagDoc = name, means, doc
	return k
}

// Env are the variables that set the key, the preferred one first:
// RON_<SECTION>_<KEY>, and before it the short forms of contract §11.
func (k Key) Env() []string {
	full := envPrefix + strings.ToUpper(strings.ReplaceAll(k.Name, ".", "_"))
	if k.Name == "log.level" {
		return []string{"RON_LOG", full}
	}
	return []string{full}
}

// split gives section and leaf; the section of a root key is empty.
func (k Key) split() (section, leaf string) {
	if i := strings.LastIndexByte(k.Name, '.'); i >= 0 {
		return k.Name[:i], k.Name[i+1:]
	}
	return "", k.Name
}
