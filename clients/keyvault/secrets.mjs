// The secrets of a key vault, with @azure/keyvault-secrets:
//   node secrets.mjs VAULT NAME
// The caller may do everything with the vault's secrets. Each step adds to the
// report; the last line printed is the report, a JSON object.
import { ClientSecretCredential } from "@azure/identity";
import { SecretClient } from "@azure/keyvault-secrets";

const [vault, name] = process.argv.slice(2);
const env = process.env;
const credential = new ClientSecretCredential(env.AZURE_TENANT_ID, env.AZURE_CLIENT_ID, env.AZURE_CLIENT_SECRET);
const client = new SecretClient(`https://${vault}.vault.azure.net`, credential);
const report = {};

async function failure(call) {
  try {
    await call();
    return "no failure";
  } catch (error) {
    return `${error.name} ${error.statusCode} ${error.code}`;
  }
}

async function collect(items) {
  const out = [];
  for await (const item of items) out.push(item.name);
  return out;
}

const first = await client.setSecret(name, "one", { contentType: "text/plain", tags: { team: "a" }, expiresOn: new Date("2020-01-01T00:00:00Z") });
report.set = [first.name, first.value, first.properties.contentType, first.properties.tags, first.properties.recoveryLevel];
const second = await client.setSecret(name, "two");
report.latest = (await client.getSecret(name)).value;
report.first = (await client.getSecret(name, { version: first.properties.version })).value;
report.versions = (await collect(client.listPropertiesOfSecretVersions(name))).length;
const changed = await client.updateSecretProperties(name, second.properties.version, { enabled: false, contentType: "application/json" });
report.changed = [changed.enabled, changed.contentType];
report.disabled = await failure(() => client.getSecret(name));
await client.updateSecretProperties(name, second.properties.version, { enabled: true });
for (let i = 0; i < 4; i++) await client.setSecret(`${name}-${i}`, String(i));
const sizes = [];
for await (const page of client.listPropertiesOfSecrets().byPage({ maxPageSize: 2 })) sizes.push(page.length);
report.page = Math.max(...sizes);
report.listed = (await collect(client.listPropertiesOfSecrets())).filter((n) => n.startsWith(name)).length;
const backup = await client.backupSecret(name);
const deletion = await client.beginDeleteSecret(name, { intervalInMs: 50 });
report.deleted = (await deletion.pollUntilDone()).name;
report.gone = await failure(() => client.getSecret(name));
report.kept = await failure(() => client.setSecret(name, "three"));
report.deletedListed = (await collect(client.listDeletedSecrets())).filter((n) => n === name);
const recovery = await client.beginRecoverDeletedSecret(name, { intervalInMs: 50 });
await recovery.pollUntilDone();
report.recovered = (await client.getSecret(name)).value;
await (await client.beginDeleteSecret(name, { intervalInMs: 50 })).pollUntilDone();
await client.purgeDeletedSecret(name);
report.purged = await failure(() => client.getDeletedSecret(name));
await client.restoreSecretBackup(backup);
report.restored = (await client.getSecret(name)).value;
report.badName = await failure(() => client.setSecret("not_a_name", "x"));
console.log(JSON.stringify(report));
