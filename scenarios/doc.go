// Package scenarios plays the two documented flows against an emulator of its
// own: a deployment whose script reads a blob with its endpoint's
// system-assigned or user-assigned identity.
//
// The files of content/ are laid out like the samples the how-to uses, the
// definitions are in the `az ml` schema, and everything is driven by the Azure
// SDK for Go through the emulator's proxy: public host names, certificates
// verified, no custom cloud. Assets are uploaded call for call as azure-ai-ml
// does it (the wire notes of the project's clients), because its steps, not
// only their result, are what the emulator has to serve.
//
// After the documented part the flow goes on where Azure would refuse: the role
// is removed, a second deployment fails with its script's traceback, `why` says
// what is missing, and what it proposes is applied and mends it.
//
// The scenario secrets is about environment variables that are filled from a
// workspace connection and from a key vault, with either kind of identity: the
// first deployment is refused for want of a role, `why` names it, the second
// gets the values.
package scenarios
