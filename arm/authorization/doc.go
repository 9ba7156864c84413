// Package authorization is the resource provider Microsoft.Authorization as far
// as role definitions and role assignments go.
//
// It keeps the records and feeds them into package rbac's index, which decides.
// A change counts the moment it is committed; Azure takes up to some minutes.
//
// Imitated: api-versions 2015-07-01 to 2022-05-01-preview in one shape; the
// bodies nest under `properties`. Any version is accepted. PUT answers 201, the
// only status the 2018 client takes.
//
// Sources: the REST reference of role assignments and role definitions, the
// error texts users quote in public issue trackers, and the wire notes of
// azure-cli 2.91 and azure-ai-ml 1.35. Unverified against Azure: the codes of
// the errors marked so in errors.go, and that a list of role definitions shows
// custom roles assignable only below the asked scope.
//
// Left out: deny assignments, eligible (PIM) assignments, management groups,
// classic administrators, paging. Conditions that read attributes are refused
// when an assignment is made, for the evaluator could only deny what they
// govern; conditions over actions alone are kept and evaluated.
package authorization
