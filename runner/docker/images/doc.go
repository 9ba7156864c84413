// Package images gives the Docker back end an image for an environment.
//
// An environment that only names an image gets that image, unchanged: it is in
// the engine already, or it is pulled where that was asked for. One with a
// conda file, or a script on a base image that cannot be had here, gets an
// image of its own: a virtual environment on a Python base, the conda file
// translated for pip (package conda), and the real inference server where there
// is a scoring script. It is tagged by what went into it, so the second time it
// is only looked up.
//
// As in Azure's images: user dockeruser (1001), /var/azureml-app, environments
// below /azureml-envs, port 5001, WORKER_TIMEOUT 300
// (wire/endpoint-behaviour.md 2.2 and 2.3). The base image is a stand-in: mcr
// names below azureml/ get the one `make base-image` makes, unless the real
// image is there.
//
// How the build reaches a package index is the host's business and leaves no
// trace in the image: pip's settings and the host's trust roots are files of the
// first of two stages, and that stage is removed.
//
// A build context is built by its own Dockerfile, tagged by its content and by
// the images it begins from, for which the same stand-ins are taken. What its
// RUN instructions need to reach the host's index is there while they run; an
// image that would remember it is put together anew from its files.
//
// The engine's classic builder is used: it is enough, and it needs no client
// session. Left out: conda itself, even where the base has it; nginx and runit;
// credentials for registries; BuildKit's syntax (RUN --mount, here-documents);
// .dockerignore.
package images
