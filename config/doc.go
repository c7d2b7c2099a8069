// Package config turns flags, RON_* variables, one TOML file and the built-in
// defaults into one plain value, [Config], and tells where each part came from.
//
// Everything is derived from the table in keys.go: the names in the file, the
// environment variables, the flags, the JSON Schema, the printed form and the
// "did you mean" of an error. A key that is not in the table does not exist.
//
// It is not a store of settings at run time, watches no file, reads no
// environment of its own accord and logs nothing: whoever calls [Load] passes
// the environment in and prints what comes back.
//
// Its one invariant: a Config that Load returns without error is wholly valid
// and wholly enforced. A key that this build knows of but cannot honour is an
// error, never silence.
package config
