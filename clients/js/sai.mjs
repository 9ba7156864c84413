// The how-to with a system-assigned identity, with the Azure SDK for JavaScript.
//   node sai.mjs ENDPOINT STORAGE_ACCOUNT
// Settings are the usual AZURE_* variables and SAMPLES; the deployment brings
// its own server, SCORER_IMAGE. The last line printed is a JSON object that
// says how it went.
import { randomUUID } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";

import { AuthorizationManagementClient } from "@azure/arm-authorization";
import { AzureMachineLearningWorkspaces } from "@azure/arm-machinelearning";
import { StorageManagementClient } from "@azure/arm-storage";
import { createDefaultHttpClient, createHttpHeaders, createPipelineFromOptions, createPipelineRequest } from "@azure/core-rest-pipeline";
import { DefaultAzureCredential } from "@azure/identity";
import { BlobServiceClient, ContainerClient, StorageSharedKeyCredential } from "@azure/storage-blob";

const [endpointName, accountName] = process.argv.slice(2);
const { AZURE_SUBSCRIPTION_ID: subscription, AZURE_RESOURCE_GROUP: group, AZURE_ML_WORKSPACE: workspace } = process.env;
const online = path.join(process.env.SAMPLES, "endpoints", "online");
const containerName = "hello-world-container";

const credential = new DefaultAzureCredential();
const ml = new AzureMachineLearningWorkspaces(credential, subscription);
const storage = new StorageManagementClient(credential, subscription);
const authorization = new AuthorizationManagementClient(credential, subscription);

const { location, id: workspaceId } = await ml.workspaces.get(group, workspace);

// The account, its container and hello.txt.
const account = await storage.storageAccounts.beginCreateAndWait(group, accountName, {
  location,
  kind: "StorageV2",
  sku: { name: "Standard_LRS" },
});
const { keys } = await storage.storageAccounts.listKeys(group, accountName);
const service = new BlobServiceClient(account.primaryEndpoints.blob, new StorageSharedKeyCredential(accountName, keys[0].value));
const { containerClient } = await service.createContainer(containerName);
await containerClient.getBlockBlobClient("hello.txt").uploadFile(path.join(online, "managed", "managed-identities", "hello.txt"));
const listed = [];
for await (const blob of containerClient.listBlobsFlat()) listed.push(blob.name);

// The caller's own token does not read blobs: Owner has no data actions.
const asCaller = new BlobServiceClient(account.primaryEndpoints.blob, credential).getContainerClient(containerName);
let refused = "";
try {
  await asCaller.getBlobClient("hello.txt").downloadToBuffer();
} catch (error) {
  refused = `${error.name} ${error.statusCode} ${error.details?.errorCode}`;
}

// The model, uploaded to the workspace's default datastore.
const datastore = await ml.datastores.get(group, workspace, "workspaceblobstore");
const secrets = await ml.datastores.listSecrets(group, workspace, "workspaceblobstore");
const { accountName: defaultAccount, containerName: defaultContainer } = datastore.properties;
const url = `https://${defaultAccount}.blob.core.windows.net/${defaultContainer}`;
const uploads =
  secrets.secretsType === "Sas"
    ? new ContainerClient(`${url}?${secrets.sasToken.replace(/^\?/, "")}`)
    : new ContainerClient(url, new StorageSharedKeyCredential(defaultAccount, secrets.key));
const modelFolder = path.join(online, "model-1", "model");
for (const file of await readdir(modelFolder)) {
  await uploads.getBlockBlobClient(`${endpointName}/model/${file}`).uploadFile(path.join(modelFolder, file));
}
const model = await ml.modelVersions.createOrUpdate(group, workspace, `${endpointName}-model`, "1", {
  properties: { modelType: "custom_model", modelUri: `azureml:/${datastore.id}/paths/${endpointName}/model` },
});
const route = (name) => ({ port: 8080, path: name });
const environment = await ml.environmentVersions.createOrUpdate(group, workspace, `${endpointName}-env`, "1", {
  properties: {
    image: process.env.SCORER_IMAGE,
    inferenceConfig: { livenessRoute: route("/health/live"), readinessRoute: route("/health/ready"), scoringRoute: route("/score") },
  },
});

// The endpoint, its role, the deployment, the traffic.
const endpoint = await ml.onlineEndpoints.beginCreateOrUpdateAndWait(group, workspace, endpointName, {
  location,
  identity: { type: "SystemAssigned" },
  properties: { authMode: "Key" },
});
const roles = [];
for await (const role of authorization.roleDefinitions.list(account.id, { filter: "roleName eq 'Storage Blob Data Reader'" })) roles.push(role);
const assignment = await authorization.roleAssignments.create(account.id, randomUUID(), {
  roleDefinitionId: roles[0].id,
  principalId: endpoint.identity.principalId,
  principalType: "ServicePrincipal",
});
const deployment = await ml.onlineDeployments.beginCreateOrUpdateAndWait(group, workspace, endpointName, "blue", {
  location,
  sku: { name: "Default", capacity: 1 },
  properties: {
    endpointComputeType: "Managed",
    instanceType: "Standard_DS3_v2",
    model: model.id,
    environmentId: environment.id,
    environmentVariables: { STORAGE_ACCOUNT_NAME: accountName, STORAGE_CONTAINER_NAME: containerName, FILE_NAME: "hello.txt" },
  },
});
const { content: log } = await ml.onlineDeployments.getLogs(group, workspace, endpointName, "blue", { tail: 1000 });
const updated = await ml.onlineEndpoints.beginCreateOrUpdateAndWait(group, workspace, endpointName, {
  ...endpoint,
  properties: { ...endpoint.properties, traffic: { blue: 100 } },
});

// A score, through the SDK's own pipeline: Node's fetch takes no proxy from the
// environment.
const { primaryKey } = await ml.onlineEndpoints.listKeys(group, workspace, endpointName);
const answer = await createPipelineFromOptions({}).sendRequest(
  createDefaultHttpClient(),
  createPipelineRequest({
    url: endpoint.properties.scoringUri,
    method: "POST",
    headers: createHttpHeaders({ Authorization: `Bearer ${primaryKey}`, "Content-Type": "application/json" }),
    body: await readFile(path.join(online, "model-1", "sample-request.json"), "utf8"),
  }),
);

await ml.onlineEndpoints.beginDeleteAndWait(group, workspace, endpointName);
await storage.storageAccounts.delete(group, accountName);
let left = "";
try {
  await ml.onlineEndpoints.get(group, workspace, endpointName);
} catch (error) {
  left = `${error.name} ${error.statusCode}`;
}

console.log(
  JSON.stringify({
    workspaceId,
    listed,
    refused,
    state: endpoint.properties.provisioningState,
    principalType: assignment.principalType,
    deployed: deployment.properties.provisioningState,
    log,
    traffic: updated.properties.traffic,
    score: answer.bodyAsText,
    left,
  }),
);
