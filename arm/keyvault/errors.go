package keyvault

import (
	"net/http"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/internal/httpx"
)

func nameMessage(name string) string {
	return "The vault name '" + name + "' is invalid. A vault's name must be between 3-24 alphanumeric characters. The name must begin with a letter, end with a letter or digit, and not contain consecutive hyphens. Follow this link for more information: https://go.microsoft.com/fwlink/?linkid=2147742"
}

func errVaultName(name string) *httpx.Error {
	return arm.BadRequest("VaultNameNotValid", "%s", nameMessage(name))
}

func takenMessage(name string) string {
	return "The vault name '" + name + "' is already in use. Vault names are globally unique so it is possible that the name is already taken. If you are sure that the vault name was not taken then it is possible that a vault with the same name was recently deleted but not purged after being placed in a recoverable state. If the vault is in a recoverable state then the vault will need to be purged before reusing the name. For more information on soft delete and purge a vault follow this link https://go.microsoft.com/fwlink/?linkid=2147740."
}

func errTaken(name string) *httpx.Error {
	return arm.Conflict("VaultAlreadyExists", "%s", takenMessage(name))
}

// errInDeletedState answers a create in the place where the deleted vault was.
func errInDeletedState() *httpx.Error {
	return arm.Conflict("ConflictError", "A vault with the same name already exists in deleted state. You need to either recover or purge existing key vault. Follow this link https://go.microsoft.com/fwlink/?linkid=2149745 for more information on soft delete.")
}

// errNothingToRecover answers createMode recover where there is no deleted
// vault; unverified.
func errNothingToRecover(name string) *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "DeletedVaultNotFound", "The specified deleted vault '%s' does not exist.", name)
}

func errDeletedNotFound(name string) *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "DeletedVaultNotFound", "The specified deleted vault '%s' does not exist.", name)
}

func errPurgeNotAllowed() *httpx.Error {
	return httpx.Errorf(http.StatusMethodNotAllowed, "MethodNotAllowed", "Operation 'DeletedVaultPurge' is not allowed.")
}

func errValue(name string) *httpx.Error {
	return arm.BadRequest("BadRequest", "An invalid value was provided for '%s'.", name)
}

func errSoftDelete() *httpx.Error {
	return arm.BadRequest("BadRequest", `The property "enableSoftDelete" can be set to false only for creating new vault. Enabling the 'soft delete' functionality is an irreversible action.`)
}

func errPurgeProtection() *httpx.Error {
	return arm.BadRequest("BadRequest", `The property "enablePurgeProtection" cannot be set to false. Enabling the purge protection for a vault is an irreversible action.`)
}

func errRetention() *httpx.Error {
	return arm.BadRequest("BadRequest", `The property "softDeleteRetentionInDays" has been set already and it can't be modified.`)
}

func errPolicyOperation(name string) *httpx.Error {
	return arm.BadRequest("BadRequest", "The operation '%s' on access policies is none of add, replace and remove.", name)
}
