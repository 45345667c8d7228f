package main

import "github.com/cloudnativelabs/kube-router/v2/pkg/utils"

// Where rules of IPv6 are written. kube-router 2.1.0 takes what a pod and its node say to find each other on their wire for
// something that a policy has to allow: the first one that does not would cut the pod off, from the node and so from all.
type neighbourly struct {
	utils.IPTablesHandler
}

// NewChain lets that pass before any pod is looked at. Each chain is made once, and what is in it is written again with it.
func (n neighbourly) NewChain(table, chain string) error {
	if err := n.IPTablesHandler.NewChain(table, chain); err != nil {
		return err
	}
	if chain != "KUBE-ROUTER-INPUT" {
		return nil
	}
	for _, kind := range []string{"neighbour-solicitation", "neighbour-advertisement"} {
		if err := n.AppendUnique(table, chain, "-p", "icmpv6", "--icmpv6-type", kind, "-j", "RETURN"); err != nil {
			return err
		}
	}
	return nil
}
