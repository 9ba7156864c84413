package httpx

import (
	"context"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
)

type contextKey int

const (
	entryKey contextKey = iota
	instanceKey
)

// Entry is the audit entry of the running request; nil outside the chain.
func Entry(ctx context.Context) *audit.Entry {
	e, _ := ctx.Value(entryKey).(*audit.Entry)
	return e
}

// RequestID is the id of the running request; empty outside the chain.
func RequestID(ctx context.Context) string {
	if e := Entry(ctx); e != nil {
		return e.RequestID
	}
	return ""
}

// Caller is the authenticated caller; the zero value outside the chain.
func Caller(ctx context.Context) azure.Caller {
	if e := Entry(ctx); e != nil {
		return e.Caller
	}
	return azure.Caller{}
}

// WithInstance marks the request as made by a deployment's instance
// ("endpoint/deployment"), as the data path that carried it knows.
func WithInstance(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, instanceKey, name)
}

// Instance is the name set by WithInstance, or "".
func Instance(ctx context.Context) string {
	s, _ := ctx.Value(instanceKey).(string)
	return s
}
