// Package firewall holds a small rule set of Freshet's own on this host, and
// changes it whole, by transactions, and never against the operator.
//
//	Policy ─ Check ─ Compile ─► RuleSet ─ iptables-restore ─► kernel
//	(settings)        (pure)    a family   one transaction    own chains
//
// In the kernel stand, for set number 7 and the family IPv4 or IPv6:
//
//	INPUT    1: -j FRESHET-IN-7        OUTPUT   1: -j FRESHET-OUT-7
//	FRESHET-IN-7                       what always passes, then
//	            -j FRESHET-BLOCK-IN-7  the block lists, then
//	            …                      the packet rules, then the default
//
// What passes returns to the built-in chain, so that the rules of others still
// judge it: Freshet takes away and never opens. FORWARD, and the tables nat,
// mangle and raw, are not touched.
//
// The same policy can stand as a table of nft's (inet freshet): that is the
// other mechanism. A change of set, variant or mechanism is one story, told by
// [Firewall.Apply]: the new rules go in and are verified, the choice is saved,
// and only then the old ones go.
//
// What was chosen stands in the folder STATE/firewall; the kernel is derived
// from it, and brought in line at each start:
//
//	state.json        which set is in force, which was before it, the trial
//	sets/000007.json  a policy, its lists by content, the mechanism
//	lists/SHA256      the addresses of a list
//	snapshots/NAME.json  a set that an operator put aside
package firewall
