package main

import (
	"slices"
	"strings"

	"github.com/cloudnativelabs/kube-router/v2/pkg/utils"
	core "k8s.io/api/core/v1"
)

// The sets of addresses of one family. kube-router 2.1.0 has two faults where it works with both, and this is in their place:
// it names sets of IPv6 otherwise than its rules do, and what it keeps for one family writes the sets of the other anew with
// what was in them before. Names have their family in their hash already, so they need nothing before them.
type familySets struct {
	*utils.IPSet
	family string
}

func ownSets() (map[core.IPFamily]utils.IPSetHandler, error) {
	sets := map[core.IPFamily]utils.IPSetHandler{}
	for family, name := range map[core.IPFamily]string{
		core.IPv4Protocol: utils.FamillyInet, core.IPv6Protocol: utils.FamillyInet6,
	} {
		plain, err := utils.NewIPSet(false)
		if err != nil {
			return nil, err
		}
		sets[family] = familySets{plain, name}
	}
	return sets, nil
}

// RefreshSet takes note of what a set is to have.
func (s familySets) RefreshSet(name string, entries [][]string, kind string) {
	s.IPSet.RefreshSet(name, entries, kind+" "+utils.OptionFamilly+" "+s.family)
}

// Save takes note of the sets that the kernel has, but for those of the other family and of other programs.
func (s familySets) Save() error {
	if err := s.IPSet.Save(); err != nil {
		return err
	}
	for name, set := range s.Sets() {
		if !strings.HasPrefix(name, "KUBE-") || !slices.Contains(set.Options, s.family) {
			delete(s.Sets(), name)
		}
	}
	return nil
}
