// Package policy is whether the operator agrees: Cedar policies over (principal,
// action, resource, context), asked after the capability has allowed a request
// (contract §8; Cutler et al., "Cedar", OOPSLA 2024).
//
// It is not authentication and it grants nothing that a capability does not. Its
// invariant: no engine, a stale one, or an error in a policy is a denial.
package policy
