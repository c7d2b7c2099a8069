// Package admit decides who may work now: a rate, a number of slots, and deficit
// round robin over flows when either is short (Shreedhar and Varghese, "Efficient
// Fair Queuing using Deficit Round Robin", SIGCOMM 1995; contract §6).
//
// A [Machine] is pure: no clock, no goroutine, no lock; every call takes the time.
// A [Gate] puts a lock and one timer around it.
//
// A request begins ([Gate.Begin]), which only counts it; asks for the right to
// work ([Pass.Enter]), which costs a token and a slot; gives its slot back while
// it waits for its client ([Pass.Park]) and takes one again ([Pass.Resume]); and
// ends ([Pass.End]). Who finds no token or no slot waits in the line of its flow,
// for a short time, and writes for half of it.
//
// The package knows no HTTP and no identity: a flow is a key that the caller
// chooses. The invariant: each slot that is taken, each token that is spent and
// each place in a line belongs to one request, and goes back exactly once.
package admit
