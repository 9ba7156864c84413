//go:build !unix

package gateway

import "net"

// canPeek: without silent, all requests go by net/http's transport.
const canPeek = false

func silent(net.Conn) bool { return false }
