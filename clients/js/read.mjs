// What scoring code does with its managed identity, once:
//   node read.mjs ACCOUNT CONTAINER BLOB [WHAT [CLIENT_ID]]
// It asks for a token (of the user-assigned identity, with its client id), reads
// the blob with the SDK and then with Node's own fetch. WHAT is all, or one of sdk,
// plain and token. The last line printed is a JSON object: what was read, or status
// and error code.
import { ManagedIdentityCredential } from "@azure/identity";
import { BlobServiceClient } from "@azure/storage-blob";

const [account, container, blob, what = "all", clientId] = process.argv.slice(2);
const url = `https://${account}.blob.core.windows.net`;
const report = {};
try {
  const credential = clientId ? new ManagedIdentityCredential({ clientId }) : new ManagedIdentityCredential();
  const { token } = await credential.getToken("https://storage.azure.com/.default");
  report.token = "given";
  if (what === "all" || what === "sdk") {
    try {
      const got = await new BlobServiceClient(url, credential).getContainerClient(container).getBlobClient(blob).downloadToBuffer();
      report.sdk = got.toString("utf8");
    } catch (error) {
      report.sdk = error.statusCode ? `${error.statusCode} ${error.details?.errorCode}` : String(error);
    }
  }
  if (what === "all" || what === "plain") {
    try {
      const answer = await fetch(`${url}/${container}/${blob}`, { headers: { Authorization: `Bearer ${token}`, "x-ms-version": "2023-11-03" } });
      report.plain = answer.ok ? await answer.text() : `${answer.status} ${answer.headers.get("x-ms-error-code")}`;
    } catch (error) {
      report.plain = `${error} ${error.cause?.code ?? ""}`;
    }
  }
} catch (error) {
  report.credential = String(error);
}
console.log(JSON.stringify(report));
