// Package rbac decides whether a principal may do something, and says why not.
//
// It imitates the evaluation rules of Azure role-based access control:
// assignments of a role to a principal at a scope, deny by default, actions
// kept apart from data actions, exclusions that subtract inside one permission
// set of one role only, scopes that cover what lies below them, wildcards and
// comparison without regard to letter case. On a refusal it explains itself:
// the assignments that came near, and the built-in roles that would do.
//
// Sources: the roles in data/builtin-roles.json (the facts file of the project:
// 513 built-in roles as documented in 2026) and the public description of role
// definitions. The rule that `/*/` in a pattern also matches a plain `/` is
// read from the roles themselves: AzureML Data Scientist excludes
// workspaces/write although it grants only workspaces/*/write.
//
// Left out: deny assignments, classic administrators, the management-group
// tree (an assignment at a management group covers only that group's own
// path), eligible (PIM) assignments. Of conditions, actions and
// sub-operations, AND, OR, NOT, Exists and the comparisons of the attributes in
// attributes.go are evaluated; anything else is not, and what it governs is
// refused, with the reason in Decision.Misses. What a comparison yields where
// the attribute is absent is unverified; here it grants nothing.
//
// The package knows neither HTTP nor storage. arm/authorization keeps the
// records and feeds them into an Index.
package rbac
