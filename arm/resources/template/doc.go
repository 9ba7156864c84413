// Package template evaluates Azure Resource Manager deployment templates: it
// reads a template and its parameters, and tells which resources are to be put
// in which order, with what in them. It knows neither HTTP nor storage; what
// exists already it asks of a Resolver.
//
// Source: the public description of template syntax and functions
// (deploymentTemplate.json 2019-04-01, language version 2.0's symbolic names).
//
// Left out: linked templates, user-defined functions, types and imports,
// Complete mode, management-group functions. uniqueString is of the right
// shape, but not the string Azure would make.
package template
