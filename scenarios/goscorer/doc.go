// Command goscorer is a scoring server of our own, in Go: what a deployment
// runs when it brings its own image, and what a scenario runs where there is no
// Python.
//
// It keeps the scoring script's contract: at start it reads the blob named by
// STORAGE_ACCOUNT_NAME, STORAGE_CONTAINER_NAME and FILE_NAME as the identity of
// its instance (UAI_CLIENT_ID chooses a user-assigned one) and loads the model
// below AZUREML_MODEL_DIR; where SECRET_VARIABLES is set it logs length and hash
// of the variables that names, and reads no blob. Where KV_SECRET is set, to
// <secret>@https://<vault>.vault.azure.net, it fetches that secret too. If any of
// it fails it ends with exit code 1 and says why. Then it answers /score,
// /health/live and /health/ready.
//
// It listens on the port of -port, as an image would; where that port is taken
// by someone else on the machine, whoever starts it names another one in
// AMLOCAL_PORT_<port>.
//
// Only the standard library is used: net/http honours HTTPS_PROXY and
// crypto/x509 honours SSL_CERT_FILE, which is all an emulated host needs.
package main
