// Package storage is the resource provider Microsoft.Storage: storage accounts,
// their keys, and blob containers as ARM resources. The blobs themselves are
// package blobfake's.
//
// Imitated: api-versions 2019-06-01 to 2026-09-01 in one shape; any version is
// accepted. Account creation answers 200 with the finished account at once,
// which Azure does for updates and every client accepts for creation; 201 is an
// error to all of them.
//
// Sources: the REST reference of Microsoft.Storage and the wire notes of
// azure-cli 2.91 and azure-mgmt-storage 25.3. Unverified against Azure: that a
// PUT on an existing account keeps the properties and tags it does not mention.
//
// Left out: failover and secondary endpoints (the geo-redundant kinds are
// accepted and have none), customer-managed keys, rules for subnets and
// resource instances (stored; they let nobody in), legal holds and immutability, soft delete, files, queues and
// tables, account and service SAS through ARM.
package storage
