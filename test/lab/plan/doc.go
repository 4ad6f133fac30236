// Package plan describes a lab: which hosts it has, what they are called, which addresses they carry and where on the
// machine their files live. Everything follows from the lab's name, its number of nodes and its proxy mode; nothing
// here touches the machine.
//
// A lab's LAN looks like this, one network namespace per box:
//
//	              NAME-switch (bridge "lan": 192.168.1.1, fd00:1::1)
//	       +-----------------+---------+-------+-----------------+
//	  p-control-plane     p-node1   p-node2   ...            p-client
//	       |                 |         |                         |
//	NAME-control-plane  NAME-node1  NAME-node2  ...         NAME-client
//	192.168.1.10        .11         .12                     192.168.1.100
//	fd00:1::10          ::11        ::12                    fd00:1::100
package plan
