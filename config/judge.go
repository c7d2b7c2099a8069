package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// layer is what one source set, already checked.
type layer map[string]setting

type setting struct {
	value any
	from  Origin
}

// judge checks settings one by one and collects what is wrong with them.
type judge struct {
	byName   map[string]Key
	names    []string
	sections map[string][]string // leaves of a section, reserved keys aside
	honoured []Key
	faults   Faults
	bad      map[string]bool // keys with a fault: no rule speaks of them again
	blind    bool            // the file could not be read: no rule speaks at all
}

func newJudge() *judge {
	j := &judge{
		byName: map[string]Key{}, sections: map[string][]string{},
		bad: map[string]bool{},
	}
	for _, k := range Keys() {
		j.byName[k.Name] = k
		j.names = append(j.names, k.Name)
		section, last := k.split()
		if k.Reserved == "" {
			j.honoured = append(j.honoured, k)
			j.sections[section] = append(j.sections[section], last)
		} else if _, ok := j.sections[section]; !ok {
			j.sections[section] = nil
		}
	}
	return j
}

func (j *judge) add(f Fault) {
	j.faults = append(j.faults, f)
	j.bad[f.Key] = true
}

// layer checks the entries of one source.
func (j *judge) layer(entries []entry, faults Faults) layer {
	l := layer{}
	for _, f := range faults {
		j.add(f)
	}
	for _, e := range entries {
		k, ok := j.find(e.key)
		if !ok {
			j.add(e.from.fault(e.key, "unknown key", j.hint(e.key)))
			continue
		}
		v, fault := k.decode(e)
		switch {
		case e.key != k.Name:
			j.add(e.from.fault(k.Name, "is a table", "write it whole, as ["+k.Name+"]"))
		case k.Reserved != "":
			j.reserved(k, e)
		case fault != nil:
			j.add(*fault)
		default:
			l[k.Name] = setting{v, e.from}
		}
	}
	return l
}

// find looks a key up; what lies below a key of type table belongs to it.
func (j *judge) find(name string) (Key, bool) {
	if k, ok := j.byName[name]; ok {
		return k, true
	}
	for _, k := range j.byName {
		if k.Type == typeTable && strings.HasPrefix(name, k.Name+".") {
			return k, true
		}
	}
	return Key{}, false
}

// reserved lets "off" pass and refuses the rest: to accept a setting that nothing
// enforces would be a lie.
func (j *judge) reserved(k Key, e entry) {
	if slices.Contains(k.off, k.offText(e.raw)) {
		return
	}
	f := e.from.fault(k.Name, "this build has no "+k.Reserved, e.from.removal())
	f.Value = k.shown(e.raw)
	j.add(f)
}

// offText is a raw value in the words of Key.off.
func (k Key) offText(raw any) string {
	s, isText := raw.(string)
	switch on, isBool := parseBool(s); {
	case isText && isBool && k.Type == typeBool:
		return strconv.FormatBool(on)
	case isText:
		return s
	}
	if list, ok := raw.([]any); ok && len(list) == 0 {
		return ""
	}
	return short(fmt.Sprint(raw))
}

// hint is the way out of an unknown key: the one that was meant, else what the
// section takes. Faults that will not be listed are not worth the search.
func (j *judge) hint(name string) string {
	if len(j.faults) > maxFaults {
		return ""
	}
	if n := nearest(name, j.names); n != "" {
		if k := j.byName[n]; k.Reserved != "" {
			return "did you mean " + n + "? (this build has no " + k.Reserved + ")"
		}
		return "did you mean " + n + "?"
	}
	section := name[:len(name)-len(leaf(name))]
	section = strings.TrimSuffix(section, ".")
	if leaves := j.sections[section]; section != "" && len(leaves) > 0 {
		return "[" + section + "] takes " + strings.Join(leaves, ", ")
	}
	return didYouMean(name, nil)
}
