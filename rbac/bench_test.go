package rbac

import (
	"context"
	"fmt"
	"testing"

	"github.com/amlocal/amlocal/azure"
)

// crowd makes an index of n assignments spread over principals and accounts,
// with the roles of a usual deployment.
func crowd(b *testing.B, n, principals int) *Index {
	b.Helper()
	x := New(BuiltIn())
	roles := []string{sbdr, dataScientist, contributor, acrPull, reader}
	for i := range n {
		p := i % principals
		scope := fmt.Sprintf("%s%d", acct, i/principals)
		err := x.Put(Assignment{
			ID:               fmt.Sprintf("%s/providers/Microsoft.Authorization/roleAssignments/%d", scope, i),
			RoleDefinitionID: roles[(i/principals)%len(roles)],
			PrincipalID:      fmt.Sprintf("principal-%d", p),
			Scope:            scope,
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return x
}

func BenchmarkDecide(b *testing.B) {
	for _, size := range []struct{ n, principals int }{{1_000, 1}, {1_000, 100}, {100_000, 10_000}} {
		x := crowd(b, size.n, size.principals)
		who := azure.Principal{ObjectID: fmt.Sprintf("principal-%d", size.principals/2)}
		for name, check := range map[string]azure.Check{
			"allowed": data(blobRead, acct+"0/blobServices/default/containers/c"),
			"refused": data(blobs+"/write", acct+"0/blobServices/default/containers/c"),
		} {
			b.Run(fmt.Sprintf("%s/%dx%d", name, size.n, size.principals), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if d := x.Decide(context.Background(), who, check); d.Allowed != (name == "allowed") {
						b.Fatalf("%+v", d)
					}
				}
			})
		}
	}
}

func BenchmarkDecideParallel(b *testing.B) {
	x := crowd(b, 100_000, 10_000)
	check := data(blobRead, acct+"0/blobServices/default/containers/c")
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if !x.Decide(context.Background(), azure.Principal{ObjectID: fmt.Sprintf("principal-%d", i%10_000)}, check).Allowed {
				b.Fatal("refused")
			}
		}
	})
}

func BenchmarkPutDelete(b *testing.B) {
	x := crowd(b, 100_000, 10_000)
	a := Assignment{ID: acct + "/new", RoleDefinitionID: sbdr, PrincipalID: alice.ObjectID, Scope: acct}
	b.ReportAllocs()
	for b.Loop() {
		if err := x.Put(a); err != nil {
			b.Fatal(err)
		}
		x.Delete(a.ID)
	}
}

// BenchmarkStart is what the emulator pays at start: the catalogue and an index.
func BenchmarkStart(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		New(BuiltIn())
	}
}

// BenchmarkFirstRefusal decodes the whole catalogue, once a run.
func BenchmarkFirstRefusal(b *testing.B) {
	for b.Loop() {
		New(BuiltIn()).Decide(context.Background(), alice, data(blobRead, contC))
	}
}
