package graph

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
)

const contextURL = "https://graph.microsoft.com/v1.0/$metadata#"

// principalObject is a principal as Graph shows it.
func (s *Service) principalObject(p azure.Principal) object {
	switch p.Type {
	case azure.User:
		return object{
			"@odata.type": "#microsoft.graph.user", "id": p.ObjectID, "displayName": p.Name, "userPrincipalName": p.Name,
			"mail": nil, "accountEnabled": true, "businessPhones": []string{}, "givenName": nil, "surname": nil,
			"jobTitle": nil, "mobilePhone": nil, "officeLocation": nil, "preferredLanguage": nil,
		}
	case azure.Group:
		return object{
			"@odata.type": "#microsoft.graph.group", "id": p.ObjectID, "displayName": p.Name, "mailNickname": p.Name, "mail": nil,
			"description": nil, "groupTypes": []string{}, "mailEnabled": false, "securityEnabled": true,
		}
	}
	kind, alternative := "Application", []string{}
	if p.IsManagedIdentity() {
		id, err := azure.ParseResourceID(p.ResourceID)
		explicit := err == nil && strings.EqualFold(id.Type(), "Microsoft.ManagedIdentity/userAssignedIdentities")
		kind, alternative = "ManagedIdentity", []string{fmt.Sprintf("isExplicit=%s", map[bool]string{true: "True", false: "False"}[explicit]), p.ResourceID}
	}
	return object{
		"@odata.type": "#microsoft.graph.servicePrincipal", "id": p.ObjectID, "appId": p.AppID, "displayName": p.Name, "appDisplayName": p.Name,
		"accountEnabled": true, "appOwnerOrganizationId": p.TenantID, "appRoleAssignmentRequired": false, "alternativeNames": alternative,
		"servicePrincipalNames": []string{p.AppID}, "servicePrincipalType": kind, "signInAudience": "AzureADMyOrg",
		"appRoles": []string{}, "oauth2PermissionScopes": []string{}, "tags": []string{}, "replyUrls": []string{}, "notificationEmailAddresses": []string{},
		"keyCredentials": []string{}, "passwordCredentials": []string{}, "homepage": nil, "description": nil, "deletedDateTime": nil,
	}
}

// replyList answers a set, filtered, and in pages of $top where that is asked.
func replyList(w http.ResponseWriter, r *http.Request, set string, objects []object) error {
	query := r.URL.Query()
	found, err := where(set, query.Get("$filter"), objects)
	if err != nil {
		return err
	}
	body := object{"@odata.context": contextURL + set}
	if top := query.Get("$top"); top != "" {
		size, err := strconv.Atoi(top)
		if err != nil || size < 1 || size > 999 {
			return errBadRequest("Invalid page size specified: '%s'. Must be between 1 and 999 inclusive.", top)
		}
		skip, err := strconv.Atoi(query.Get("$skiptoken"))
		if err != nil || skip < 0 || skip > len(found) {
			skip = 0
		}
		found = found[skip:]
		if len(found) > size {
			found = found[:size]
			query.Set("$skiptoken", strconv.Itoa(skip+size))
			body["@odata.nextLink"] = (&url.URL{Scheme: "https", Host: "graph.microsoft.com", Path: r.URL.Path, RawQuery: query.Encode()}).String()
		}
	}
	for _, o := range found {
		delete(o, "@odata.type") // a set of one type does not repeat it
	}
	body["value"] = found
	return reply(w, http.StatusOK, body)
}

// replyOne answers one object of a set.
func replyOne(w http.ResponseWriter, status int, set string, o object) error {
	delete(o, "@odata.type")
	o["@odata.context"] = contextURL + set + "/$entity"
	return reply(w, status, o)
}

func reply(w http.ResponseWriter, status int, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8")
	w.Header().Set("OData-Version", "4.0")
	w.WriteHeader(status)
	_, err = w.Write(raw)
	return err
}

// readBody reads a JSON object.
func readBody(r *http.Request, into any) error {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		return errBadRequest("Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.").Because(err)
	}
	return nil
}

// variable is a path variable, unescaped.
func variable(r *http.Request, name string) string {
	raw := httpx.Var(r, name)
	if value, err := url.PathUnescape(raw); err == nil {
		return value
	}
	return raw
}
