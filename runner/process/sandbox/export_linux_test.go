package sandbox

// Die lets go of everything as a killed emulator does.
func (p *Process) Die() {
	_ = p.output.Close()
	<-p.copied
	p.Close()
}
