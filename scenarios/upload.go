package scenarios

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
)

// uploadStatus is the metadata by which an upload is known to be complete.
const uploadStatus, uploadDone = "upload_status", "completed"

// uploadTo puts a folder below prefix in the container that the signed URL
// names: the indicator is looked for first, and marked last.
func (c *cloud) uploadTo(ctx context.Context, signedURL, prefix string, f *folder, name, version string) error {
	client := func(file string) (*blockblob.Client, error) {
		u, err := url.Parse(signedURL)
		if err != nil {
			return nil, err
		}
		return blockblob.NewClientWithNoCredential(u.JoinPath(prefix, file).String(), &blockblob.ClientOptions{ClientOptions: c.options()})
	}
	indicator, err := client(f.files[0].path)
	if err != nil {
		return err
	}
	switch got, err := indicator.GetProperties(ctx, nil); {
	case err == nil && metadata(got.Metadata, uploadStatus) == uploadDone:
		return nil
	case err != nil && !bloberror.HasCode(err, bloberror.BlobNotFound):
		return fmt.Errorf("look for an earlier upload: %w", err)
	case err == nil: // one that was not finished: overwrite it
		if err := putAll(ctx, client, f, nil); err != nil {
			return err
		}
	default:
		fresh := &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)}}
		if err := putAll(ctx, client, f, fresh); err != nil {
			return err
		}
	}
	if c.uploaded != nil {
		c.uploaded(f)
	}
	_, err = indicator.SetMetadata(ctx, map[string]*string{
		uploadStatus: to.Ptr(uploadDone), "name": to.Ptr(name), "version": to.Ptr(version),
	}, nil)
	return err
}

func putAll(ctx context.Context, client func(file string) (*blockblob.Client, error), f *folder, when *blob.AccessConditions) error {
	for _, file := range f.files {
		target, err := client(file.path)
		if err != nil {
			return err
		}
		_, err = target.UploadBuffer(ctx, file.data, &blockblob.UploadBufferOptions{
			AccessConditions: when,
			HTTPHeaders:      &blob.HTTPHeaders{BlobContentType: to.Ptr("application/octet-stream")},
		})
		if err != nil {
			return fmt.Errorf("upload %s: %w", file.path, err)
		}
	}
	return nil
}

// metadata reads an entry whatever the case its header came in.
func metadata(entries map[string]*string, name string) string {
	for k, v := range entries {
		if strings.EqualFold(k, name) && v != nil {
			return *v
		}
	}
	return ""
}

// notFound says whether a service answered that something is not there.
func notFound(err error) bool {
	var re *azcore.ResponseError
	return errors.As(err, &re) && re.StatusCode == 404
}
