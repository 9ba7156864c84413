package e2e

func serveAsInstance() error { return nil }
