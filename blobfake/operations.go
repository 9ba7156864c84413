package blobfake

import (
	"net/http"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
)

const (
	provider       = "Microsoft.Storage/storageAccounts/"
	containerNoun  = provider + "blobServices/containers/"
	blobNoun       = containerNoun + "blobs/"
	readBlobs      = blobNoun + "read"
	writeBlobs     = blobNoun + "write"
	addBlobs       = blobNoun + "add/action"
	deleteBlobs    = blobNoun + "delete"
	readContainers = containerNoun + "read"
)

// row is an operation and what callers who are not bearers need for it.
type row struct {
	httpx.Operation
	// level is the SAS resource type: 's'ervice, 'c'ontainer or 'o'bject.
	level byte
	// grants are the SAS permissions of which one suffices; "" for any.
	grants string
	// serviceSAS says that a SAS of a container or blob may do it, not only
	// one of the account.
	serviceSAS bool
	// public is the lowest public access at which anonymous callers may.
	public PublicAccess
}

// operations is the table of the Blob service. Container operations are
// control actions even for data-plane callers, blob operations and List Blobs
// are data actions, as the REST reference lists them.
func (s *Service) operations() []row {
	rows := s.table()
	for i := range rows {
		if rows[i].Data {
			rows[i].Describe = s.describing(rows[i].Describe)
		}
	}
	return rows
}

func (s *Service) table() []row {
	const account, container, blob = "/", "/{container}", "/{container}/{blob:.+}"
	return []row{
		// The service.
		svc("GetUserDelegationKey", "POST", account, "service", "userdelegationkey", "", provider+"blobServices/generateUserDelegationKey/action", s.getUserDelegationKey),
		svc("ListContainers", "GET", account, "", "list", "l", readContainers, s.listContainers),
		svc("GetServiceProperties", "GET", account, "service", "properties", "r", provider+"blobServices/read", s.getServiceProperties),
		svc("SetServiceProperties", "PUT", account, "service", "properties", "w", provider+"blobServices/write", missing("Set Blob Service Properties")),
		svc("GetServiceStats", "GET", account, "service", "stats", "r", provider+"blobServices/read", missing("Get Blob Service Stats")),
		svc("GetAccountInfo", "GET", account, "account", "properties", "", provider+"blobServices/getInfo/action", s.getAccountInfo),
		svc("HeadAccountInfo", "HEAD", account, "account", "properties", "", provider+"blobServices/getInfo/action", s.getAccountInfo),
		svc("GetAccountInfoByContainer", "GET", container, "account", "properties", "", provider+"blobServices/getInfo/action", s.getAccountInfo),
		svc("GetAccountInfoByBlob", "GET", blob, "account", "properties", "", provider+"blobServices/getInfo/action", s.getAccountInfo),
		svc("Batch", "POST", account, "", "batch", "rwdl", "", missing("Blob Batch")),
		svc("FindBlobsByTags", "GET", account, "", "blobs", "f", "", missing("Find Blobs by Tags")),

		// Containers.
		con("CreateContainer", "PUT", "", "cw", containerNoun+"write", Private, s.putContainer),
		con("GetContainerProperties", "GET", "", "r", readContainers, PublicContainer, s.getContainer),
		con("HeadContainerProperties", "HEAD", "", "r", readContainers, PublicContainer, s.getContainer),
		con("GetContainerMetadata", "GET", "metadata", "r", readContainers, PublicContainer, s.getContainer),
		con("HeadContainerMetadata", "HEAD", "metadata", "r", readContainers, PublicContainer, s.getContainer),
		con("SetContainerMetadata", "PUT", "metadata", "w", containerNoun+"write", Private, s.setContainerMetadata),
		con("DeleteContainer", "DELETE", "", "d", containerNoun+"delete", Private, s.deleteContainer),
		list(con("ListBlobs", "GET", "list", "l", readBlobs, PublicContainer, s.listBlobs)),
		noSAS(con("GetContainerACL", "GET", "acl", "", containerNoun+"getAcl/action", Private, s.getContainerACL)),
		noSAS(con("HeadContainerACL", "HEAD", "acl", "", containerNoun+"getAcl/action", Private, s.getContainerACL)),
		noSAS(con("SetContainerACL", "PUT", "acl", "", containerNoun+"setAcl/action", Private, s.setContainerACL)),
		con("LeaseContainer", "PUT", "lease", "wd", containerNoun+"write", Private, missing("Lease Container")),
		con("RestoreContainer", "PUT", "undelete", "w", containerNoun+"write", Private, missing("Restore Container")),
		con("BatchContainer", "POST", "batch", "rwdl", readContainers, Private, missing("Blob Batch")),

		// Blobs.
		obj("GetBlob", "GET", "", "r", readBlobs, PublicBlobs, s.getBlob),
		obj("GetBlobProperties", "HEAD", "", "r", readBlobs, PublicBlobs, s.getBlob),
		obj("GetBlobMetadata", "GET", "metadata", "r", readBlobs, PublicBlobs, s.getBlobMetadata),
		obj("HeadBlobMetadata", "HEAD", "metadata", "r", readBlobs, PublicBlobs, s.getBlobMetadata),
		obj("GetBlockList", "GET", "blocklist", "r", readBlobs, Private, s.getBlockList),
		when(obj("PutBlobFromURL", "PUT", "", "cw", writeBlobs, Private, missing("Put Blob From URL")),
			hasHeader("x-ms-copy-source", "x-ms-blob-type")),
		tagging(when(obj("CopyBlob", "PUT", "", "cw", writeBlobs, Private, s.copyBlob), hasHeader("x-ms-copy-source"))),
		tagging(stream(obj("PutBlob", "PUT", "", "cw", writeBlobs, Private, s.putBlob))),
		when(obj("PutBlockFromURL", "PUT", "block", "w", writeBlobs, Private, missing("Put Block From URL")),
			hasHeader("x-ms-copy-source")),
		stream(obj("PutBlock", "PUT", "block", "cw", writeBlobs, Private, s.putBlock)),
		tagging(bodyUpTo(16<<20, obj("PutBlockList", "PUT", "blocklist", "cw", writeBlobs, Private, s.putBlockList))),
		obj("SetBlobMetadata", "PUT", "metadata", "w", writeBlobs, Private, s.setBlobMetadata),
		obj("SetBlobProperties", "PUT", "properties", "w", writeBlobs, Private, s.setBlobProperties),
		obj("AbortCopyBlob", "PUT", "copy", "w", writeBlobs, Private, s.abortCopy),
		obj("DeleteBlob", "DELETE", "", "d", deleteBlobs, Private, s.deleteBlob),
		obj("LeaseBlob", "PUT", "lease", "wd", writeBlobs, Private, missing("Lease Blob")),
		obj("SnapshotBlob", "PUT", "snapshot", "cw", writeBlobs, Private, missing("Snapshot Blob")),
		obj("SetBlobTier", "PUT", "tier", "w", writeBlobs, Private, missing("Set Blob Tier")),
		obj("UndeleteBlob", "PUT", "undelete", "w", writeBlobs, Private, missing("Undelete Blob")),
		obj("GetBlobTags", "GET", "tags", "t", readTags, Private, s.getBlobTags),
		bodyUpTo(maxTagsBody, obj("SetBlobTags", "PUT", "tags", "t", writeTags, Private, s.setBlobTags)),
		obj("AppendBlock", "PUT", "appendblock", "aw", writeBlobs, Private, missing("Append Block")),
		obj("PutPage", "PUT", "page", "w", writeBlobs, Private, missing("Put Page")),
		obj("GetPageRanges", "GET", "pagelist", "r", readBlobs, Private, missing("Get Page Ranges")),
		obj("QueryBlob", "POST", "query", "r", readBlobs, Private, missing("Query Blob Contents")),
		obj("SetImmutabilityPolicy", "PUT", "immutabilitypolicies", "i", writeBlobs, Private, missing("Set Blob Immutability Policy")),
		obj("SetLegalHold", "PUT", "legalhold", "i", writeBlobs, Private, missing("Set Blob Legal Hold")),
	}
}

type handler = func(http.ResponseWriter, *http.Request) error

func svc(name, method, pattern, restype, comp, grants, action string, h handler) row {
	return row{level: 's', grants: grants, Operation: httpx.Operation{
		Name: "blobfake." + name, Method: method, Pattern: pattern, Match: query(restype, comp),
		Action: action, Scope: accountScope, Handler: h,
	}}
}

func con(name, method, comp, grants, action string, public PublicAccess, h handler) row {
	return row{level: 'c', grants: grants, public: public, Operation: httpx.Operation{
		Name: "blobfake." + name, Method: method, Pattern: "/{container}", Match: query("container", comp),
		Action: action, Scope: containerScope, Handler: h,
	}}
}

func obj(name, method, comp, grants, action string, public PublicAccess, h handler) row {
	return row{level: 'o', grants: grants, serviceSAS: true, public: public, Operation: httpx.Operation{
		Name: "blobfake." + name, Method: method, Pattern: "/{container}/{blob:.+}", Match: query("", comp),
		Action: action, Data: true, Scope: containerScope, Describe: describeBlob, Handler: h,
	}}
}

// list makes List Blobs of a container row: it alone is a data action and open
// to a container's own SAS.
func list(r row) row { r.Data, r.serviceSAS, r.Describe = true, true, describeList; return r }

// tagging makes a row one that takes x-ms-tags.
func tagging(r row) row { r.Describe = describeWrite; return r }

// noSAS takes a row away from every signature.
func noSAS(r row) row { r.level = 0; return r }

func stream(r row) row { return bodyUpTo(-1, r) }

func bodyUpTo(n int64, r row) row { r.MaxBody = n; return r }

func when(r row, also func(*http.Request) bool) row {
	match := r.Match
	r.Match = func(q *http.Request) bool { return match(q) && also(q) }
	return r
}

func query(restype, comp string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		q := targetOf(r).query
		return lower(q.get("restype")) == restype && lower(q.get("comp")) == comp
	}
}

func hasHeader(names ...string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		for _, name := range names {
			if r.Header.Get(name) == "" {
				return false
			}
		}
		return true
	}
}

func describeBlob(r *http.Request, c *azure.Check) { c.Blob = targetOf(r).blob }

// writeWithTags is the sub-operation of whatever takes x-ms-tags, sent or not:
// the documented conditions by it refuse a new blob without its tag.
const writeWithTags = "Blob.Write.WithTagHeaders"

func describeWrite(r *http.Request, c *azure.Check) {
	describeBlob(r, c)
	c.SubOperation = writeWithTags
}

func describeList(r *http.Request, c *azure.Check) {
	c.SubOperation, c.Prefix = "Blob.List", targetOf(r).query.get("prefix")
}

func accountScope(r *http.Request) string { return targetOf(r).found.ResourceID }

func containerScope(r *http.Request) string {
	t := targetOf(r)
	return scopeOf(t.found, t.container)
}

// scopeOf is where roles for a container's content are assigned.
func scopeOf(a Account, container string) string {
	return a.ResourceID + "/blobServices/default/containers/" + container
}

// missing is the handler of what Azure has and we have not.
func missing(what string) handler {
	return func(http.ResponseWriter, *http.Request) error { return errNotImplemented(what) }
}
