// What enforces network policies: kube-router's own controller of them and nothing else of it, no routes, no services and
// no open port. So it asks the API for little, and need not be root: two capabilities are what its commands need.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	"github.com/cloudnativelabs/kube-router/v2/pkg/version"
	"github.com/spf13/pflag"
	core "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	config := options.NewKubeRouterConfig()
	config.EnableIPv4, config.EnableIPv6 = true, true
	pflag.StringVar(&config.Kubeconfig, "kubeconfig", "", "file that says where the API is, and by what to come to it")
	pflag.StringVar(&config.HostnameOverride, "hostname-override", "", "name of this node")
	pflag.StringSliceVar(&config.ClusterIPCIDRs, "service-cluster-ip-range", nil,
		"an IPv4 and an IPv6 prefix; what pods say to these on the node itself is not policed")
	pflag.StringVar(&config.NodePortRange, "service-node-port-range", "", "nor what they say to these ports of it")
	pflag.DurationVar(&config.IPTablesSyncPeriod, "iptables-sync-period", time.Minute,
		"time after which rules are written again even if nothing has changed")
	shown := pflag.Bool("version", false, "print the version and exit")
	pflag.Parse()
	if *shown {
		version.PrintVersion(false)
		return
	}
	if err := enforce(config); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Until it is told to end. What the API last said goes on to hold while that does not answer.
func enforce(config *options.KubeRouterConfig) error {
	access, err := clientcmd.BuildConfigFromFlags("", config.Kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(access)
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	known := informers.NewSharedInformerFactory(client, 0)
	pods := known.Core().V1().Pods().Informer()
	namespaces := known.Core().V1().Namespaces().Informer()
	policies := known.Networking().V1().NetworkPolicies().Informer()
	known.Start(stop)
	known.WaitForCacheSync(stop)

	tables, _, err := netpol.NewIPTablesHandlers(config)
	if err != nil {
		return err
	}
	tables[core.IPv6Protocol] = neighbourly{tables[core.IPv6Protocol]}
	sets, err := ownSets()
	if err != nil {
		return err
	}
	var one sync.Mutex
	controller, err := netpol.NewNetworkPolicyController(client, config, pods, policies, namespaces, &one, tables, sets)
	if err != nil {
		return err
	}
	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandler{
		pods: controller.PodEventHandler, namespaces: controller.NamespaceEventHandler, policies: controller.NetworkPolicyEventHandler,
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	work(controller, stop)
	return nil
}

func work(controller *netpol.NetworkPolicyController, stop chan struct{}) {
	beats := make(chan *healthcheck.ControllerHeartbeat)
	go func() {
		// It writes all rules anew, whatever changed, and waits before that until somebody has taken its beat: once a
		// second at most, or a node that many pods come to does little else.
		for range beats {
			time.Sleep(time.Second)
		}
	}()
	var running sync.WaitGroup
	running.Add(1)
	go controller.Run(beats, stop, &running)
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGINT, syscall.SIGTERM)
	<-told
	close(stop)
	running.Wait()
}
