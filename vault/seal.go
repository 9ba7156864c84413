package vault

// seal encrypts a value for one place: moved to another record it does not
// open.
func (s *Service) seal(value string, place []byte) []byte {
	return s.deps.Seal.Seal(string(place), []byte(value))
}

func (s *Service) unseal(sealed, place []byte) (string, error) {
	plain, err := s.deps.Seal.Open(string(place), sealed)
	if err != nil {
		return "", errUnsealed
	}
	return string(plain), nil
}
