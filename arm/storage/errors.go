package storage

import (
	"net/http"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/internal/httpx"
)

const nameRule = "Storage account name must be between 3 and 24 characters in length and use numbers and lower-case letters only."

func errAccountName(name string) *httpx.Error {
	return arm.BadRequest("AccountNameInvalid", "%s is not a valid storage account name. %s", name, nameRule)
}

func takenMessage(name string) string {
	return "The storage account named " + name + " is already taken."
}

func errAccountTaken(name string) *httpx.Error {
	return arm.Conflict("StorageAccountAlreadyTaken", "%s", takenMessage(name))
}

func errValues(name string) *httpx.Error {
	return arm.BadRequest("InvalidValuesForRequestParameters", "Values for request parameters are invalid: %s.", name)
}

func errContainerName() *httpx.Error {
	return arm.BadRequest("InvalidResourceName", "The specified resource name contains invalid characters.")
}

func errContainerNotFound() *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "ContainerNotFound", "The specified container does not exist.")
}

func errPublicAccess() *httpx.Error {
	return arm.Conflict("PublicAccessNotPermitted", "Public access is not permitted on this storage account.")
}

func errServiceName(name string) *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "ResourceNotFound", "The blob service '%s' does not exist; its name is 'default'.", name)
}
