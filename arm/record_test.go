package arm_test

import (
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/arm/armtest"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

func TestRecords(t *testing.T) {
	e := armtest.New(t)
	put := func(id, kind string) *arm.Record {
		rec := &arm.Record{ID: id, Type: kind, Document: arm.Document{"a": map[string]any{"b": "c"}}, Secret: arm.Document{"key": "hush"}}
		e.Put(rec)
		return rec
	}
	first := put(armtest.Group+things+"/One", thingType)
	put(armtest.Group+things+"/One/parts/p", thingType+"/parts")
	put(armtest.Group+things+"/two", "microsoft.test/THINGS")
	put(armtest.Group+"2"+things+"/neighbour", thingType)
	put(armtest.Group+things+`/`+"odd\",\"type\":\"Microsoft.Fake/x", thingType)
	second := put(armtest.Group+things+"/one", thingType)
	if second.Version <= first.Version || second.ETag() == first.ETag() {
		t.Errorf("versions %d and %d", first.Version, second.Version)
	}
	err := e.Documents.View(t.Context(), func(tx store.ReadTx) error {
		for _, tt := range []struct {
			scope, kind string
			want        int
		}{
			{armtest.Group, thingType, 3}, {armtest.Group + "/", strings.ToUpper(thingType), 3}, {armtest.Group, "", 4},
			{strings.ToUpper(armtest.Group), thingType + "/parts", 1}, {"", thingType, 4}, {"/", thingType, 4},
			{armtest.Group, "Microsoft.Fake/x", 0}, {armtest.Group + things + "/One", "", 1},
		} {
			recs, err := arm.List(tx, tt.scope, tt.kind)
			if err != nil || len(recs) != tt.want {
				t.Errorf("%q of %q: %d records, want %d (%v)", tt.scope, tt.kind, len(recs), tt.want, err)
			}
		}
		got, ok, err := arm.Get(tx, strings.ToUpper(armtest.Group+things+"/ONE"))
		if err != nil || !ok {
			t.Fatalf("get: %v %v", ok, err)
		}
		body := got.Body()
		body.Set("changed", "a", "b")
		if got.Document.String("a", "b") != "c" || got.Secret.String("key") != "hush" {
			t.Error("a body shares the record's memory")
		}
		if _, shown := body["secret"]; shown || body.String("name") != "one" {
			t.Errorf("body %v", body)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	e.Update(func(tx store.Tx) error { return arm.Delete(tx, strings.ToUpper(armtest.Group+things+"/ONE")) })
	if e.Exists(armtest.Group + things + "/one") {
		t.Error("still there")
	}
}

func TestSystemData(t *testing.T) {
	when := time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("", 3600))
	rec := arm.Record{CreatedAt: when, CreatedBy: arm.AuthorOf(azure.Principal{Name: "me@x", Type: azure.User}),
		ModifiedAt: when, ModifiedBy: arm.AuthorOf(azure.Principal{Name: "app", Type: azure.ServicePrincipal})}
	got := rec.SystemData()
	for field, want := range map[string]string{"createdAt": "2026-03-01T11:00:00.0000000Z", "createdBy": "me@x", "createdByType": "User", "lastModifiedByType": "Application"} {
		if got.String(field) != want {
			t.Errorf("%s is %q, want %q", field, got.String(field), want)
		}
	}
}

func TestDocument(t *testing.T) {
	d := arm.Document{"a": map[string]any{"b": "c", "n": nil, "yes": true}}
	if _, ok := d.Get("a", "b", "c"); ok {
		t.Error("walked through a string")
	}
	if v, ok := d.Get("a", "n"); !ok || v != nil {
		t.Error("null is not absent")
	}
	d.Default("d", "a", "n")
	d.Default("x", "a", "b")
	d.Set(1, "new", "deep")
	d.Delete("a", "yes")
	d.Delete("none", "deep")
	if d.String("a", "n") != "d" || d.String("a", "b") != "c" || d.Object("new") == nil || d.Bool(false, "a", "yes") || !d.Bool(true, "a", "b") {
		t.Errorf("%v", d)
	}
	merged := d.Merge(arm.Document{"a": 1})
	if merged["a"] != 1 || d.Object("a") == nil {
		t.Error("Merge changed its receiver")
	}
	if arm.Document(nil).Clone() != nil || arm.Document(nil).String("x") != "" {
		t.Error("nil is not empty")
	}
}

func TestCanonicalLocation(t *testing.T) {
	if got := arm.CanonicalLocation("East US 2"); got != "eastus2" {
		t.Error(got)
	}
}
