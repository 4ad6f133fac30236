// Package plan describes a lab: which hosts it has, what they are called, which addresses they carry and where on the
// machine their files live. Everything follows from the lab's name, its number of nodes and its proxy mode; nothing
// here touches the machine.
//
// A lab's LAN looks like this, one network namespace per box:
//
//	                          NAME-switch (bridge "lan")                         (bridge "far")
//	       +-----------------+---------+-------+-----------+-------------+            +-----------+
//	  p-control-plane     p-node1   p-node2   ...       p-client      p-router      p-far     p-outside
//	       |                 |         |                   |             |            |           |
//	NAME-control-plane  NAME-node1  NAME-node2  ...  NAME-client      NAME-router (eth0, eth1)  NAME-outside
//	192.168.1.10        .11         .12              192.168.1.100    192.168.1.1  192.168.2.1  192.168.2.100
//	fd00:1::10          ::11        ::12             fd00:1::100      fd00:1::1    fd00:2::1    fd00:2::100
package plan
