package firewall

import (
	"errors"
	"strings"

	"github.com/freshet/freshet/firewall/iplist"
	"github.com/freshet/freshet/internal/event"
)

// ReadAddresses reads a list of which no line is bad.
func ReadAddresses(text string) (Addresses, error) {
	l, err := iplist.Read(strings.NewReader(text))
	if err == nil && l.Left > 0 {
		err = errors.New(l.Words())
	}
	return addressesOf(l), err
}

// AddressesOf are those of a list that was read.
var AddressesOf = addressesOf

// ReadKept reads what a set keeps.
var ReadKept = readKept

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
