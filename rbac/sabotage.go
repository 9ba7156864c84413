package rbac

// Sabotage breaks the evaluator on purpose, so that a test run can prove that
// the tests of the negative cases notice. It is never on by default and cannot
// be reached from a flag, a file or the environment: only from WithSabotage.
type Sabotage struct {
	// AllowAll allows every check.
	AllowAll bool
	// IgnoreScope lets an assignment grant everywhere.
	IgnoreScope bool
	// PoolDataActions makes one heap of actions and data actions.
	PoolDataActions bool
}

// WithSabotage makes an Index that decides wrongly. For tests of the tests.
func WithSabotage(s Sabotage) Option {
	return func(x *Index) { x.sabotage = s }
}
