package main

// Parts of the specs' names.
const (
	balancers = "[sig-network] LoadBalancers [Feature:LoadBalancer] "
	local     = "[sig-network] LoadBalancers ExternalTrafficPolicy: Local [Feature:LoadBalancer] "
	services  = "[sig-network] Services "
)

// oneNode is why policy Local does not spread over nodes.
const oneNode = "on Layer 2 an address is at one node at a time, so with policy Local all connections go to that node's endpoints; " +
	"the spec wants to see those of several"

// leftOut are the specs that are not run, each with the reason.
var leftOut = []exception{
	{
		local + "should only target nodes with endpoints [Slow]",
		"it asks for a Service's health at each address of a node, of which the lab's have one of each family; " +
			"kube-proxy answers at those of the Service's own family",
	},
	{local + "should target all nodes with endpoints [Slow]", oneNode},
	{balancers + "should be able to switch session affinity for LoadBalancer service with Local traffic policy [LinuxOnly] [Slow]", oneNode},
	{
		balancers + "should handle load balancer cleanup finalizer for service [Slow]",
		"the finalizer is for what a cloud's controller must take down before the Service may go; Invar has nothing outside of the cluster",
	},
	{
		"[sig-apps] Deployment should not disrupt a cloud load-balancer's connectivity during rollout [Provider:aws,azure,gce]",
		"the suite runs it only with the clouds that it names",
	},
}

// alsoAbout are specs that make Services of type LoadBalancer though their names do not say so.
var alsoAbout = []string{
	services + "should complete a service status lifecycle [Conformance]",
	services + "should fail health check node port if there are only terminating endpoints",
	services + "should implement NodePort and HealthCheckNodePort correctly when ExternalTrafficPolicy changes",
	"[sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a service. [Conformance]",
}
