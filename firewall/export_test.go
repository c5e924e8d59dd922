package firewall

import "github.com/freshet/freshet/internal/event"

// MaterialOf is the material of lists, with sets of the kernel or without.
func MaterialOf(lists map[string]Addresses, sets bool) Material {
	return materialOf(lists, sets)
}

// NFT is the table that the other mechanism loads, its sets included.
func NFT(p Policy, number int, m Material) string {
	return nftText(nftChains(p, number, m), m.nftSets())
}

// NFTSetDiffers holds a list against what nft list set prints.
var NFTSetDiffers = spansDiffer

// SSHPorts reads the ports of sshd.
var SSHPorts = sshPorts

// WayIn is that of who will log in.
var WayIn = wayIn

// Prune removes what the state does not lead to.
func (f *Firewall) Prune(st State) error { return f.prune(st) }

// KeepUntold has an event wait.
func (f *Firewall) KeepUntold(code event.Code) { f.keepUntold(code, nil) }
