"""Workspace connections with azure-ai-ml, and a deployment that is given one's
credentials and metadata by reference.

argv: endpoint, account.
azure-ai-ml cannot make a connection with custom keys; like the samples this
script uses plain REST for that one.
"""

import os
import sys

import requests
from azure.ai.ml.entities import (
    AccessKeyConfiguration,
    AccountKeyConfiguration,
    ApiKeyConfiguration,
    AzureBlobStoreConnection,
    AzureOpenAIConnection,
    Environment,
    ManagedIdentityConfiguration,
    ManagedOnlineDeployment,
    ManagedOnlineEndpoint,
    Model,
    NoneCredentialConfiguration,
    PatTokenConfiguration,
    SasTokenConfiguration,
    ServerlessConnection,
    ServicePrincipalConfiguration,
    UsernamePasswordConfiguration,
    WorkspaceConnection,
)
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

import howto

endpoint_name, account_name = sys.argv[1:]
clients = howto.Clients()
ml = clients.ml
connections = ml.connections

made = {}


def make(connection):
    made[connection.name] = connections.create_or_update(connection)


make(AzureOpenAIConnection(name="py-aoai", azure_endpoint="https://aoai.example/", api_key="the-aoai-key", api_version="2024-02-01"))
make(ServerlessConnection(name="py-serverless", endpoint="https://model.example/", api_key="the-model-key"))
make(AzureBlobStoreConnection(name="py-blobs", url="https://blobs.example/", container_name="box", account_name="blobs", credentials=AccountKeyConfiguration(account_key="the-account-key")))
for name, kind, credentials in [
    ("py-git", "git", PatTokenConfiguration(pat="the-pat")),
    ("py-feed", "python_feed", UsernamePasswordConfiguration(username="me", password="the-password")),
    ("py-feed-open", "python_feed", NoneCredentialConfiguration()),
    ("py-registry", "container_registry", ManagedIdentityConfiguration(client_id="a-client", resource_id="a-resource")),
    ("py-s3", "s3", AccessKeyConfiguration(access_key_id="an-id", secret_access_key="the-access-key")),
    ("py-sql", "azure_sql_db", ServicePrincipalConfiguration(client_id="a-client", client_secret="the-client-secret", tenant_id="a-tenant")),
    ("py-sas", "generic_rest", SasTokenConfiguration(sas_token="the-sas")),
    ("py-custom", "custom", ApiKeyConfiguration(key="the-custom-key")),
]:
    make(WorkspaceConnection(name=name, type=kind, target="https://" + name + ".example/", credentials=credentials, metadata={"made": "by python"}))

got = connections.get("py-aoai")
filled = connections.get("py-aoai", populate_secrets=True)
updated = connections.get("py-git")
updated.metadata["made"] = "again"
updated._credentials = PatTokenConfiguration(pat="the-second-pat")  # a read has none to send back
updated = connections.create_or_update(updated)

try:
    connections.get("py-nothing")
    missing = "found"
except ResourceNotFoundError as error:
    missing = error.error.code

# The one kind the library has no class for.
token = clients.credential.get_token("https://management.azure.com/.default").token
url = (
    "https://management.azure.com/subscriptions/{}/resourceGroups/{}/providers/Microsoft.MachineLearningServices/workspaces/{}"
    "/connections/py-keys?api-version=2023-08-01-preview"
).format(howto.SUBSCRIPTION, howto.GROUP, howto.WORKSPACE)
answer = requests.put(
    url,
    headers={"Authorization": "Bearer " + token},
    json={"properties": {"authType": "CustomKeys", "category": "CustomKeys", "target": "_",
                         "credentials": {"keys": {"FILE": howto.FILE}}, "metadata": {"ACCOUNT": account_name}}},
    timeout=30,
)
answer.raise_for_status()
custom = connections.get("py-keys")

listed = sorted(c.name for c in connections.list() if c.name.startswith("py-"))
# Here the library sends includeAll=false all the same (1.35): no data connection.
everything = sorted(c.name for c in connections.list(include_data_connections=True) if c.name.startswith("py-"))
of_git = [c.name for c in connections.list(connection_type="git")]

# The scorer reads a blob whose place comes from the connection.
account = clients.make_storage(account_name)
endpoint = ml.begin_create_or_update(
    ManagedOnlineEndpoint(name=endpoint_name, auth_mode="key", properties={"enforce_access_to_default_secret_stores": "enabled"})
).result()
clients.grant("Storage Blob Data Reader", account.id, endpoint.identity.principal_id, "ServicePrincipal")
roles = {d.id.rsplit("/", 1)[-1]: d.role_name for d in clients.definitions.role_definitions.list(account.id)}
assigned = sorted(
    roles[a.role_definition_id.rsplit("/", 1)[-1]]
    for a in clients.assignments.role_assignments.list_for_subscription(filter=f"principalId eq '{endpoint.identity.principal_id}'")
)


def deploy(name, file):
    live = {"port": 8080, "path": "/health/live"}
    return ml.online_deployments.begin_create_or_update(
        ManagedOnlineDeployment(
            name=name,
            endpoint_name=endpoint_name,
            model=Model(path=howto.MODEL),
            environment=Environment(
                image=os.environ["SCORER_IMAGE"],
                inference_config={"liveness_route": live, "readiness_route": live, "scoring_route": {"port": 8080, "path": "/score"}},
            ),
            instance_type="Standard_DS3_v2",
            instance_count=1,
            environment_variables={
                "STORAGE_ACCOUNT_NAME": "${{azureml://connections/py-keys/metadata/ACCOUNT}}",
                "STORAGE_CONTAINER_NAME": howto.CONTAINER,
                "FILE_NAME": file,
            },
        )
    ).result()


deployed = deploy("blue", "${{azureml://connections/py-keys/credentials/FILE}}")
shown = ml.online_deployments.get("blue", endpoint_name).environment_variables
log = ml.online_deployments.get_logs(endpoint_name=endpoint_name, name="blue", lines=1000)
score = ml.online_endpoints.invoke(endpoint_name=endpoint_name, deployment_name="blue", request_file=howto.REQUEST)
try:
    deploy("green", "${{azureml://connections/py-keys/credentials/NOTHING}}")
    refused = ""
except HttpResponseError as error:
    refused = str(error)

ml.online_endpoints.begin_delete(name=endpoint_name).result()
clients.storage.storage_accounts.delete(howto.GROUP, account_name)
for name in [*made, "py-keys"]:
    connections.delete(name)
left = [c.name for c in connections.list() if c.name.startswith("py-")]

howto.report(
    made=len(made),
    kinds={name: c.credentials.type if c.credentials is not None else None for name, c in made.items()},
    key=got.credentials.key,
    filled=filled.credentials.key,
    api_version=got.api_version,
    updated=updated.metadata["made"],
    missing=missing,
    custom=custom.type,
    custom_metadata=custom.metadata,
    listed=listed,
    all=everything == listed,
    of_git=of_git,
    assigned=assigned,
    deployed=deployed.provisioning_state,
    file=shown["FILE_NAME"],
    log=log,
    score=score,
    refused=refused,
    left=left,
)
